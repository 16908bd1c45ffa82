"""The store in memory: records, subjects, pages, answers and suppressions of many tenants."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime

import attrs

from capsule_core.errors import IndexMissing, RequestInFlight, VersionMismatch
from capsule_core.journal import Entry, Journal, Written
from capsule_core.ledger import LedgerStore
from capsule_core.memory import rules
from capsule_core.memory.moments import HappenedInMemory
from capsule_core.memory.pages import MemoryPages
from capsule_core.memory.suppressions import SuppressedHashes
from capsule_core.moments import Events, Moment, is_past
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.records import (
    GONE,
    Act,
    Answer,
    Cursor,
    FoundBy,
    Mark,
    MarksRefused,
    Page,
    Reason,
    Refused,
    Restore,
    Sealed,
    Shelf,
    Slot,
    Subject,
    Touched,
    Trash,
    Where,
    events_of,
    matches,
)
from capsule_core.remnants import partner_of
from capsule_core.stores import EVERYONE, Share

__all__ = ["MemoryStore"]


@attrs.define(eq=False)
class MemoryStore(MemoryPages):
    """Records, subjects, pages and answers of many tenants, in dictionaries under one lock."""

    _ledger: LedgerStore
    _journal: Journal
    _records: dict[tuple[TenantId, RecordId], Sealed] = attrs.field(factory=dict, init=False)
    _subjects: dict[tuple[TenantId, SubjectKey], Slot] = attrs.field(factory=dict, init=False)
    _reasons: rules.Reasons = attrs.field(factory=dict, init=False)
    _answers: dict[tuple[TenantId, bytes], Answer] = attrs.field(factory=dict, init=False)
    _suppressions: SuppressedHashes = attrs.field(factory=SuppressedHashes, init=False)
    _unindexed: set[TenantId] = attrs.field(factory=set, init=False)
    _happened: HappenedInMemory = attrs.field(factory=HappenedInMemory, init=False)
    _position: int = attrs.field(default=0, init=False)

    def read(self, tenant: TenantId, ids: Sequence[RecordId], *, admits: Mark) -> Sequence[Sealed | Refused | None]:
        """Return the records named, in order; None for one that is not there."""
        with self._lock:
            return [self._seen(self._records.get((tenant, name)), admits) for name in ids]

    def select(self, where: Where, *, admits: Mark, limit: int, after: Cursor | None = None) -> Page:
        """Return up to *limit* records that are meant and admitted, newest first."""
        with self._lock:
            if where.tokens or any(where.signature):
                self._search(where.tenant)
            meant = sorted(self._meant(where, refused=~admits), key=rules.newest_first)
        meant = [each for each in meant if after is None or rules.newest_first(each) > rules.newest_first(after)]
        found = tuple(self._shown(record) for record in meant[:limit])
        return Page(found, Cursor(found[-1].at, found[-1].id) if len(meant) > limit else None)

    def count(self, where: Where, *, admits: Mark) -> int:
        """Count the records that are meant and admitted."""
        with self._lock:
            return len(self._meant(where, refused=~admits))

    def write(self, drafts: Sequence[Sealed], *, admits: Mark, act: Act) -> Sequence[Touched]:
        """Create and change records, all or none."""
        with self._lock:
            self._search(act.tenant)
            self._let_in(drafts, admits)
            self._expect(act)
            self._follow(drafts)
            touched = [rules.touched(draft) for draft in drafts]
            self._witness(act, touched)
            self._write(drafts, act.at)
            self._finish(act, touched)
            return touched

    def move(self, where: Where, to: Trash | Restore, *, admits: Mark, act: Act) -> Sequence[Touched]:
        """Throw away or take back what is meant."""
        with self._lock:
            if isinstance(to, Trash):
                where, trash = attrs.evolve(where, shelf=Shelf.LIVE), to
            else:
                where, trash = attrs.evolve(where, shelf=Shelf.TRASHED, batch=to.batch), None
                self._search(where.tenant)
            meant = self._meant(where, refused=~admits)
            self._expect(act)
            if trash is None:
                self._claim(meant)
            touched = [rules.touched(record) for record in meant]
            self._witness(act, touched)
            for record in meant:
                rules.move(self._records, record, trash, act.at)
            self._finish(act, touched)
            return touched

    def mark(
        self,
        reasons: Sequence[Reason],
        *,
        act: Act,
        lift: bool = False,
        admits: Mark = Mark.NONE,
        parting: Sequence[Sealed] = (),
        beside: Sequence[Sealed] = (),
    ) -> Sequence[Touched]:
        """Put reasons or lift them; before, records *beside* are written, and *parting* ones change hands."""
        with self._lock:
            with self._undone_by_errors():
                self._expect(act)
                self._add(act, beside)
                self._part(act.tenant, parting)
                distinct = {rules.reason_key(act.tenant, reason): reason for reason in reasons}.values()
                changed = [reason for reason in distinct if self._changes(act.tenant, reason, lift=lift, admits=admits)]
                bearers = rules.bearers(self._subjects, act.tenant, changed)
                touched = [*map(rules.touched, beside), *bearers]
                self._witness(act, touched)
            rules.change(self._reasons, act.tenant, changed, lift=lift)
            self._happened.forget(act.tenant, [each.subject for each in changed if each.mark is Mark.ERASED])
            told: list[Entry] = [Written(record) for record in beside if record.kind in act.journaled]
            told += [Written(record) for record in parting]
            told += [rules.marked(act, changed, bearers, lift=lift)] if changed else []
            self._tell(act, told)
            return touched

    def destroy(self, where: Where, *, admits: Mark, act: Act) -> Sequence[Touched]:
        """Delete what is meant for good."""
        with self._lock:
            meant = [each for each in self._meant(where, refused=Mark.NONE) if not self._protected(each) & ~admits]
            self._expect(act)
            touched = [rules.touched(record) for record in meant]
            self._witness(act, touched)
            for record in meant:
                del self._records[record.tenant, record.id]
            people = {*(record.subject for record in meant), *(where.subjects or ())}
            self._answers |= rules.emptied(self._answers, where.tenant, people)
            return touched

    def subjects(self, tenant: TenantId, keys: Sequence[SubjectKey]) -> Sequence[Subject | None]:
        """Return what is known of the subjects, in order."""
        with self._lock:
            found = [(key, self._subjects.get((tenant, key)), rules.marks(self._reasons, tenant, key)) for key in keys]
            return [None if slot is None else Subject(key=key, slot=slot, marks=marks) for key, slot, marks in found]

    def answered(self, tenant: TenantId, key: bytes) -> Answer | None:
        """Return the answer kept under *key*, when what was acted on with it may be acknowledged."""
        found = self._answers.get((tenant, key))
        if found is not None:
            self._journal.settle()
        return found

    def keep(self, answer: Answer) -> None:
        """Keep an answer that needs no act; one that is there stays."""
        self._answers.setdefault((answer.tenant, answer.key), answer)

    def forget(self, now: datetime) -> None:
        """Drop the answers that were to be kept until *now* or earlier."""
        with self._lock:
            self._answers = {key: answer for key, answer in self._answers.items() if answer.until > now}

    def due(self, now: datetime, share: Share = EVERYONE) -> Sequence[TenantId]:
        """Name the tenants that have trash whose time is over."""
        with self._lock:
            return rules.due(self._records.values(), now, share)

    def having(self, kind: str, share: Share = EVERYONE) -> Sequence[TenantId]:
        """Name the tenants that have a living record of a kind."""
        with self._lock:
            return rules.having(self._records.values(), kind, share)

    def unfinished(self) -> Sequence[tuple[TenantId, Reason]]:
        """Return the fences of subjects that are not erased yet."""
        with self._lock:
            return rules.unfinished(self._reasons)

    def released(self, of: Share | TenantId = EVERYONE) -> Sequence[tuple[TenantId, Reason]]:
        """Return why subjects were kept of which something has not to be kept any more."""
        with self._lock:
            return rules.released(self._reasons, self._records, of)

    def people(self, tenant: TenantId, *, limit: int, after: SubjectKey | None = None) -> Sequence[SubjectKey]:
        """Return up to *limit* subjects that are not gone, from the one *after* which a page ended."""
        with self._lock:
            return rules.people(self._subjects, self._reasons, tenant, after or "")[:limit]

    def reasons(self, tenant: TenantId, subjects: Sequence[SubjectKey]) -> Sequence[Reason]:
        """Return every reason that the subjects and their records carry."""
        with self._lock:
            return [r for (owner, *_), r in self._reasons.items() if owner == tenant and r.subject in subjects]

    def happened(self, tenant: TenantId, subjects: Sequence[SubjectKey]) -> Sequence[Events]:
        """Tell when what happened to the subjects."""
        with self._lock:
            return [dict(self._happened.to(tenant, subject)) for subject in subjects]

    def happen(self, tenant: TenantId, moments: Sequence[Moment]) -> None:
        """Keep when what happened."""
        with self._lock:
            there = [moment for moment in moments if not rules.marks(self._reasons, tenant, moment.subject) & GONE]
            self._happened.keep(tenant, there, self._subjects)

    def tick(self, tenant: TenantId, records: Sequence[Sealed]) -> None:
        """Keep what was done with records."""
        with self._lock:
            rules.tick(self._records, tenant, records)

    def reindex(self, tenant: TenantId, found_by: Sequence[FoundBy]) -> None:
        """Say anew what records are found by."""
        with self._lock:
            rules.reindex(self._records, tenant, found_by)

    def indexed(self, tenant: TenantId) -> None:
        """Say that every record of the tenant was said to ``reindex``."""
        self._unindexed.discard(tenant)

    def unindexed(self) -> Sequence[TenantId]:
        """Name the tenants for which what records are found by is missing."""
        return sorted(self._unindexed)

    def position(self) -> int:
        """Return where in the journal the newest entry lies that was seen."""
        return self._position

    def arrive(self, position: int) -> None:
        """Say that everything in the journal up to *position* is here."""
        self._position = max(self._position, position)

    def recognise(self, tenant: TenantId, subjects: Mapping[SubjectKey, Slot]) -> None:
        """Make subjects known."""
        with self._lock:
            self._subjects |= rules.recognised(self._subjects, tenant, subjects)

    def reinstate(self, records: Sequence[Sealed], *, act: Act) -> Sequence[Touched]:
        """Put records of one tenant back as they were last written."""
        with self._lock:
            newer = [attrs.evolve(each, marks=Mark.NONE) for each in records if self._lacks(each)]
            touched = list(map(rules.touched, newer))
            self._witness(act, touched)
            for record in newer:
                rules.hand_over(self._reasons, self._records.get((record.tenant, record.id), record), record.subject)
                self._records[record.tenant, record.id] = record
            self._unindexed |= {record.tenant for record in newer}
            return touched

    def tenants(self) -> Sequence[TenantId]:
        """Name the tenants of which something is kept."""
        with self._lock:
            return sorted({tenant for tenant, _ in (*self._subjects, *self._pages)})

    def suppressed(self, tenant: TenantId, hashes: Sequence[bytes]) -> frozenset[bytes]:
        """Return those of *hashes* that are suppressed."""
        with self._lock:
            return self._suppressions.among(tenant, hashes)

    def remembered(self, tenant: TenantId, *, limit: int) -> Sequence[bytes]:
        """Return up to *limit* of all that is suppressed."""
        with self._lock:
            return self._suppressions.of(tenant)[:limit]

    def suppress(self, hashes: Sequence[bytes], *, act: Act, lift: bool = False) -> Sequence[bytes]:
        """Suppress identifiers in the act's tenant, or let them in again; return those that were not so before."""
        with self._lock:
            self._expect(act)
            changed = self._suppressions.changing(act.tenant, hashes, lift=lift)
            if changed:
                self._sign(act, act.witness(()))
                self._tell(act, [self._suppressions.change(act, changed, lift=lift)])
            return changed

    def _search(self, tenant: TenantId) -> None:
        if tenant in self._unindexed:
            raise IndexMissing

    def _finish(self, act: Act, touched: Sequence[Touched]) -> None:
        self.happen(act.tenant, act.happened if touched else ())
        written = [self._records[act.tenant, each.id] for each in touched if each.id and each.kind in act.journaled]
        self._tell(act, [Written(record) for record in written])

    def _tell(self, act: Act, entries: Sequence[Entry]) -> None:
        if entries and not act.replayed:
            self.arrive(self._journal.append(entries))
            self._journal.settle()

    def _lacks(self, record: Sealed) -> bool:
        gone = self._carried(record) & (Mark.FENCED | Mark.ERASED)
        return not gone and rules.lacks(self._records, self._subjects, record)

    def _meant(self, where: Where, *, refused: Mark) -> list[Sealed]:
        found = (r for r in self._records.values() if matches(where, r, self._happened.to(r.tenant, r.subject)))
        return [record for record in found if not self._carried(record) & refused]

    @contextmanager
    def _undone_by_errors(self) -> Generator[None]:
        before = dict(self._records), dict(self._subjects), dict(self._reasons)
        try:
            yield
        except BaseException:
            self._records, self._subjects, self._reasons = before
            raise

    def _let_in(self, drafts: Sequence[Sealed], admits: Mark) -> None:
        for draft in drafts:
            self._admit(draft, admits)
        self._place(drafts)

    def _follow(self, drafts: Sequence[Sealed]) -> None:
        rules.follow(self._records, drafts)
        self._claim(drafts)

    def _write(self, drafts: Sequence[Sealed], at: datetime) -> None:
        for draft in drafts:
            self._happened.meet(draft.tenant, draft.subject, at)
            self._subjects.setdefault((draft.tenant, draft.subject), draft.slot)
            rules.put(self._records, draft)

    def _add(self, act: Act, beside: Sequence[Sealed]) -> None:
        if beside:
            self._search(act.tenant)
            self._let_in(beside, ~GONE)
            self._follow(beside)
            self._write(beside, act.at)

    def _part(self, tenant: TenantId, parting: Sequence[Sealed]) -> None:
        self._place(parting)
        for draft in parting:
            self._subjects.setdefault((tenant, draft.subject), draft.slot)
            rules.part(self._records, self._reasons, tenant, draft)

    def _carried(self, record: Sealed) -> Mark:
        return rules.marks(self._reasons, record.tenant, record.subject, record.id)

    def _protected(self, record: Sealed) -> Mark:
        return rules.protected(self._reasons, record)

    def _shown(self, record: Sealed) -> Sealed:
        return attrs.evolve(record, marks=self._carried(record), tokens=(), claims=(), signature=b"")

    def _seen(self, record: Sealed | None, admits: Mark) -> Sealed | Refused | None:
        if record is None:
            return None
        carried = self._carried(record)
        return Refused(carried) if carried & ~admits else self._shown(record)

    def _admit(self, draft: Sealed, admits: Mark) -> None:
        carried = self._carried(draft) | self._carried(self._records.get((draft.tenant, draft.id), draft))
        carried |= rules.marks(self._reasons, draft.tenant, partner_of(draft.subject)) & GONE
        if carried & (~admits | GONE):
            raise MarksRefused(carried)

    def _expect(self, act: Act) -> None:
        self._suppressions.admit(act)
        if act.answer is not None and (act.tenant, act.answer.key) in self._answers:
            raise RequestInFlight
        for expected in act.expects:
            record = self._records.get((act.tenant, expected.id))
            if record is None or not rules.fits(expected, record, self._reasons):
                raise VersionMismatch
            happened = self._happened.to(record.tenant, record.subject)
            if expected.past and not is_past(expected.past, events_of(record, happened)):
                raise VersionMismatch

    def _changes(self, tenant: TenantId, reason: Reason, *, lift: bool, admits: Mark) -> bool:
        known = (tenant, reason.subject) in self._subjects
        return known and rules.may_change(self._reasons, tenant, reason, lift=lift, admits=admits)

    def _place(self, drafts: Sequence[Sealed]) -> None:
        rules.place(self._subjects, drafts)

    def _claim(self, records: Sequence[Sealed]) -> None:
        rules.claim(self._records, records)

    def _witness(self, act: Act, touched: Sequence[Touched]) -> None:
        """Write the act's leaf and answer; nothing after it can fail, so that all is one."""
        self._sign(act if touched else attrs.evolve(act, answer=None), act.witness(touched))

    def _sign(self, act: Act, leaf: bytes | None) -> None:
        if leaf is not None:
            self._ledger.append([leaf])
        if act.answer is not None:
            self._answers[act.tenant, act.answer.key] = act.answer
