"""What the place of the journal says: it can be written, what is there is ours, and nothing is missing at its end."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Final

from capsule_core.errors import CapsuleError
from capsule_core.journal import Founded, decode
from capsule_services.doctor.findings import Finding, good, mend, note, unseen
from capsule_services.doctor.place import File, Place, Premises, looking
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.shipping.faults import ShippedMissing
from capsule_services.runtime.shipping.marks import mark_in
from capsule_services.runtime.shipping.setting import JOURNAL_KEY, JournalPlace, journal_place_at
from capsule_sql.migration import Role

__all__ = ["journals"]

_VARIABLE: Final = "CAPSULE_JOURNAL_PLACE"
_AGAIN: Final = "read the service's log for journal_unshipped; what is missing is shipped when the place answers"


def journals(place: Place) -> Iterator[Finding]:
    """The place that keeps the journal too is there, can be written, and has all of it."""
    address = place.variables.get(_VARIABLE, "")
    before = [each for each in place.services if mark_in(each.folder).place]
    if not address and not before:
        yield note("place of the journal", "none: who loses this machine loses it", f"set {_VARIABLE} to another one")
    for premises in place.services if address else before:
        what, file = f"place of the journal of {premises.service}", premises.file(Role.JOURNAL)
        if not address:
            told = f"{_VARIABLE} is not set, and the journal was at {mark_in(premises.folder).place}"
            yield unseen(what, told, "set it as the services have it")
        elif file is not None and file.path.exists():
            yield _found(what, premises, file, address, runs=place.runs(premises.service))


def _found(what: str, premises: Premises, file: File, address: str, *, runs: bool) -> Finding:
    try:
        setting = journal_place_at(address, premises.folder, premises.service, patient=False)
        _write(setting)
    except (StartRefused, CapsuleError) as error:
        return mend(what, f"it cannot be written: {error}", f"correct {_VARIABLE}, or mend the place; {_AGAIN}")
    if not (mark_in(premises.folder).place or (premises.folder / JOURNAL_KEY).exists()):
        return note(what, "nothing was written there yet", "start the service: it writes it first")
    try:
        behind = _behind(setting, file)
        if behind > 0 and runs:  # one is written after the other
            behind = _behind(setting, file)
    except ShippedMissing as error:
        return mend(what, "it is empty", str(error))
    except (StartRefused, CapsuleError) as error:
        return mend(what, "what is there cannot be read or used", str(error))
    return _compared(what, behind, runs=runs)


def _compared(what: str, behind: int, *, runs: bool) -> Finding:
    if behind > 0:
        do = _AGAIN if runs else "start the service: it ships them first"
        return mend(what, f"it is {behind} positions behind", do)
    if behind < 0:
        return mend(what, "it knows more than the journal here", "move journal.db and its mirror aside, and start")
    return good(what, "has all of it, and can be written")


def _write(setting: JournalPlace) -> None:
    """Put something there, and take it away again."""
    name = f"journal/{setting.service}/looks/{secrets.token_hex(8)}"
    setting.place.put(name, b"")
    setting.place.remove(name)


def _behind(setting: JournalPlace, file: File) -> int:
    """Count the positions by which the place is behind; below zero if it is ahead."""
    with looking(file) as look:
        lines = look.rows("SELECT line FROM entries ORDER BY no LIMIT 100")
        ((newest,),) = look.rows("SELECT coalesce(max(no), 0) FROM entries")
    journal = next((entry.id for (line,) in lines if isinstance(entry := decode(line), Founded)), "")
    return int(newest) - setting.head(journal).position
