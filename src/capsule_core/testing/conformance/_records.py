"""Everything that can be done to a store of records, as rules of one state machine."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from capsule_core.errors import IdentifierTaken, RequestInFlight, VersionMismatch
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.records import (
    GUARDED,
    Act,
    Answer,
    Cursor,
    Mark,
    MarksRefused,
    Reason,
    Refused,
    Restore,
    Sealed,
    Shelf,
    Slot,
    Touched,
    Trash,
    Where,
)
from capsule_core.stores import Share
from capsule_core.testing.conformance import _cases as cases
from capsule_core.testing.conformance._model import Broken, Model, Obstacle, Witness, bare, by_id, meant_by_move, plain
from capsule_core.testing.conformance.clauses import Capabilities, require

_UNFOUNDED: Final[Mapping[type[Exception], str]] = {
    MarksRefused: "C4",
    VersionMismatch: "C3",
    IdentifierTaken: "C7",
    RequestInFlight: "C12",
}
_LIVING_MARKS: Final = (Mark.HELD, Mark.OBLIGED, Mark.RESTRICTED, Mark.OBJECTED)


class RecordsMachine(RuleBasedStateMachine):
    """Does what callers do, in any order, and compares everything with the model after each act."""

    def __init__(self, make: Callable[[], Any], capabilities: Capabilities) -> None:
        super().__init__()
        self.capabilities = capabilities
        self.under = make()
        self.model = Model()
        self.slots_given = 0

    def teardown(self) -> None:
        self.under.close()

    @initialize()
    def begin(self) -> None:
        for tenant in cases.TENANTS:
            first, second, third = cases.IDS[:3]
            one, other = cases.SUBJECTS[:2]
            self._write(
                tenant,
                [cases.plain(first, first, one), cases.plain(second, first, one), cases.plain(third, third, other)],
            )

    @rule(
        tenant=st.sampled_from(cases.TENANTS),
        sketches=st.lists(cases.sketches(), min_size=1, max_size=2),
        admits=cases.admitted(),
        manner=cases.manners(),
    )
    def write(self, tenant: TenantId, sketches: list[cases.Sketch], admits: Mark, manner: cases.Manner) -> None:
        self._write(tenant, sketches, admits, manner)

    @rule(
        tenant=st.sampled_from(cases.TENANTS),
        selection=cases.selections(),
        to=cases.trashes() | st.builds(Restore, st.sampled_from(cases.BATCHES)),
        admits=cases.admitted(),
        manner=cases.manners(),
    )
    def move(
        self,
        tenant: TenantId,
        selection: Mapping[str, Any],
        to: Trash | Restore,
        admits: Mark,
        manner: cases.Manner,
    ) -> None:
        where = cases.meaning(tenant, selection)
        meant = self.model.meant(meant_by_move(where, to), refused=~admits)
        act = self._act(tenant, manner)
        obstacles = [*self.model.against_act(act)]
        if isinstance(to, Restore):
            obstacles += [("C6", error) for _, error in self.model.against_claims(meant)]
        change = partial(self.under.store.move, where, to, admits=admits)
        if self._attempt(change, act, obstacles, manner):
            self.model.move(meant, to if isinstance(to, Trash) else None)
            self._agree(tenant, "C6", touched=[(record.id, record.subject) for record in meant])

    @rule(
        tenant=st.sampled_from(cases.TENANTS),
        reasons=cases.reasons((*_LIVING_MARKS, Mark.FENCED, Mark.ERASED, Mark.KEPT)),
        admits=st.sampled_from((Mark.NONE, Mark.NONE, Mark.HELD, GUARDED)),
        manner=cases.manners(),
    )
    def put(self, tenant: TenantId, reasons: list[Reason], admits: Mark, manner: cases.Manner) -> None:
        act = self._act(tenant, manner)
        change = partial(self.under.store.mark, reasons, admits=admits)
        changed = self.model.to_put(tenant, reasons, admits=admits)
        if self._attempt(change, act, [*self.model.against_act(act)], manner):
            self.model.put(tenant, changed)
            self._agree(tenant, "C8", touched=[(reason.record, reason.subject) for reason in changed])

    @rule(
        tenant=st.sampled_from(cases.TENANTS),
        ids=st.lists(st.sampled_from(cases.IDS), min_size=1, max_size=2, unique=True),
        subject=st.sampled_from(cases.SUBJECTS),
        reasons=cases.reasons((Mark.FENCED, Mark.KEPT)),
        strays=cases.rarely(),
        manner=cases.manners(),
    )
    def part(
        self,
        *,
        tenant: TenantId,
        ids: list[RecordId],
        subject: SubjectKey,
        reasons: list[Reason],
        strays: bool,
        manner: cases.Manner,
    ) -> None:
        """Hand records over to another subject, and put reasons, in one act."""
        sketches = [attrs.evolve(cases.plain(name, name, subject), step=0, strays=strays) for name in ids]
        drafts = self._drafts(tenant, sketches)
        act = self._act(tenant, manner)
        obstacles = [*self.model.against_act(act), *self.model.against_parting(tenant, drafts)]
        change = partial(self.under.store.mark, reasons, parting=drafts)
        before = copy.deepcopy(self.model)
        if not obstacles:
            self.model.part(tenant, drafts)
        changed = self.model.to_put(tenant, reasons, admits=Mark.NONE)
        after, self.model = self.model, before
        if self._attempt(change, act, obstacles, manner):
            answers, self.model = self.model.answers, after
            self.model.answers = answers
            self.model.put(tenant, changed)
            self._agree(tenant, "C14", touched=[(reason.record, reason.subject) for reason in changed])

    @rule(tenant=st.sampled_from(cases.TENANTS), reasons=cases.reasons(_LIVING_MARKS), manner=cases.manners())
    def lift(self, tenant: TenantId, reasons: list[Reason], manner: cases.Manner) -> None:
        act = self._act(tenant, manner)
        change = partial(self.under.store.mark, [*reasons, *reasons], lift=True)
        changed = self.model.to_lift(tenant, reasons)
        if self._attempt(change, act, [*self.model.against_act(act)], manner):
            self.model.lift(tenant, changed)
            self._agree(tenant, "C8", touched=[(reason.record, reason.subject) for reason in changed])

    @rule(
        tenant=st.sampled_from(cases.TENANTS),
        selection=cases.selections(),
        admits=st.sampled_from((Mark.NONE, Mark.NONE, Mark.HELD, cases.EVERY)),
        manner=cases.manners(),
    )
    def destroy(self, tenant: TenantId, selection: Mapping[str, Any], admits: Mark, manner: cases.Manner) -> None:
        where = cases.meaning(tenant, {key: value for key, value in selection.items() if key != "subjects"})
        meant = self.model.unguarded(where, admits=admits)
        act = self._act(tenant, attrs.evolve(manner, request=None))
        change = partial(self.under.store.destroy, where, admits=admits)
        if self._attempt(change, act, [*self.model.against_act(act)], manner):
            self.model.destroy(meant)
            self._agree(tenant, "C9", touched=[(record.id, record.subject) for record in meant])

    @rule(tenant=st.sampled_from(cases.TENANTS), subject=st.sampled_from(cases.SUBJECTS))
    def erase_answers(self, tenant: TenantId, subject: SubjectKey) -> None:
        """Destroy a subject by name, who may have no record left: what was answered about it goes all the same."""
        where = Where(tenant=tenant, subjects=(subject,), shelf=Shelf.ANY)
        meant = self.model.meant(where)
        change = partial(self.under.store.destroy, where, admits=cases.EVERY)
        self._attempt(change, cases.act(tenant), [], cases.Manner())
        self.model.destroy(meant)
        for key, answer in self.model.answers.items():
            if (answer.tenant, answer.subject) == (tenant, subject):
                self.model.answers[key] = attrs.evolve(answer, body=None)
        self._agree(tenant, "C9", touched=[(record.id, record.subject) for record in meant], answers="A2")

    @rule(
        tenant=st.sampled_from(cases.TENANTS),
        key=st.sampled_from(cases.KEYS),
        subject=st.none() | st.sampled_from(cases.SUBJECTS),
    )
    def keep(self, tenant: TenantId, key: bytes, subject: SubjectKey | None) -> None:
        answer = self._answer(tenant, key, subject)
        self.under.store.keep(answer)
        self.model.answers.setdefault((tenant, key), answer)
        self._same_answers("A1")

    @rule(over=st.booleans())
    def forget(self, over: bool) -> None:
        """Drop old answers: those of this machine are all to be kept until the same moment."""
        self.under.store.forget(cases.START if over else cases.START - timedelta(microseconds=1))
        if over:
            self.model.answers.clear()
        self._same_answers("A3")

    @rule(
        tenant=st.sampled_from(cases.TENANTS),
        selection=cases.selections(),
        admits=st.sampled_from((Mark.NONE, GUARDED, cases.EVERY)),
        limit=st.integers(1, 4),
    )
    def browse(self, tenant: TenantId, selection: Mapping[str, Any], admits: Mark, limit: int) -> None:
        where = cases.meaning(tenant, selection)
        found = self._listed(where, admits, limit)
        require(all(record.tenant == tenant for record in found), "C1", "a selection holds another tenant's record")
        require(not any(record.marks & ~admits for record in found), "C4", "a selection holds a mark not admitted")
        wanted = self.model.meant(where, refused=~admits)
        require(by_id(found) == by_id(wanted), "C10", "a selection is not what is meant and admitted")
        require(len(found) == len(wanted), "C10", "a record came twice")
        require(self.under.store.count(where, admits=admits) == len(wanted), "C17", "another number is counted")
        times = [record.at for record in found]
        require(times == sorted(times, reverse=True), "C10", "a selection is not newest first")

    @rule(tenant=st.sampled_from(cases.TENANTS), ids=st.lists(st.sampled_from(cases.IDS)), admits=cases.admitted())
    def read(self, tenant: TenantId, ids: list[RecordId], admits: Mark) -> None:
        for name, found in zip(ids, self.under.store.read(tenant, ids, admits=admits), strict=True):
            held = self.model.records.get((tenant, name))
            if held is None:
                require(found is None, "C1", "an id that the tenant does not have is not answered as unknown")
            elif self.model.carried(held) & ~admits:
                refused = isinstance(found, Refused) and found.marks == self.model.carried(held)
                require(refused, "C4", "a record with a mark not admitted is read")
            else:
                same = isinstance(found, Sealed) and plain(found) == plain(self.model.seen(held))
                require(same, "C2", "a record reads other than it was written")

    @rule(now=st.sampled_from(cases.MOMENTS))
    def look_back(self, now: datetime) -> None:
        store = self.under.store
        due, since = list(store.due(now)), self.model.due(now)
        require(set(due) == set(since) and len(set(due)) == len(due), "B1", "other tenants are due")
        require([since[t] for t in due] == sorted(since.values()), "B1", "not first whose trash has been due longest")
        shares = [store.due(now, Share(number, 3)) for number in range(3)]
        require(sorted(t for share in shares for t in share) == sorted(due), "B5", "shares have not each tenant once")
        named = all(sorted(store.having(each)) == sorted(self.model.having(each)) for each in cases.KINDS)
        require(named, "B6", "others have living records of a kind")
        found, wanted = store.unfinished(), self.model.unfinished()
        same = len(found) == len(wanted) and all(each in found for each in wanted)
        require(same, "B2", "other fences are unfinished")
        kept, free = store.released(), self.model.released()
        require(len(kept) == len(free) and all(each in kept for each in free), "B4", "others are not kept any more")
        split = [each for number in range(3) for each in store.released(Share(number, 3))]
        require(len(split) == len(kept) and all(each in kept for each in split), "B5", "shares have not each once")
        for tenant in cases.TENANTS:
            require(cases.people(store, tenant) == sorted(self.model.people(tenant)), "B7", "others are not gone")
            own = store.released(tenant)
            require(own == [each for each in kept if each[0] == tenant], "B4", "another tenant's are given")

    @precondition(lambda self: self.capabilities.durable)
    @rule()
    def reopen(self) -> None:
        self.under.reopen()
        self._same_state("C2", "C2", "C2")

    def _write(
        self,
        tenant: TenantId,
        sketches: Sequence[cases.Sketch],
        admits: Mark = Mark.NONE,
        manner: cases.Manner = cases.Manner(),  # noqa: B008  frozen
    ) -> None:
        drafts = self._drafts(tenant, sketches)
        act = self._act(tenant, manner)
        obstacles = [*self.model.against_write(drafts, admits=admits), *self.model.against_act(act)]
        change = partial(self.under.store.write, drafts, admits=admits)
        if self._attempt(change, act, obstacles, manner):
            self.model.write(drafts)
            self._agree(tenant, "C2", touched=[(draft.id, draft.subject) for draft in drafts])

    def _drafts(self, tenant: TenantId, sketches: Sequence[cases.Sketch]) -> list[Sealed]:
        drafts: list[Sealed] = []
        fresh: dict[SubjectKey, Slot] = {}
        for sketch in sketches:
            held = self.model.records.get((tenant, sketch.id))
            slot = self.model.slots.get((tenant, sketch.subject)) or fresh.get(sketch.subject)
            if slot is None:
                self.slots_given += 1
                slot = fresh[sketch.subject] = Slot(1 + self.slots_given // 256, self.slots_given % 256)
            if sketch.strays:
                slot = next(iter(self.model.slots.values()), slot)
            drafts.append(sketch.sealed(tenant, version=(held.version if held else 0) + sketch.step, slot=slot))
        return drafts

    def _act(self, tenant: TenantId, manner: cases.Manner) -> Act:
        expects = () if manner.expects is None else (manner.expects,)
        answer = None if manner.request is None else self._answer(tenant, manner.request, manner.about)
        return cases.act(tenant, expects=expects, answer=answer)

    def _answer(self, tenant: TenantId, key: bytes, subject: SubjectKey | None) -> Answer:
        slot = None if subject is None else self.model.slots.get((tenant, subject), Slot(9, 9))
        body = b"body %d" % len(self.model.answers)
        return Answer(
            tenant=tenant, key=key, digest=key[::-1], until=cases.START, subject=subject, slot=slot, body=body
        )

    def _attempt(
        self, change: Callable[..., Sequence[Touched]], act: Act, obstacles: list[Obstacle], manner: cases.Manner
    ) -> bool:
        """Try a change; True if it was done, as it should have been, with its leaf and its answer."""
        self.witness, self.size = Witness(manner.breaks), self.under.ledger.head().size
        allowed = [*(error for _, error in obstacles), *([Broken] if manner.breaks else [])]
        try:
            self.touched = list(change(act=attrs.evolve(act, witness=self.witness)))
        except Exception as error:  # noqa: BLE001  any error is judged here, and named by its clause
            founded = isinstance(error, tuple(allowed))
            require(founded, self._unfounded(error), f"refused without a reason: {type(error).__name__}")
            self._same_state("C2", "C2", "C2")
            require(self.under.ledger.head().size == self.size, "C5", "a refused act left a leaf")
            return False
        for clause, kind in obstacles:
            require(False, clause, f"not refused with {kind.__name__}")
        require(not (manner.breaks and self.touched), "C5", "a change was kept without its leaf")
        if act.answer is not None and self.touched:
            self.model.answers[act.tenant, act.answer.key] = act.answer
        return True

    def _unfounded(self, error: Exception) -> str:
        if isinstance(error, IdentifierTaken) and (self.model.destroyed_claims or self.model.trashed_claims):
            return "C9" if self.model.destroyed_claims else "C6"
        return next((clause for kind, clause in _UNFOUNDED.items() if isinstance(error, kind)), "C2")

    def _agree(
        self,
        tenant: TenantId,
        clause: str,
        *,
        touched: Sequence[tuple[RecordId | None, SubjectKey]],
        answers: str = "",
    ) -> None:
        """Compare everything with the model after a change of *tenant*."""
        said = Counter((entry.id, entry.subject) for entry in self.touched)
        self._same_state(clause, answers or ("C9" if clause == "C9" else "C5"), "C8", changed=tenant)
        require(said == Counter(touched), clause, "it does not say what it touched")
        require((self.witness.shown or []) == self.touched, "C5", "the leaf was made of something else")
        leaves = self.under.ledger.head().size - self.size
        require(leaves == bool(touched), "C5", f"{leaves} leaves for an act that touched {len(touched)}")

    def _same_state(self, records: str, answers: str, marks: str, *, changed: TenantId | None = None) -> None:
        for tenant in cases.TENANTS:
            clause = records if changed in {None, tenant} else "C1"
            found = self.under.store.read(tenant, cases.IDS, admits=cases.EVERY)
            wanted = [self.model.records.get((tenant, name)) for name in cases.IDS]
            for ours, theirs in zip(wanted, found, strict=True):
                same = isinstance(theirs, Sealed) and ours and bare(theirs) == bare(ours)
                require(same if ours else theirs is None, clause, "a record is not as it should be")
                if ours and isinstance(theirs, Sealed):
                    require(theirs.marks == self.model.carried(ours), marks, "a record carries other marks")
            self._same_people(tenant, marks if changed in {None, tenant} else "C1")
        self._same_answers(answers)

    def _same_people(self, tenant: TenantId, marks: str) -> None:
        store = self.under.store
        for key, found in zip(cases.SUBJECTS, store.subjects(tenant, cases.SUBJECTS), strict=True):
            wanted = self.model.subject(tenant, key)
            same = (found and found.slot) == (wanted and wanted.slot)
            require(same, "C11", "a subject is not known, or has another slot")
            require(found == wanted, marks, "a subject carries other marks")
        ours = [r for (owner, *_), r in self.model.reasons.items() if owner == tenant]
        for asked in (cases.SUBJECTS, cases.SUBJECTS[:1]):
            theirs = list(store.reasons(tenant, asked))
            meant = [reason for reason in ours if reason.subject in asked]
            same = len(theirs) == len(meant) and all(reason in theirs for reason in meant)
            require(same, "B3", "other reasons are told than were put and not lifted")

    def _same_answers(self, clause: str) -> None:
        for tenant in cases.TENANTS:
            for key in cases.KEYS:
                found, wanted = self.under.store.answered(tenant, key), self.model.answers.get((tenant, key))
                gone = wanted is not None and wanted.body is None
                require(found == wanted, clause if gone or clause != "C9" else "A1", "an answer is not what was left")

    def _listed(self, where: Where, admits: Mark, limit: int) -> list[Sealed]:
        found: list[Sealed] = []
        after: Cursor | None = None
        for _ in range(2 * len(cases.IDS) * len(cases.TENANTS)):
            page = self.under.store.select(where, admits=admits, limit=limit, after=after)
            require(len(page.records) <= limit, "C10", "a page is longer than was asked for")
            found += page.records
            after = page.after
            if after is None:
                return found
        require(False, "C10", "the pages do not end")
        return found
