"""What protects from being destroyed, as rules of the same state machine: everybody's guards; records beside marks."""

from __future__ import annotations

import copy
from functools import partial

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import rule

from capsule_core.names import SubjectKey, TenantId
from capsule_core.protection import EVERYBODY
from capsule_core.records import GONE, Mark, Reason, Sealed, Shelf, Touched, Where
from capsule_core.testing.conformance import _cases as cases
from capsule_core.testing.conformance._model import Witness
from capsule_core.testing.conformance._records import RecordsMachine
from capsule_core.testing.conformance.clauses import require

_MARKS = (Mark.HELD, Mark.OBLIGED, Mark.RESTRICTED, Mark.OBJECTED)


class ProtectingMachine(RecordsMachine):
    """Does what callers do who place and release holds."""

    @rule(
        tenant=st.sampled_from(cases.TENANTS),
        sketch=cases.sketches(),
        reasons=cases.reasons(_MARKS),
        lift=st.booleans(),
        manner=cases.manners(),
    )
    def mark_beside(
        self, tenant: TenantId, sketch: cases.Sketch, reasons: list[Reason], lift: bool, manner: cases.Manner
    ) -> None:
        """Write a record, and put or lift reasons, in one act."""
        drafts, act = self._drafts(tenant, [sketch]), self._act(tenant, manner)
        obstacles = [*self.model.against_write(drafts, admits=~GONE), *self.model.against_act(act)]
        after = copy.deepcopy(self.model)
        if not obstacles:
            after.write(drafts)
        changed = after.to_lift(tenant, reasons) if lift else after.to_put(tenant, reasons, admits=Mark.NONE)
        change = partial(self.under.store.mark, reasons, lift=lift, beside=drafts)
        if self._attempt(change, act, [("C16", error) for _, error in obstacles], manner):
            after.answers = self.model.answers
            self.model = after
            (after.lift if lift else after.put)(tenant, changed)
            require(self.touched[: len(drafts)] == [_said(draft) for draft in drafts], "C16", "records come first")
            told = [*((draft.id, draft.subject) for draft in drafts), *((r.record, r.subject) for r in changed)]
            self._agree(tenant, "C16", touched=told)

    @rule(tenant=st.sampled_from(cases.TENANTS), subject=st.sampled_from((EVERYBODY, *cases.SUBJECTS[:1])))
    def protect(self, tenant: TenantId, subject: SubjectKey) -> None:
        """Let *subject* be held, try to destroy and fence whatever that protects, and release it."""
        held = Reason(id="protects", mark=Mark.HELD, subject=subject, since=cases.START)
        if not self._marked(tenant, [held]):
            return
        whole = Where(tenant=tenant, shelf=Shelf.ANY)
        protected = [key for key in cases.SUBJECTS if self.model.guarded(tenant, key) or key == subject]
        spared = {record.id for record in self.model.meant(whole) if record.subject in protected}
        act = attrs.evolve(cases.act(tenant), witness=Witness())
        for each in protected:
            fence = Reason(id="ends", mark=Mark.FENCED, subject=each, since=cases.START)
            require(not self.under.store.mark([fence], act=act), "C15", "who is protected was fenced")
        gone = self.under.store.destroy(where=whole, admits=Mark.NONE, act=act)
        require(not spared & {each.id for each in gone}, "C15", "what is protected was destroyed")
        self.model.destroy(self.model.unguarded(whole, admits=Mark.NONE))
        self._same_state("C15", "C15", "C15")
        self.look_back(now=cases.START)
        self._marked(tenant, [held], lift=True)

    @rule(tenant=st.sampled_from(cases.TENANTS))
    def fence_everybody(self, tenant: TenantId) -> None:
        fence = Reason(id="ends", mark=Mark.FENCED, subject=EVERYBODY, since=cases.START)
        act = attrs.evolve(cases.act(tenant), witness=Witness())
        require(not self.under.store.mark([fence], admits=cases.EVERY, act=act), "C15", "everybody was fenced")

    def _marked(self, tenant: TenantId, reasons: list[Reason], *, lift: bool = False) -> bool:
        changed = self.model.to_lift(tenant, reasons) if lift else self.model.to_put(tenant, reasons, admits=Mark.NONE)
        act = attrs.evolve(cases.act(tenant), witness=Witness())
        found = self.under.store.mark(reasons, lift=lift, act=act)
        require(len(found) == len(changed), "C8", "it does not say who got it")
        (self.model.lift if lift else self.model.put)(tenant, changed)
        return bool(changed)


def _said(draft: Sealed) -> Touched:
    return Touched(id=draft.id, kind=draft.kind, subject=draft.subject, slot=draft.slot, version=draft.version)
