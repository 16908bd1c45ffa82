"""``capsule backup``: make, list, check and restore backups."""

from __future__ import annotations

import json
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Column, Table
from rich.text import Text

from capsule_core.errors import CapsuleError, ResourceMissing
from capsule_core.sealing import KEY_BYTES
from capsule_services.backup.chunks import BackupKey
from capsule_services.backup.faults import RestoreRefused
from capsule_services.backup.making import files_of, forget, make
from capsule_services.backup.manifest import MANIFESTS, Manifest, load
from capsule_services.backup.replacing import put_back, stopped
from capsule_services.backup.unpacking import check
from capsule_services.places.place import FolderPlace, Place, lies_in, open_place
from capsule_services.progress import bar
from capsule_services.release import release
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.layout import ORDER
from capsule_services.runtime.restored import Restored, tell_restored
from capsule_services.speech import AsJson, refuse, tell
from capsule_sql.root_key import load_or_create_root_key

__all__ = ["backup", "create", "list_backups", "restore", "restored", "verify"]

backup = typer.Typer(no_args_is_help=True, help="Back a deployment up, and restore it.")

_KEY: Final = "backup.key"

_Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the deployment.")]
_Where = Annotated[str, typer.Argument(metavar="PLACE", help="A folder, or s3://BUCKET/PREFIX.")]
_Key = Annotated[
    Path | None, typer.Option("--key", metavar="FILE", help="The backup key; DIR/backup.key if it is not said.")
]
_Whose = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="The deployment whose key it is, if --key is not said.")
]


@backup.callback()
def _begin() -> None:
    """Back a deployment up, and restore it."""


@backup.command()
def create(
    *,
    data: _Data,
    to: Annotated[str, typer.Option("--to", metavar="PLACE", help="A folder, or s3://BUCKET/PREFIX.")],
    key: _Key = None,
    full: Annotated[bool, typer.Option("--full", help="Write everything again, and lean on no older backup.")] = False,
    keep: Annotated[
        int | None, typer.Option("--keep", metavar="DAYS", min=1, help="Let go of backups that are older.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Back a deployment up, running or stopped: what has changed since the last backup is written.

    Neither keys nor journal are in a backup, nor what records are found by. It is encrypted under the backup key, which
    is made at first use; keep a copy of it in a safe, apart from the backups.
    """
    with _saying():
        files_of(data)  # before a key is made for nothing
        place, file = _apart(to, data), key or data / _KEY
        made_key = not file.exists()
        secret = _own_key(file, place)
        with ExitStack() as undo, bar("backing up") as progress:
            if made_key:
                undo.callback(file.unlink, missing_ok=True)
            made = make(data, place, secret, release=release(), now=wall_time(), full=full, progress=progress)
            undo.pop_all()
        before = None if keep is None else wall_time() - timedelta(days=keep)
        gone = [] if before is None else forget(place, secret, before=before)
    told = {**_told(made), "let_go": gone}
    _show(f"Backed up as {made.name}", told, as_json=json_)
    if made_key:
        sys.stderr.write(f"capsule: {file} was made; keep a copy in a safe: without it no backup opens\n")


@backup.command("list")
def list_backups(place: _Where, key: _Key = None, data: _Whose = Path(), json_: AsJson = False) -> None:
    """List the backups in a place, oldest first; those of another key by their names alone."""
    with _saying():
        opened, file = _existing(place), key or data / _KEY
        secret = _read_key(file) if key or file.exists() else None
        names = [name.removeprefix(MANIFESTS) for name in opened.names(MANIFESTS)]
        rows = [_row(opened, name, secret) for name in names]
    if json_:
        typer.echo(json.dumps(rows, indent=2))
        return
    tell(_table(rows))
    if rows and secret is None:
        sys.stderr.write(f"capsule: there is no {file}; say --data DIR or --key FILE to see when they were taken\n")


@backup.command()
def verify(
    place: Annotated[str, typer.Argument(metavar="PLACE[/NAME]", help="A place, or one backup in it.")],
    key: _Key = None,
    data: _Whose = Path(),
    json_: AsJson = False,
) -> None:
    """Read backups whole, and say whether each can be restored.

    Exit code 0: all can. 1: one cannot. 2: there is none, or the place or the key cannot be read.
    """
    with _saying():
        opened, names, secret = *_named(place), _read_key(key or data / _KEY)
    results: dict[str, str] = {}
    for name in names:
        try:
            with bar(f"reading {name}") as progress:
                check(opened, load(opened, name, secret), secret, progress)
            results[name] = "whole"
        except CapsuleError as error:
            results[name] = str(error)
    _show(_counted(len(results)), results, as_json=json_)
    raise typer.Exit(0 if set(results.values()) <= {"whole"} else 1)


@backup.command()
def restore(
    *,
    name: Annotated[str, typer.Argument(metavar="PLACE/NAME", help="The backup.")],
    data: _Data,
    key: _Key = None,
    replace: Annotated[bool, typer.Option("--replace", help="Move the data that is there aside.")] = False,
    without_journal: Annotated[
        str, typer.Option(metavar="DIR_NAME", help="Pass the journal over; type the name of the folder to mean it.")
    ] = "",
    journal: Annotated[
        str,
        typer.Option(
            metavar="PLACE", envvar="CAPSULE_JOURNAL_PLACE", help="Where to fetch a journal of which there is no copy."
        ),
    ] = "",
    json_: AsJson = False,
) -> None:
    """Restore a backup to a deployment that is stopped; the journal that is there tells it what happened since.

    A machine that was lost whole has no journal: put the services' keys back, and it is fetched from its place.
    When the services start they serve nobody until they have been told: people who were erased since are erased again,
    holds, restrictions and roles are as they were last. Everybody signs in anew.
    """
    with _saying():
        if without_journal and without_journal != data.resolve().name:
            what = f"--without-journal must be the name of the folder, {data.resolve().name}"
            raise RestoreRefused(what, "type it to say that nobody who was erased since is to be erased again")
        opened, names = _named(name)
        if len(names) != 1 or not name.endswith(names[0]):
            raise ResourceMissing(f"backup {name}; capsule backup list PLACE shows which there are")
        secret = _read_key(key or data / _KEY)
        found = load(opened, names[0], secret)
        with bar("restoring") as progress:
            placed = put_back(
                opened,
                found,
                secret,
                data,
                replace=replace,
                unreplayed=bool(without_journal),
                journals=journal,
                now=wall_time(),
                progress=progress,
            )
    aside = str(placed.aside or "")
    told = {**_told(found), "journals": placed.journals, "moved_aside": aside, "next": f"capsule up --data {data}"}
    _show(f"Restored {found.name}", told, as_json=json_)


@backup.command()
def restored(data: _Data) -> None:
    """Say that data came back in another way, such as a PostgreSQL server that was recovered to a point in time.

    At their next start the services do what they do after a restore, before they serve anybody.
    """
    with _saying(), stopped(data):
        services = [name for name in ORDER if (data / name).is_dir()]
        if not services:
            raise RestoreRefused(f"{data} holds no deployment", "name its folder")
        for service in services:
            tell_restored(data / service, Restored())
    typer.echo(f"{', '.join(services)} will replay the journal at their next start: capsule up --data {data}")


@contextmanager
def _saying() -> Generator[None]:
    """Say in one sentence what stands in the way."""
    try:
        yield
    except (CapsuleError, StartRefused) as error:
        refuse(str(error))
    except OSError as error:
        refuse(f"cannot use {error.filename or 'a file'}: {error.strerror}; check its rights and the space left")


def _named(text: str) -> tuple[Place, list[str]]:
    """Take ``PLACE/NAME`` as the one backup, if there is one of that name, and ``PLACE`` as all there are.

    Raises:
        StartRefused: there is neither.
    """
    above, _, last = text.rstrip("/").rpartition("/")
    beside = open_place(above).names(MANIFESTS) if above else []
    if f"{MANIFESTS}{last}" in beside:
        return open_place(above), [last]
    if beside:
        raise StartRefused(f"there is no backup {last} in {above}; capsule backup list {above} shows which there are")
    place = _existing(text)
    names = [name.removeprefix(MANIFESTS) for name in place.names(MANIFESTS)]
    if not names:
        raise StartRefused(f"there is no backup in {text}; name the place that capsule backup create wrote to")
    return place, names


def _existing(text: str) -> Place:
    """Open a place that is to be read."""
    place = open_place(text)
    if isinstance(place, FolderPlace) and not place.folder.is_dir():
        raise StartRefused(f"there is no folder {text}; name the place that capsule backup create wrote to")
    return place


def _apart(text: str, data: Path) -> Place:
    """Open a place that is not lost together with the deployment."""
    if lies_in(text, data, *(data / name for name in ORDER)):
        what = f"{text} lies in {data}, and the backups would be lost with it"
        raise RestoreRefused(what, "name a place on another medium with --to")
    return open_place(text)


def _counted(number: int) -> str:
    return "1 backup" if number == 1 else f"{number} backups"


def _own_key(file: Path, place: Place) -> BackupKey:
    if isinstance(place, FolderPlace) and file.resolve().is_relative_to(place.folder.resolve()):
        raise RestoreRefused(f"the backup key {file} would lie among the backups", "name another file with --key")
    return BackupKey(load_or_create_root_key(file))


def _read_key(file: Path) -> BackupKey:
    try:
        secret = file.read_bytes()
    except OSError:
        raise RestoreRefused(f"the backup key {file} cannot be read", "name it with --key") from None
    if len(secret) != KEY_BYTES:
        raise RestoreRefused(f"{file} is no backup key", "name the right one with --key")
    return BackupKey(secret)


def _row(place: Place, name: str, key: BackupKey | None) -> dict[str, Any]:
    try:
        return {"backup": name} if key is None else _told(load(place, name, key))
    except CapsuleError as error:
        return {"backup": name, "taken_at": str(error)}


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Write backups for people; nothing is cut at 80 columns."""
    backup, taken = Column("backup", no_wrap=True), Column("taken at", overflow="fold", width=20)
    sizes = (Column(title, no_wrap=True, justify="right") for title in ("size", "written"))
    table = Table(backup, taken, *sizes, Column("services", overflow="fold"), title=_counted(len(rows)))
    for row in rows:
        sized = (_size(row[column]) if column in row else "" for column in ("size", "written"))
        table.add_row(row["backup"], _minute(row.get("taken_at", "")), *sized, row.get("services", ""))
    return table


def _minute(told: str) -> str:
    """Write a time to the minute; what is none, such as why it is not known, as it is."""
    try:
        return f"{datetime.fromisoformat(told).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return told


def _size(count: float) -> str:
    """Write a number of bytes in at most seven characters."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.0f} TB"


def _told(made: Manifest) -> dict[str, Any]:
    services = sorted({name.partition("/")[0] for name in made.files})
    return {
        "backup": made.name,
        "taken_at": made.taken_at,
        "size": made.size,
        "written": made.written,
        "services": ", ".join(services),
    }


def _show(title: str, told: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(told, indent=2))
        return
    columns = Column("", no_wrap=True), Column("", overflow="fold")
    table = Table(*columns, show_header=False, title=title, title_style="bold green")
    for label, value in told.items():
        table.add_row(label.replace("_", " "), Text(_line(value)))  # as it is: a path may look like markup
    tell(table)


def _line(value: Any) -> str:
    """Write a value for people."""
    if isinstance(value, Mapping):
        return "\n".join(f"{key}: {each}" for key, each in value.items())
    return ", ".join(value) if isinstance(value, list) else f"{value}"
