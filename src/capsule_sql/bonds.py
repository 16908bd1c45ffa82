"""Data and journal belong together: neither is served without the other, or with one that is older."""

from __future__ import annotations

from collections.abc import Callable

from capsule_core.journal import Founded, Journal, Marked, Suppressed, Written
from capsule_sql.failures import DataAbsent, ForeignJournal, JournalBehind
from capsule_sql.outbox import Bond, bind, bond
from capsule_sql.statements import Transactions

__all__ = ["join", "join_anew"]


def join(database: Transactions, journal: Journal, *, place: str, new_id: Callable[[], str]) -> None:
    """Let pass data and the journal that belongs to it; join them if they are new. *place* names the journal.

    Raises:
        ForeignJournal: the journal is of other data.
        JournalBehind: it lacks entries that the data has seen.
        DataAbsent: the data is new, and the journal is not.
    """
    known, founded, newest = bond(database), _founded(journal), journal.append(())
    if known.journal:
        if known.journal != founded and newest:
            raise ForeignJournal(place)
        if newest < known.position or not newest:
            raise JournalBehind(place)
        return
    acts = (isinstance(entry, Marked | Written | Suppressed) for _, entry in journal.since(0))
    if not database.rows("SELECT 1 FROM tenants LIMIT 1", ()) and any(acts):
        raise DataAbsent(database.place)
    join_anew(database, journal, new_id=new_id)


def join_anew(database: Transactions, journal: Journal, *, new_id: Callable[[], str]) -> None:
    """Let data and journal belong together from now on, whatever either has seen: nothing will be done again."""
    founded = _founded(journal)
    if not founded:
        founded = new_id()
        journal.append([Founded(founded)])
    bind(database, Bond(founded, journal.append(())))


def _founded(journal: Journal) -> str:
    return next((entry.id for _, entry in journal.since(0) if isinstance(entry, Founded)), "")
