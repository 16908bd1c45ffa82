"""``capsule sweep``: have what is due destroyed now, or say what would be."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
import typer
from rich.table import Table

from capsule_core.errors import CapsuleError
from capsule_core.records import Mark
from capsule_services.doctor.place import Place, Premises, Unreadable, looking
from capsule_services.progress import bar
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.clockwatch import confirm
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.layout import DATABASE, SWEEPING, url_in
from capsule_services.runtime.sweeper import ASKED, Status, status_in
from capsule_services.speech import AsJson, refuse, tell
from capsule_sql.forecast import Fate, due_tenants, fates
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from capsule_sql.statements import Transactions

__all__ = ["sweep"]

_HEARD: Final = 15.0
"""Seconds after which a service that has not answered is not expected to."""
_MOMENT: Final = 0.1
_WHY: Final = {
    Mark.HELD: "a hold",
    Mark.OBLIGED: "an obligation to keep it",
    Mark.RESTRICTED: "a restriction",
    Mark.FENCED: "an erasure that is under way",
    Mark.ERASED: "an erasure that is under way",
}


def sweep(
    *,
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the deployment.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and touch nothing.")] = False,
    confirm_clock: Annotated[
        bool, typer.Option("--confirm-clock", help="Say that the clock is right, after it has jumped ahead.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Destroy what has been in the trash for its time now, rather than within the minute; or say what would go.

    With --dry-run each line is a tenant's records of one kind: what goes, what stays, and why it stays. It may run
    beside the services, and without them. What a hold or an obligation keeps goes by itself when that ends.

    Exit code 0: all is swept, or said. 1: something could not be swept, or the clock is not believed. 2: refused.
    """
    place = Place(folder=data)
    premises = [each for each in place.services if each.service in SWEEPING]
    if not premises:
        refuse(f"{data} holds no deployment; say --data DIR as for capsule up")
    with _saying():
        if dry_run:
            if confirm_clock:
                refuse("--dry-run touches nothing, and so confirms no clock; leave one of the two out")
            _foretell(place, premises, as_json=json_)
            return
        if confirm_clock:
            for each in premises:
                confirm(each.folder, wall_time())
        running = [each for each in premises if place.runs(each.service)]
        if not running:
            refuse(f"the services in {data} do not run; what is due goes as soon as they do: capsule up --data {data}")
        told = _swept(running)
    _tell(told, as_json=json_)
    raise typer.Exit(1 if any(status.postponed or status.asks for status in told.values()) else 0)


def _foretell(place: Place, premises: Sequence[Premises], *, as_json: bool) -> None:
    found = [(each.service, fate) for each in premises for fate in _fates(place, each)]
    if as_json:
        typer.echo(json.dumps([_line(service, fate) for service, fate in found], indent=2))
        return
    if not found:
        typer.echo("nothing is due")
        return
    title = f"{sum(fate.count for _, fate in found if not fate.guards)} would go, nothing was touched"
    table = Table("service", "tenant", "kind", "goes", "stays", "because of", "due since", title=title)
    for service, fate in found:
        goes, stays = ("", f"{fate.count}") if fate.guards else (f"{fate.count}", "")
        what = f"{fate.kind}, with all there is of each" if fate.whole and not fate.guards else fate.kind
        since = f"{fate.since:%Y-%m-%d %H:%M}"
        table.add_row(service, fate.tenant, what, goes, stays, ", ".join(_reasons(fate)), since)
    tell(table)


def _fates(place: Place, premises: Premises) -> list[Fate]:
    """Look at one service: up to the moment that its sweeps believe."""
    now, found = place.over(premises), list[Fate]()
    with _opened(premises) as database, bar(f"looking at {premises.service}") as progress:
        tenants = due_tenants(database, now)
        for number, tenant in enumerate(tenants, start=1):
            found.extend(fates(database, tenant, now))
            progress(number, len(tenants))
    return found


@contextmanager
def _opened(premises: Premises) -> Generator[Transactions]:
    if premises.on_server:
        url = url_in(premises.folder / DATABASE, DATABASE)
        with closing(open_postgres(url, Role.DATA)) as database:
            yield database
        return
    file = premises.file(Role.DATA)
    if file is None or not file.path.exists():
        refuse(f"{premises.service} has kept nothing yet; start it: capsule up")
    with looking(file) as look:
        yield look


def _swept(running: Iterable[Premises]) -> dict[str, Status]:
    """Ask each service, and wait for all of them."""
    words = {}
    for each in running:
        words[each.service] = (each.folder, secrets.token_hex(8))
        (each.folder / ASKED).write_text(words[each.service][1], encoding="ascii")
    told: dict[str, Status] = {}
    with bar("sweeping") as progress:
        for service, (folder, word) in words.items():
            most = 1
            for status in _statuses(service, folder, word):
                told[service], most = status, max(most, status.under_way)
                progress(most - status.under_way, most)
    return told


def _statuses(service: str, folder: Path, word: str) -> Generator[Status]:
    """Give how far a sweep that was asked for is, until it has ended."""
    patience = time.monotonic() + _HEARD
    while True:
        status = status_in(folder)
        if status is not None and status.asked == word:
            yield status
            if not status.under_way:
                return
        elif time.monotonic() > patience:
            (folder / ASKED).unlink(missing_ok=True)
            refuse(f"{service} does not answer; look for sweep_postponed in its log, or run capsule doctor")
        time.sleep(_MOMENT)


def _tell(told: dict[str, Status], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({service: attrs.asdict(status) for service, status in told.items()}, indent=2))
        return
    table = Table("service", "people", "records", "postponed", "clock", title="Swept", title_style="bold green")
    for service, status in told.items():
        clock = f"{timedelta(seconds=status.ahead)} ahead, not believed" if status.asks else "believed"
        table.add_row(service, f"{status.subjects}", f"{status.records}", f"{status.postponed}", clock)
    tell(table)
    if any(status.asks for status in told.values()):
        sys.stderr.write(
            "capsule: the clock has jumped ahead, so what is due by it alone was left; if it is right, say so: "
            "capsule sweep --confirm-clock\n"
        )
    if any(status.postponed for status in told.values()):
        sys.stderr.write("capsule: some could not be swept; look for sweep_postponed in the log\n")


def _line(service: str, fate: Fate) -> dict[str, Any]:
    return {
        "service": service,
        "tenant": fate.tenant,
        "kind": fate.kind,
        "whole": fate.whole,
        "goes": 0 if fate.guards else fate.count,
        "stays": fate.count if fate.guards else 0,
        "because_of": _reasons(fate),
        "due_since": fate.since.isoformat(),
    }


def _reasons(fate: Fate) -> list[str]:
    return list(dict.fromkeys(why for mark, why in _WHY.items() if fate.guards & mark))


@contextmanager
def _saying() -> Generator[None]:
    """Say in one sentence what stands in the way."""
    try:
        yield
    except (CapsuleError, StartRefused) as error:
        refuse(str(error))
    except Unreadable:
        refuse("a file is not what it should be; run capsule doctor")
    except OSError as error:
        refuse(f"cannot use {error.filename or 'a file'}: {error.strerror}; check its rights and the space left")
