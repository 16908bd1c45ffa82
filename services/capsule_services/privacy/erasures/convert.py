"""Erasures of the wire and of the domain."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from capsule_api.privacy.v1 import privacy_pb2 as pb
from capsule_core import cases
from capsule_core.cases import Case
from capsule_core.errors import InvalidField
from capsule_core.kept import Kept
from capsule_core.names import TenantId
from capsule_core.receipts import Receipt
from capsule_services.runtime.holders.convert import subject_name

__all__ = ["erasure_name", "erasure_to", "parsed_erasure", "reported"]

_ID: Final = r"([A-Za-z0-9][A-Za-z0-9_.-]{0,63})"
_NAME: Final = re.compile(rf"tenants/{_ID}/erasures/{_ID}(?:/receipt)?")


def erasure_name(tenant: TenantId, erasure: str) -> str:
    """Name an erasure."""
    return f"tenants/{tenant}/erasures/{erasure}"


def parsed_erasure(name: str) -> str:
    """Return the id in the name of an erasure, or of its receipt.

    Raises:
        InvalidField: it is no such name.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise InvalidField("name", "must be like tenants/{tenant}/erasures/{erasure}")
    return found[2]


def erasure_to(kept: Kept[Case]) -> pb.Erasure:
    """Write how far an erasure is."""
    case = kept.content
    message = pb.Erasure(
        name=erasure_name(kept.tenant, case.id),
        state=pb.Erasure.DONE if case.closed_at else pb.Erasure.RUNNING,
        outcomes=[pb.Erasure.HolderOutcome(holder=name, outcome=pb.Erasure.PENDING) for name in cases.pending(case)],
    )
    for confirmation in case.confirmations:
        outcome = pb.Erasure.Outcome.Value(confirmation.outcome.upper())
        told = message.outcomes.add(holder=confirmation.holder, outcome=outcome)
        told.confirm_time.FromDatetime(datetime.fromisoformat(confirmation.at))
    message.create_time.FromDatetime(datetime.fromisoformat(case.opened_at))
    if case.closed_at:
        message.done_time.FromDatetime(datetime.fromisoformat(case.closed_at))
    return message


def reported(receipt: Receipt) -> tuple[str, ...]:
    """Return what a report of *receipt* must name: the erasure's id, then its subjects."""
    statement = receipt.statement
    return (statement.erasure, *(subject_name(statement.tenant, subject) for subject in statement.subjects))
