"""The examination: every check, one after the other, and what came of it as a table or as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from rich.table import Column, Table
from rich.text import Text

from capsule_core.errors import CapsuleError
from capsule_services.doctor import files, keys, pages, reach, servers, shipped, stores, sweeps
from capsule_services.doctor.begun import begun
from capsule_services.doctor.findings import Finding, Grade, unseen
from capsule_services.doctor.place import Place, Unreadable
from capsule_services.runtime.faults import StartRefused

__all__ = ["CHECKS", "Check", "as_json", "as_table", "examine"]

Check = Callable[[Place], Iterable[Finding]]
"""Looks at one side of a deployment and tells what it found; it changes nothing, and may fail."""

CHECKS: Final[Sequence[Check]] = (
    files.versions,
    files.rights,
    files.room,
    files.clock,
    begun,
    reach.certificates,
    reach.health,
    keys.keystores,
    keys.mirrors,
    shipped.journals,
    pages.pages,
    keys.receipts,
    stores.schemas,
    stores.integrity,
    stores.deletion,
    stores.outboxes,
    stores.erasures,
    stores.trash,
    sweeps.engines,
    sweeps.believed,
    stores.ledgers,
    servers.databases,
)
"""In this order a deployment is looked at."""

_WORST: Final = (Grade.MEND, Grade.UNSEEN, Grade.NOTE, Grade.GOOD)

_STYLES: Final = {Grade.GOOD: "green", Grade.NOTE: "yellow", Grade.MEND: "bold red", Grade.UNSEEN: "bold yellow"}


def examine(place: Place, checks: Iterable[Check] = CHECKS) -> list[Finding]:
    """Look at *place* from every side; a side that cannot be looked at keeps none of the others from it."""
    if not place.services:
        do = "say --data DIR as for capsule up, and run the doctor as the user who runs the services"
        return [unseen("folder", f"{place.folder} holds no deployment that can be seen", do)]
    return [finding for check in checks for finding in _looked(check, place)]


def _looked(check: Check, place: Place) -> Iterator[Finding]:
    try:
        yield from check(place)
    except Exception as error:  # noqa: BLE001  what is broken enough to break a check must not hide what the others find
        why = _why(error)
        do = "run the doctor as the user who runs the services; if another line says what is broken, mend that first"
        yield unseen(check.__name__, f"cannot be looked at ({why})", do)


def _why(error: Exception) -> str:
    """Say why, in words if they are ours."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    ours = isinstance(error, StartRefused | CapsuleError | Unreadable) and str(error)
    return ours or type(error).__name__


def as_table(findings: Iterable[Finding]) -> Table:
    """Write findings for people: what is broken first, and of what is well only how many there are."""
    every = sorted(findings, key=lambda finding: _WORST.index(finding.grade))
    table = Table("", Column("found, and what to do", overflow="fold"), title="capsule doctor")  # no path is cut
    for finding in every:
        if finding.grade is not Grade.GOOD:
            told = (f"{finding.what}: {finding.found}", finding.do)  # as they are: a path may look like markup
            table.add_row(_mark(finding.grade), Text("\n".join(filter(None, told))))
    well = sum(finding.grade is Grade.GOOD for finding in every)
    if well:
        table.add_row(_mark(Grade.GOOD), f"{well} that {'is' if well == 1 else 'are'} well; --json names each")
    return table


def _mark(grade: Grade) -> Text:
    return Text(grade.value, _STYLES[grade])


def as_json(findings: Iterable[Finding]) -> list[dict[str, str]]:
    """Write findings for programs."""
    return [
        {"grade": each.grade.name.lower(), "what": each.what, "found": each.found, "do": each.do} for each in findings
    ]
