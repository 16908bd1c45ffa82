"""Write drafts: what is known of them first, then every check, then the rows, set by set."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from capsule_core.errors import IdentifierTaken, VersionMismatch
from capsule_core.names import micros
from capsule_core.records import GONE, Mark, MarksRefused, Sealed, Slot
from capsule_core.remnants import partner_of
from capsule_sql.rows import words
from capsule_sql.statements import EACH, Connection, listed
from capsule_sql.tenants import fresh_numbers

__all__ = ["INSERT_SIGNATURES", "INSERT_TOKENS", "Drafts", "claim", "forget_index", "let_in"]

_GONE: Final = int(GONE)


@attrs.frozen
class _Person:
    no: int
    slot: Slot
    marks: int
    anywhere: int


@attrs.frozen
class _Held:
    no: int
    subject: str
    version: int
    trashed: int
    marks: int
    carried: int


@attrs.define
class Drafts:
    """Drafts of one tenant on their way into the tables, within one transaction; their subjects' rows are locked."""

    _connection: Connection
    _tenant: int
    _drafts: Sequence[Sealed]
    _at: datetime
    _people: dict[str, _Person] = attrs.field(init=False)
    _held: dict[str, _Held] = attrs.field(init=False)
    _own: dict[str, int] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._people = self._known_people()
        self._held = self._held_records()

    def admit(self, admits: Mark) -> None:
        """Check the marks, and that each draft was sealed under its subject's own key.

        Raises:
            MarksRefused: a subject or record carries a mark that is not admitted.
            VersionMismatch: a subject became known meanwhile, under another key.
        """
        for draft in self._drafts:
            partner = self._people.get(partner_of(draft.subject))
            carried = self._carried(draft) | (partner.marks & _GONE if partner else 0)
            if carried & (~int(admits) | _GONE):
                raise MarksRefused(Mark(carried))
        slots = {key: person.slot for key, person in self._people.items()}
        if any(slots.setdefault(draft.subject, draft.slot) != draft.slot for draft in self._drafts):
            raise VersionMismatch

    def follow(self) -> None:
        """Check that each draft is the next version of what is there, and there is one for each record.

        Raises:
            VersionMismatch: it is not so, or a record became another subject's while we waited for its lock.
        """
        for draft in self._drafts:
            held = self._held.get(draft.id)
            if draft.version != (held.version + 1 if held else 1):
                raise VersionMismatch
            if held and (held.trashed or (self._connection.shared and held.subject not in self._people)):
                raise VersionMismatch
        if len({draft.id for draft in self._drafts}) != len(self._drafts):
            raise VersionMismatch

    def store(self) -> None:
        """Write the rows.

        Raises:
            IdentifierTaken: another live record holds one of the claims.
            VersionMismatch: another subject's key lies where a new one's should.
        """
        changed = [held.no for held in self._held.values()]
        if changed:
            forget_index(self._connection, changed)
        claim(self._connection, self._tenant, [(draft.kind, token) for draft in self._drafts for token in draft.claims])
        self._meet()
        self._write_index(self._write_records())

    def _carried(self, draft: Sealed) -> int:
        person, held = self._people.get(draft.subject), self._held.get(draft.id)
        own = 0
        if held and held.subject == draft.subject:
            own = held.marks
        elif person and person.anywhere != person.marks:
            own = self._reasons_of(person.no, draft.id)
        if own:
            self._own[draft.id] = own
        return own | (person.marks if person else 0) | (held.carried if held else 0)

    def _reasons_of(self, subject: int, record: str) -> int:
        select = "SELECT mark FROM reasons WHERE subject_no = ? AND record = ?"
        marks = 0
        for (mark,) in self._connection.execute(select, (subject, record)):
            marks |= mark
        return marks

    def _known_people(self) -> dict[str, _Person]:
        keys = {key for draft in self._drafts for key in (draft.subject, partner_of(draft.subject))}
        if self._connection.shared and any(draft.version > 1 for draft in self._drafts):
            keys |= self._bearers()
        rows = self._connection.execute(_LOCK_PEOPLE, (self._tenant, listed(keys)))
        return {key: _Person(no, Slot(page, place), marks, anywhere) for key, no, page, place, marks, anywhere in rows}

    def _bearers(self) -> set[Any]:
        """Name the subjects that the records have at this moment: they too are locked, before anything is decided."""
        select = f"""SELECT s.key FROM records r JOIN subjects s ON s.no = r.subject_no
            WHERE r.tenant_no = ? AND r.id {EACH}"""
        rows = self._connection.execute(select, (self._tenant, listed(draft.id for draft in self._drafts)))
        return {key for (key,) in rows}

    def _held_records(self) -> dict[str, _Held]:
        select = f"""SELECT r.id, r.no, s.key, r.version, r.trashed IS NOT NULL, r.marks, r.marks | s.marks
            FROM records r CROSS JOIN subjects s ON s.no = r.subject_no WHERE r.tenant_no = ? AND r.id {EACH}"""
        rows = self._connection.execute(select, (self._tenant, listed({draft.id for draft in self._drafts})))
        return {name: _Held(*rest) for name, *rest in rows}

    def _meet(self) -> None:
        """Write the subjects that are new, in the order in which everybody writes them."""
        slots = {draft.subject: draft.slot for draft in self._drafts if draft.subject not in self._people}
        if not slots:
            return
        numbers = fresh_numbers(self._connection, "subjects", self._tenant, len(slots))
        people = list(zip(numbers, sorted(slots.items()), strict=True))
        self._people |= {key: _Person(no, slot, 0, 0) for no, (key, slot) in people}
        at = micros(self._at)
        rows = [(no, self._tenant, key, slot.page, slot.index, 0, 0, at, at) for no, (key, slot) in people]
        try:
            self._connection.executemany(_INSERT_PEOPLE, rows)
        except sqlite3.IntegrityError:
            raise VersionMismatch from None

    def _write_records(self) -> list[int]:
        """Write the drafts' own rows; return their numbers, in order."""
        fresh = [draft for draft in self._drafts if draft.id not in self._held]
        numbers = {name: held.no for name, held in self._held.items()}
        if fresh:
            free = fresh_numbers(self._connection, "records", self._tenant, len(fresh))
            numbers |= {draft.id: no for draft, no in zip(fresh, free, strict=True)}
            self._connection.executemany(_INSERT, [self._row(numbers[draft.id], draft) for draft in fresh])
        changed = [self._row(numbers[draft.id], draft) for draft in self._drafts if draft.id in self._held]
        if changed:
            self._connection.executemany(_UPDATE, [(*row[2:], row[0]) for row in changed])
        return [numbers[draft.id] for draft in self._drafts]

    def _row(self, no: int, draft: Sealed) -> tuple[Any, ...]:
        return (
            no,
            self._tenant,
            self._people[draft.subject].no,
            draft.kind,
            draft.id,
            draft.root,
            draft.version,
            micros(draft.at),
            micros(draft.created),
            micros(draft.updated),
            self._own.get(draft.id, 0),
            draft.blob,
        )

    def _write_index(self, numbers: Sequence[int]) -> None:
        tokens: list[tuple[int, int, int, int, int]] = []
        signatures: list[tuple[int, ...]] = []
        for no, draft in zip(numbers, self._drafts, strict=True):
            at, claims = micros(draft.at), draft.claims
            distinct = dict.fromkeys(draft.tokens + claims)
            tokens += [(self._tenant, token, no, at, int(token in claims)) for token in distinct]
            if draft.signature:
                signatures.append((self._tenant, no, *words(draft.signature)))
        tokens.sort()  # who claims several does so in one order, or two would wait for each other
        self._connection.executemany(INSERT_TOKENS, tokens)
        self._connection.executemany(INSERT_SIGNATURES, signatures)


_LOCK_PEOPLE: Final = f"""SELECT key, no, page, place, marks, anywhere FROM subjects WHERE tenant_no = ? AND key {EACH}
    /*pg ORDER BY no FOR NO KEY UPDATE */"""
_PERSON: Final = "no, tenant_no, key, page, place, marks, anywhere, opened, contacted"
_INSERT_PEOPLE: Final = f"INSERT INTO subjects ({_PERSON}) VALUES ({', '.join('?' * 9)})"
_COLUMNS: Final = "subject_no, kind, id, root, version, at, created, updated, marks, sealed"
_INSERT: Final = f"INSERT INTO records (no, tenant_no, {_COLUMNS}) VALUES ({', '.join('?' * 12)})"
_UPDATE: Final = f"UPDATE records SET ({_COLUMNS}, done) = ({', '.join('?' * 10)}, NULL) WHERE no = ?"
INSERT_TOKENS: Final = "INSERT INTO tokens (tenant_no, token, record_no, at, claim) VALUES (?, ?, ?, ?, ?)"
INSERT_SIGNATURES: Final = "INSERT INTO signatures (tenant_no, record_no, s0, s1, s2, s3) VALUES (?, ?, ?, ?, ?, ?)"


def let_in(connection: Connection, tenant: int, beside: Sequence[Sealed], at: datetime) -> Drafts | None:
    """Begin to write what goes with a mark, if anything does."""
    if not beside:
        return None
    connection.search(tenant)
    writing = Drafts(connection, tenant, beside, at)
    writing.admit(~GONE)
    return writing


def forget_index(connection: Connection, records: Sequence[int]) -> None:
    """Delete what the records with these numbers are found by."""
    numbers = (listed(records),)
    connection.execute(f"DELETE FROM tokens WHERE record_no {EACH}", numbers)
    connection.execute(f"DELETE FROM signatures WHERE record_no {EACH}", numbers)


def claim(connection: Connection, tenant: int, claims: Sequence[tuple[str, int]]) -> None:
    """Check that no token of (kind, token) is claimed twice among them, or by another record.

    Where others write at the same moment, the index itself refuses the second, who then comes here again.

    Raises:
        IdentifierTaken: one is.
    """
    if not claims:
        return
    select = f"SELECT token FROM tokens WHERE tenant_no = ? AND claim = 1 AND token {EACH}"
    taken = {token for (token,) in connection.execute(select, (tenant, listed(token for _, token in claims)))}
    for kind, token in claims:
        if token in taken:
            raise IdentifierTaken(kind, "identifier")
        taken.add(token)
