"""``capsule ledger``: find the first leaf that is not what was appended, and give out checkpoints to keep elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final, Self

import attrs
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table
from rich.text import Text

from capsule_core.checkpoints import Checkpoint, Verifier, epoch_of, open_checkpoint, parse_verifier
from capsule_core.errors import CapsuleError
from capsule_services.doctor.findings import exit_code
from capsule_services.doctor.logs import LOGS, Log, Verdict, anchored, judged, logs_of
from capsule_services.doctor.place import Place
from capsule_services.runtime.begun import begun_in
from capsule_services.runtime.faults import StartRefused
from capsule_services.speech import AsJson, refuse, tell

__all__ = ["checkpoint", "ledger", "verify"]

ledger = typer.Typer(no_args_is_help=True, help="Compare the logs of a deployment with what was signed outside it.")

_SOON: Final = 1.0

_Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the deployment, running or stopped.")]
_Service = Annotated[str | None, typer.Option("--service", metavar="NAME", help="contacts, identity or privacy.")]
_Title = Annotated[str | None, typer.Option("--log", metavar="LOG", help="changes or reads.")]


@ledger.callback()
def _begin() -> None:
    """Compare the logs of a deployment with what was signed outside it."""


@ledger.command()
def verify(
    *,
    data: _Data,
    service: _Service = None,
    log: _Title = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="FILE", help="A signed checkpoint that was kept outside the deployment."),
    ] = None,
    key: Annotated[
        str | None, typer.Option("--key", metavar="KEY", help="The public key it was signed with, or a file with it.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Read logs from the first leaf to the last, and name the first that was edited, moved, taken out or cut off.

    Nothing is changed. Against a checkpoint from outside, the log that it is of is compared with it; without one, every
    log is compared with what it notes of itself, which proves less.
    Exit code 0: whole. 1: something is wrong, and it says where. 2: something could not be read or compared.
    """
    chosen = _chosen(data, service, log)
    signed, verifier = _signed(against, key) if against is not None else (None, None)
    if signed is not None:
        chosen = [each for each in chosen if epoch_of(signed.origin, each.name) is not None]
        if not chosen:
            refuse(f"{against} is a checkpoint of {signed.origin!r}, which is none of these logs")
    with _Shown() as shown:
        verdicts = [judged(each, signed, verifier, progress=shown.of(each)) for each in chosen]
    if json_:
        typer.echo(json.dumps([_as_json(verdict) for verdict in verdicts], indent=2))
    else:
        tell(_as_table(verdicts))
    raise typer.Exit(exit_code(verdict.finding for verdict in verdicts))


@ledger.command()
def checkpoint(*, data: _Data, service: _Service = "contacts", log: _Title = "changes") -> None:
    """Print the newest signed checkpoint of a log, as it lies in the journal. Keep it outside the deployment.

    Exit code 0: printed. 2: there is none, or it cannot be read.
    """
    (chosen,) = _chosen(data, service or "contacts", log or "changes")
    try:
        notes = anchored(chosen)
    except Exception as error:  # noqa: BLE001  whatever it is, the journal cannot be read
        refuse(f"the journal of {chosen.premises.service} cannot be read: {error}; see capsule doctor")
    if not notes:
        refuse(f"{chosen.name} has no checkpoint yet; a log is signed within a minute of its first leaf")
    typer.echo(notes[-1], nl=False)


def _chosen(data: Path, service: str | None, title: str | None) -> list[Log]:
    if title is not None and title not in LOGS:
        refuse("--log must be changes or reads")
    missing = _lacking(data, service)
    if missing:
        refuse(f"{missing} was begun in {data}, and its folder is missing; mount its disk, or put it back")
    chosen = logs_of(Place(folder=data), service, title)
    if not chosen:
        asked = f"no service {service!r}" if service else "no deployment"
        refuse(f"{data} holds {asked}; say --data DIR as for capsule up")
    return chosen


def _lacking(data: Path, service: str | None) -> str:
    """Name a service that was begun, is asked for, and has no folder; empty if there is none."""
    try:
        begun = begun_in(data)
    except StartRefused as error:
        refuse(str(error))
    asked = (name for name in begun if service in {None, name})
    return next((name for name in asked if not (data / name).is_dir()), "")


def _signed(file: Path, key: str | None) -> tuple[Checkpoint, Verifier]:
    """Read a checkpoint and the key that it must be signed with."""
    if key is None:
        refuse("say --key with --against: the public key of the service, as it was published outside the deployment")
    try:
        note = file.read_bytes().decode().strip() + "\n"
        text = Path(key).read_text(encoding="utf-8") if Path(key).is_file() else key
    except (OSError, UnicodeDecodeError):
        refuse(f"cannot read {file} or {key}; give the paths of a checkpoint and of a public key")
    try:
        verifier = parse_verifier(text)
    except CapsuleError:
        refuse("--key must be a public key, like the line in receipts.pub, or a file that holds one")
    try:
        return open_checkpoint(note, verifier), verifier
    except CapsuleError as error:
        refuse(f"{file} is no checkpoint that this key signed: {getattr(error, 'problem', error)}")


@attrs.define
class _Shown:
    """Shows how far it is, on the terminal, once it has taken a second."""

    _began: float = attrs.field(factory=time.monotonic, init=False)
    _bar: Progress | None = attrs.field(default=None, init=False)
    _stack: ExitStack = attrs.field(factory=ExitStack, init=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def of(self, log: Log) -> Any:
        """Return what is told how much of *log* was read."""
        task = None

        def told(done: int, total: int) -> None:
            nonlocal task
            if self._bar is None and time.monotonic() - self._began > _SOON:
                self._bar = self._stack.enter_context(Progress(console=Console(stderr=True), transient=True))
            if self._bar is not None and task is None:
                task = self._bar.add_task(f"{log.premises.service}, {log.title}", total=total)
            if self._bar is not None and task is not None:
                self._bar.update(task, completed=done)

        return told


def _as_table(verdicts: Iterable[Verdict]) -> Table:
    titles = (Column(title, overflow="fold") for title in ("log", "leaves", "found", "what to do"))
    table = Table("", *titles, title="capsule ledger verify")
    for verdict in verdicts:
        leaves = str(verdict.inspection.size) if verdict.inspection else ""
        finding = verdict.finding
        table.add_row(finding.grade.value, verdict.log.name, leaves, Text(finding.found), Text(finding.do))
    return table


def _as_json(verdict: Verdict) -> dict[str, Any]:
    found, finding = verdict.inspection, verdict.finding
    fault = found.fault if found else None
    return {
        "service": verdict.log.premises.service,
        "log": verdict.log.title,
        "leaves": found.size if found else None,
        "against": {"origin": found.against.origin, "size": found.against.size} if found and found.against else None,
        "whole": found.fault is None if found else None,
        "fault": {**attrs.asdict(fault), "wrong": fault.wrong.value} if fault else None,
        "found": finding.found,
        "do": finding.do,
    }
