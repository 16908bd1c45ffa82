"""Erasures over every holder: taken from the one that began, run over the others, done when nothing is found."""

from __future__ import annotations

from collections.abc import Mapping

from capsule_core import answers, cases, story
from capsule_core.anchors import prove
from capsule_core.cases import Case
from capsule_core.checkpoints import Signer
from capsule_core.errors import CapsuleError, InvalidField, ResourceMissing, TenantClosed
from capsule_core.holder import Holder
from capsule_core.kept import Kept, Listing
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.receipts import Receipt
from capsule_core.records import Where
from capsule_core.repository import Draft
from capsule_core.story import Erasure
from capsule_core.uses import Use
from capsule_services.runtime.calls import Call
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.paging import Window

__all__ = ["get", "list_erasures", "receipt", "report"]


def report(holding: Holding, call: Call, told: Receipt, holders: Mapping[str, Holder], signer: Signer) -> Kept[Case]:
    """Take the report of an erasure and lead it as far as the holders let it now; reported again, it goes on.

    Raises:
        TenantClosed: nothing is kept for the tenant any more; whoever reports need not do so again.
    """
    tenant = told.statement.tenant
    if tenant != call.within():
        raise InvalidField("receipt", "is another tenant's")
    kept = _case(holding, tenant, told.statement.erasure)
    if kept is None:
        if holding.vault.is_closed(tenant):
            raise TenantClosed
        case = cases.opened(told, holders=holders.keys(), now=holding.now())
        kept = holding.repository.add([Draft(case)], act=holding.act(call))[0]
    if not kept.content.closed_at:
        kept = _lead(holding, call, kept, holders)
    if kept.content.closed_at:
        _prove(holding, tenant, kept.content, signer)
    return kept


def get(holding: Holding, call: Call, erasure: str) -> Kept[Case]:
    """Return how far an erasure is."""
    kept = _case(holding, call.within(), erasure)
    if kept is None:
        raise ResourceMissing("erasure")
    holding.shown(call, [kept])
    return kept


def list_erasures(holding: Holding, call: Call, window: Window) -> Listing:
    """List erasures, newest first."""
    where = Where(tenant=call.within(), kinds=("case",))
    listing = holding.repository.select(where, use=call.use, limit=window.limit, after=window.after)
    holding.shown(call, listing.records)
    return listing


def receipt(holding: Holding, call: Call, erasure: str, signer: Signer) -> Receipt:
    """Return the receipt of an erasure that is done everywhere, made now if nobody came to it yet.

    Raises:
        ResourceMissing: there is none; the erasure is unknown, or a holder has not confirmed.
    """
    tenant = call.within()
    kept = _case(holding, tenant, erasure)
    if kept is not None and kept.content.closed_at:
        _prove(holding, tenant, kept.content, signer)
    found = holding.eraser.receipt(tenant, erasure, now=holding.now())
    if found is None:
        raise ResourceMissing("receipt")
    holding.searched(call, [SubjectKey(cases.ABOUT)])
    return found


def _case(holding: Holding, tenant: TenantId, erasure: str) -> Kept[Case] | None:
    return holding.repository.read(tenant, [RecordId(erasure)], use=Use.ADMINISTER)[0]


def _lead(holding: Holding, call: Call, kept: Kept[Case], holders: Mapping[str, Holder]) -> Kept[Case]:
    case = kept.content
    for name in cases.pending(case):
        case = _erase_at(holding, call, case, name, holders[name])
    if cases.pending(case) or _still_found(call.within(), case, holders):
        return kept if case == kept.content else holding.repository.change(kept, case, act=holding.act(call))
    return _close(holding, call, kept, cases.closed(case, now=holding.now()))


def _erase_at(holding: Holding, call: Call, case: Case, name: str, holder: Holder) -> Case:
    now, told = holding.now(), cases.reported(case)
    wanted = Erasure(
        tenant=call.within(),
        id=case.id,
        subjects=tuple(map(SubjectKey, case.subjects)),
        ground=told.ground,
        policy=told.policy,
        by=call.actor,
        requested=now,
        suppresses=told.ground == story.REQUEST,
    )
    try:
        done = holder.erase(wanted, now=now)
    except CapsuleError:
        return case  # it stays pending, and is asked again when the report comes again
    if done.outcome is None or not cases.believable(case, name, done.outcome, done.receipt):
        return case
    return cases.confirm(case, name, done.outcome, done.receipt, now=now)


def _still_found(tenant: TenantId, case: Case, holders: Mapping[str, Holder]) -> bool:
    """Look again, at every holder, for more than receipts say is kept: what cannot be asked counts as found."""
    subjects = tuple(map(SubjectKey, case.subjects))
    try:
        return any(not record.kept for holder in holders.values() for record in holder.collect(tenant, subjects))
    except CapsuleError:
        return True


def _close(holding: Holding, call: Call, kept: Kept[Case], case: Case) -> Kept[Case]:
    """Commit that it is done everywhere."""
    statement = cases.statement_of(case, tenant=call.within(), service=holding.service)
    detail = {"erasure": case.id, "statement": statement.digest()}
    return holding.repository.change(kept, case, act=holding.act(call, detail=detail))


def _prove(holding: Holding, tenant: TenantId, case: Case, signer: Signer) -> None:
    """Make the receipt of a closed case from what was committed, unless it is there: a crash may have come between."""
    if holding.eraser.receipt(tenant, case.id, now=holding.now()) is not None:
        return
    statement = cases.statement_of(case, tenant=tenant, service=holding.service)
    index, leaf = next(
        (index, data)
        for index, data, leaf in story.backwards(holding.ledger, tenant, case.id)
        if leaf.detail.get("statement") == statement.digest()
    )
    proof = prove(statement, holding.ledger, leaf=leaf, index=index, signer=signer)
    wanted = story.receipt_request(case.id, now=holding.now())
    holding.repository.store.keep(answers.seal(proof.document, holding.vault, tenant, wanted))
