"""Records, answers, backlog, suppressions and key pages over one database: the ports that share transactions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial

import attrs

from capsule_core.errors import RequestInFlight, VersionMismatch
from capsule_core.journal import Journal, Marked, SealedPage, Suppressed, Written
from capsule_core.moments import Events, Moment
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.records import (
    GUARDED,
    Act,
    Answer,
    Cursor,
    FoundBy,
    Mark,
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
)
from capsule_core.stores import EVERYONE, Share
from capsule_sql import (
    ageing,
    answers,
    backlog,
    guarding,
    indexing,
    keypages,
    ledgers,
    marking,
    reinstating,
    suppressions,
)
from capsule_sql.failures import JournalAhead
from capsule_sql.moving import Meant
from capsule_sql.outbox import Outbox, bond, post
from capsule_sql.parting import part
from capsule_sql.rows import sealed, seen, touched_by
from capsule_sql.selections import counting, listing, reading
from capsule_sql.statements import EACH, TENANT, Connection, Transactions, listed
from capsule_sql.tenants import each_tenant, numbered
from capsule_sql.writing import Drafts, let_in

__all__ = ["SqlStore"]


@attrs.define(eq=False)
class SqlStore:
    """Records, subjects, pages and answers of many tenants in one database; the leaves of acts go to its ``leaves``.

    Opening it ships what a crash left between a commit and the journal.
    """

    _database: Transactions
    _journal: Journal
    _outbox: Outbox = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._outbox = Outbox(self._database, self._journal)
        with suppress(JournalAhead):  # whoever opened it asks whether it is behind, and replays
            self._outbox.forward(always=True)

    def ship(self) -> None:
        """Return when the journal has what was committed so far, whoever did not come to it, and has settled.

        Raises:
            JournalAhead: the journal knows acts that are not here.
            Unavailable: it has not settled.
        """
        self._outbox.ship(always=True)

    def is_behind(self) -> bool:
        """Tell whether the journal knows acts that are not here: then the data was restored."""
        try:
            self._outbox.forward(always=True)
        except JournalAhead:
            return True
        return False

    @property
    def shared(self) -> bool:
        """Whether other processes may use the same database, and so the same keystore."""
        return self._database.shared

    def read(self, tenant: TenantId, ids: Sequence[RecordId], *, admits: Mark) -> Sequence[Sealed | Refused | None]:
        """Return the records named, in order; None for one that is not there."""
        query = reading(tenant, ids)
        rows = self._database.rows(query.text, query.values, tenant=tenant)
        found = {row[1]: seen(sealed(tenant, row), admits) for row in rows}
        return [found.get(name) for name in ids]

    def select(self, where: Where, *, admits: Mark, limit: int, after: Cursor | None = None) -> Page:
        """Return up to *limit* records that are meant and admitted, newest first."""
        query = listing(where, admits=admits, limit=limit + 1, after=after)
        search = bool(where.tokens or any(where.signature))
        rows = self._database.rows(query.text, query.values, tenant=where.tenant, search=search)
        found = tuple(sealed(where.tenant, row) for row in rows[:limit])
        return Page(found, Cursor(found[-1].at, found[-1].id) if len(rows) > limit else None)

    def count(self, where: Where, *, admits: Mark) -> int:
        """Count the records that are meant and admitted."""
        query = counting(where, admits=admits)
        search = bool(where.tokens or any(where.signature))
        ((found,),) = self._database.rows(query.text, query.values, tenant=where.tenant, search=search)
        return int(found)

    def write(self, drafts: Sequence[Sealed], *, admits: Mark, act: Act) -> Sequence[Touched]:
        """Create and change records, all or none."""

        def body(connection: Connection) -> Sequence[Touched]:
            number = numbered(connection, act.tenant)
            connection.search(number)
            writing = Drafts(connection, number, drafts, act.at)
            writing.admit(admits)
            _expect(connection, act)
            _keep(connection, act, writing, drafts)
            ageing.happen(connection, number, act.happened)
            return _witnessed(connection, act, [touched_by(draft) for draft in drafts])

        return self._acted(body, act)

    def move(self, where: Where, to: Trash | Restore, *, admits: Mark, act: Act) -> Sequence[Touched]:
        """Throw away or take back what is meant."""

        def body(connection: Connection) -> Sequence[Touched]:
            if isinstance(to, Trash):
                found = Meant.find(connection, attrs.evolve(where, shelf=Shelf.LIVE), refused=~admits)
                _expect(connection, act)
                found.throw_away(to)
            else:
                trashed = attrs.evolve(where, shelf=Shelf.TRASHED, batch=to.batch)
                connection.search(numbered(connection, act.tenant))
                found = Meant.find(connection, trashed, refused=~admits)
                _expect(connection, act)
                found.take_back(act.at)
            post(connection, *map(Written, found.sealed(act.journaled)))
            if found.touched:
                ageing.happen(connection, numbered(connection, act.tenant), act.happened)
            return _witnessed(connection, act, found.touched)

        return self._acted(body, act)

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
        """Put reasons or lift them; return when the journal has them, and what was written with them."""

        def body(connection: Connection) -> Sequence[Touched]:
            tenant = numbered(connection, act.tenant)
            guarding.before_marking(connection, act.tenant, reasons, lift=lift)
            writing = let_in(connection, tenant, beside, act.at)
            part(connection, tenant, parting)
            bearers = marking.Marking(connection, tenant, reasons)
            _expect(connection, act)
            if writing is not None:
                _keep(connection, act, writing, beside)
                bearers = marking.Marking(connection, tenant, reasons)  # among them may be whom that made known
            post(connection, *map(Written, parting))
            changing = bearers.changing(lift=lift, admits=admits)
            (bearers.lift if lift else bearers.put)(changing)
            touched = bearers.touched(changing)
            if changing and not act.replayed:
                slots, detail = tuple(each.slot for each in touched), dict(act.detail)
                told = Marked(tenant=act.tenant, reasons=tuple(changing), lift=lift, slots=slots, detail=detail)
                post(connection, told)
            return _witnessed(connection, act, [*map(touched_by, beside), *touched])

        changed = self._database.write(body, tenant=act.tenant)
        if not act.replayed:
            self._outbox.ship()
        return changed

    def destroy(self, where: Where, *, admits: Mark, act: Act) -> Sequence[Touched]:
        """Delete what is meant for good, from the file and from its log.

        Raises:
            Unavailable: the rows are gone, but not yet from the log; doing it again finishes that.
        """
        refused = GUARDED & ~admits

        def body(connection: Connection) -> Sequence[Touched]:
            if refused:
                guarding.before_destroying(connection, act.tenant)
            found = Meant.find(connection, where, refused=refused)
            found = found.unguarded(refused) if refused and found.numbers else found
            _expect(connection, act)
            witnessed = _witnessed(connection, act, found.touched)
            found.destroy()
            return witnessed

        destroyed = self._database.write(body, tenant=act.tenant)
        self._database.checkpoint()
        return destroyed

    def subjects(self, tenant: TenantId, keys: Sequence[SubjectKey]) -> Sequence[Subject | None]:
        """Return what is known of the subjects, in order."""
        return marking.known(self._database, tenant, keys)

    def answered(self, tenant: TenantId, key: bytes) -> Answer | None:
        """Return the answer kept under *key*, when what was acted on with it may be acknowledged."""
        found = answers.answered(self._database, tenant, key)
        if found is not None:
            self._outbox.ship()  # whoever was to acknowledge it first may not have come to it
        return found

    def keep(self, answer: Answer) -> None:
        """Keep an answer that needs no act; one that is there stays."""
        tenant = answer.tenant
        self._database.write(lambda each: answers.keep(each, numbered(each, tenant), answer), tenant=tenant)

    def forget(self, now: datetime) -> None:
        """Drop the answers that were to be kept until *now* or earlier."""
        self._database.write(lambda connection: answers.forget(connection, now))

    def due(self, now: datetime, share: Share = EVERYONE) -> Sequence[TenantId]:
        """Name the tenants that have trash whose time is over."""
        return self._database.read(lambda connection: backlog.due(connection, now, share))

    def having(self, kind: str, share: Share = EVERYONE) -> Sequence[TenantId]:
        """Name the tenants that have a living record of a kind."""
        return self._database.read(lambda connection: backlog.having(connection, kind, share))

    def unfinished(self) -> Sequence[tuple[TenantId, Reason]]:
        """Return the fences of subjects that are not erased yet."""
        return self._database.read(marking.unfinished)

    def released(self, of: Share | TenantId = EVERYONE) -> Sequence[tuple[TenantId, Reason]]:
        """Return why subjects were kept of which something has not to be kept any more."""
        return self._database.read(lambda connection: backlog.released(connection, of))

    def people(self, tenant: TenantId, *, limit: int, after: SubjectKey | None = None) -> Sequence[SubjectKey]:
        """Return up to *limit* subjects that are not gone, from the one *after* which a page ended."""
        return backlog.people(self._database, tenant, limit, after)

    def reasons(self, tenant: TenantId, subjects: Sequence[SubjectKey]) -> Sequence[Reason]:
        """Return every reason that the subjects and their records carry."""
        return marking.all_reasons(self._database, tenant, subjects)

    def happened(self, tenant: TenantId, subjects: Sequence[SubjectKey]) -> Sequence[Events]:
        """Tell when what happened to the subjects."""
        return ageing.happened(self._database, tenant, subjects)

    def happen(self, tenant: TenantId, moments: Sequence[Moment]) -> None:
        """Keep when what happened."""
        self._database.write(lambda each: ageing.happen(each, numbered(each, tenant), moments), tenant=tenant)

    def tick(self, tenant: TenantId, records: Sequence[Sealed]) -> None:
        """Keep what was done with records."""
        self._database.write(lambda each: ageing.tick(each, numbered(each, tenant), records), tenant=tenant)

    def reindex(self, tenant: TenantId, found_by: Sequence[FoundBy]) -> None:
        """Say anew what records are found by."""
        self._database.write(lambda each: indexing.reindex(each, numbered(each, tenant), found_by), tenant=tenant)

    def indexed(self, tenant: TenantId) -> None:
        """Say that every record of the tenant was said to ``reindex``."""
        self._database.write(lambda each: indexing.complete(each, numbered(each, tenant)), tenant=tenant)

    def unindexed(self) -> Sequence[TenantId]:
        """Name the tenants for which what records are found by is missing."""
        return indexing.missing(self._database)

    def position(self) -> int:
        """Return where in the journal the newest entry lies that was seen."""
        return bond(self._database).position

    def arrive(self, position: int) -> None:
        """Say that everything in the journal up to *position* is here."""
        self._outbox.arrive(position)

    def recognise(self, tenant: TenantId, subjects: Mapping[SubjectKey, Slot]) -> None:
        """Make subjects known."""
        if subjects:
            self._database.write(
                lambda each: reinstating.recognise(each, numbered(each, tenant), subjects), tenant=tenant
            )

    def reinstate(self, records: Sequence[Sealed], *, act: Act) -> Sequence[Touched]:
        """Put records of one tenant back as they were last written."""

        def body(connection: Connection) -> Sequence[Touched]:
            touched = reinstating.reinstate(connection, numbered(connection, act.tenant), records)
            return _witnessed(connection, act, touched)

        return self._database.write(body, tenant=act.tenant)

    def tenants(self) -> Sequence[TenantId]:
        """Name the tenants of which something is kept."""
        return self._database.read(lambda connection: [tenant for _, tenant in each_tenant(connection)])

    def suppressed(self, tenant: TenantId, hashes: Sequence[bytes]) -> frozenset[bytes]:
        """Return those of *hashes* that are suppressed."""
        return suppressions.among(self._database, tenant, hashes)

    def remembered(self, tenant: TenantId, *, limit: int) -> Sequence[bytes]:
        """Return up to *limit* of all that is suppressed."""
        return suppressions.remembered(self._database, tenant, limit)

    def suppress(self, hashes: Sequence[bytes], *, act: Act, lift: bool = False) -> Sequence[bytes]:
        """Suppress identifiers, or let them in again; return when the journal knows which."""

        def body(connection: Connection) -> Sequence[bytes]:
            _expect(connection, act)
            changed = suppressions.changing(connection, act.tenant, hashes, lift=lift)
            if changed:
                told = Suppressed(tenant=act.tenant, hashes=tuple(changed), since=act.at, lift=lift)
                suppressions.change(connection, numbered(connection, act.tenant), told)
                if not act.replayed:
                    post(connection, told)
                _sign(connection, act, act.witness(()))
            return changed

        changed = self._database.write(body, tenant=act.tenant)
        if not act.replayed:
            self._outbox.ship()
        return changed

    def add(self, page: SealedPage) -> None:
        """Keep a new page."""
        self._database.write(lambda connection: keypages.add(connection, page), tenant=page.tenant)

    def pages(self, tenant: TenantId, numbers: Sequence[int]) -> Sequence[SealedPage | None]:
        """Return pages, in order; None for one that is not there."""
        return keypages.pages(self._database, tenant, numbers)

    def reseal(self, pages: Sequence[SealedPage]) -> None:
        """Replace pages by what they were sealed to anew."""
        for tenant in {page.tenant for page in pages}:
            ours = [page for page in pages if page.tenant == tenant]
            self._database.write(partial(keypages.reseal, resealed=ours), tenant=tenant)

    def newest(self, tenant: TenantId) -> int:
        """Return the number of the tenant's newest page."""
        return keypages.newest(self._database, tenant)

    def _acted(self, body: Callable[[Connection], Sequence[Touched]], act: Act) -> Sequence[Touched]:
        """Do *body*; return when the journal has what it was to be told."""
        touched = self._database.write(body, tenant=act.tenant)
        if any(each.kind in act.journaled for each in touched):
            self._outbox.ship()
        return touched


def _keep(connection: Connection, act: Act, writing: Drafts, drafts: Sequence[Sealed]) -> None:
    """Write drafts that were let in, and let the journal have those that it is to know."""
    writing.follow()
    writing.store()
    post(connection, *(Written(draft) for draft in drafts if draft.kind in act.journaled))


def _expect(connection: Connection, act: Act) -> None:
    """Check that the act brings nothing suppressed, was not answered yet, and finds records as it expects them."""
    suppressions.admit(connection, act)
    if act.answer is not None and answers.is_kept(connection, act.tenant, act.answer.key):
        raise RequestInFlight
    if act.expects:
        select = f"SELECT id, version, batch FROM records WHERE tenant_no = {TENANT} AND id {EACH}"
        rows = connection.execute(select, (act.tenant, listed(expected.id for expected in act.expects)))
        found = {name: (version, batch) for name, version, batch in rows}
        for expected in act.expects:
            version, batch = found.get(expected.id, (0, None))
            if not version or batch != expected.batch or expected.version not in {None, version}:
                raise VersionMismatch
        ageing.expect(connection, act.tenant, act.expects)
        marking.expect_guards(connection, act)


def _witnessed(connection: Connection, act: Act, touched: Sequence[Touched]) -> Sequence[Touched]:
    """Write the leaf of an act that touched so much, and its answer if it touched anything."""
    _sign(connection, act if touched else attrs.evolve(act, answer=None), act.witness(touched))
    return touched


def _sign(connection: Connection, act: Act, leaf: bytes | None) -> None:
    if leaf is not None:
        ledgers.bear(connection, leaf)
    if act.answer is not None:
        answers.give(connection, numbered(connection, act.tenant), act.answer)
