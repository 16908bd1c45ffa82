"""An erasure as the privacy service follows it: over every holder, until each has confirmed and finds nothing any more.

"Nothing found" is not "done": a holder that never knew the person says so, and that is on the receipt.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Annotated, Final

import attrs

from capsule_core.errors import ReceiptInvalid
from capsule_core.names import SubjectKey, TenantId
from capsule_core.personal import Plain, kind
from capsule_core.receipts import Receipt
from capsule_core.statements import Destruction, Outcome, Statement, Verification

__all__ = [
    "ABOUT",
    "Case",
    "Confirmation",
    "believable",
    "closed",
    "confirm",
    "opened",
    "pending",
    "reported",
    "statement_of",
]

ABOUT: Final = "register"
"""Whose records cases are: nobody's. They hold surrogates only and go when the tenant's keys do."""


@attrs.frozen(kw_only=True)
class Confirmation:
    """What a holder confirmed, and when (RFC 3339); its receipt, if it destroyed anything."""

    holder: str
    outcome: str
    at: str
    receipt: str = ""


@kind("case", subject="about", server_ids=True, journaled=True)
@attrs.frozen(kw_only=True)
class Case:
    """One erasure over all *holders*; *id* is the erasure's."""

    id: str
    about: str = ABOUT
    subjects: Annotated[tuple[str, ...], Plain("surrogates of the people to be erased")]
    holders: Annotated[tuple[str, ...], Plain("whom it must reach")]
    confirmations: Annotated[tuple[Confirmation, ...], Plain("who has confirmed")] = ()
    opened_at: Annotated[str, Plain("when it was reported")]
    closed_at: Annotated[str, Plain("when the last one had confirmed and nothing was found")] = ""


def opened(report: Receipt, *, holders: Collection[str], now: datetime) -> Case:
    """Open the case of an erasure that one holder reports as done on its side.

    Raises:
        ReceiptInvalid: the report is none of a single holder that must be reached.
    """
    statement = report.statement
    if statement.scope != "this service" or statement.service not in holders:
        raise ReceiptInvalid("it is not the report of a holder that is known here")
    case = Case(
        id=statement.erasure,
        subjects=statement.subjects,
        holders=tuple(sorted(holders)),
        opened_at=now.isoformat(),
    )
    return confirm(case, statement.service, Outcome.ERASED, report, now=now)


def believable(case: Case, holder: str, outcome: Outcome, receipt: Receipt | None) -> bool:
    """Tell whether a holder's answer is one to this case: who says "erased" shows a receipt of its own about it."""
    if outcome is not Outcome.ERASED:
        return receipt is None
    if receipt is None:
        return False
    told = receipt.statement
    return (told.service, told.erasure) == (holder, case.id) and set(told.subjects) <= set(case.subjects)


def confirm(case: Case, holder: str, outcome: Outcome, receipt: Receipt | None, *, now: datetime) -> Case:
    """Note what a holder confirmed; what it confirmed before stays."""
    if holder not in pending(case):
        return case
    written = "" if receipt is None else receipt.document.decode()
    confirmed = Confirmation(holder=holder, outcome=outcome.value, at=now.isoformat(), receipt=written)
    return attrs.evolve(case, confirmations=(*case.confirmations, confirmed))


def pending(case: Case) -> tuple[str, ...]:
    """Name the holders that have not confirmed."""
    confirmed = {confirmation.holder for confirmation in case.confirmations}
    return tuple(holder for holder in case.holders if holder not in confirmed)


def reported(case: Case) -> Statement:
    """Return what the holder stated that began it."""
    return Receipt.decode(case.confirmations[0].receipt.encode()).statement


def closed(case: Case, *, now: datetime) -> Case:
    """Close a case of which nothing is pending, and of which nothing was found when it was looked for again."""
    if pending(case):
        raise ReceiptInvalid("a holder has not confirmed")
    return attrs.evolve(case, closed_at=now.isoformat())


def statement_of(case: Case, *, tenant: TenantId, service: str) -> Statement:
    """State a closed case: what every holder did, by its own receipt, or that it held nothing."""
    receipts = {c.holder: Receipt.decode(c.receipt.encode()) for c in case.confirmations if c.receipt}
    first = next(iter(receipts.values())).statement
    done = datetime.fromisoformat(case.closed_at)
    return Statement(
        erasure=case.id,
        service=service,
        tenant=tenant,
        subjects=tuple(SubjectKey(subject) for subject in case.subjects),
        ground=first.ground,
        policy=first.policy,
        scope="everywhere",
        requested_at=min(receipt.statement.requested_at for receipt in receipts.values()),
        fenced_at=max(receipt.statement.fenced_at for receipt in receipts.values()),
        destroyed_at=max(receipt.statement.destroyed_at for receipt in receipts.values()),
        read_back_at=done,
        destructions=tuple(_part(confirmation, receipts) for confirmation in case.confirmations),
    )


def _part(confirmation: Confirmation, receipts: Mapping[str, Receipt]) -> Destruction:
    if confirmation.holder in receipts:
        return receipts[confirmation.holder].statement.destructions[0]
    asked = datetime.fromisoformat(confirmation.at)
    return Destruction(
        holder=confirmation.holder,
        outcome=Outcome(confirmation.outcome),
        verification=Verification(
            method="asked for the subjects", result="never held", by=confirmation.holder, at=asked
        ),
    )
