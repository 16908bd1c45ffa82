"""Readmission: who was erased comes back by their own new consent, and by nothing else; on record, not in words."""

from __future__ import annotations

import hmac
from typing import Final

import attrs

from capsule_core import answers
from capsule_core.answers import Request
from capsule_core.blind import TenantKeys, commitment
from capsule_core.errors import InvalidField, ResourceMissing
from capsule_core.ledger import Leaf
from capsule_core.personal import Form
from capsule_core.records import Act
from capsule_core.stores import Store
from capsule_core.suppression import Identifiers
from capsule_core.witness import notes

__all__ = ["LONGEST_EVIDENCE", "attests", "readmit"]

LONGEST_EVIDENCE: Final = 1000
"""Characters of what says where a consent can be found, or its hash."""


def readmit(
    store: Store,
    identifiers: Identifiers,
    form: Form,
    value: str,
    *,
    evidence: str,
    act: Act,
    request: Request | None = None,
) -> None:
    """Let the identifier *value* in again; the leaf says who did so when, and commits to *evidence* of the consent.

    Neither the identifier nor the evidence is kept; :func:`attests` tells of what is shown whether it was the evidence.

    Raises:
        InvalidField: *value* is no identifier of that form, or *evidence* is empty or long.
        ResourceMissing: it is not suppressed.
    """
    keys = identifiers.vault.tenant(act.tenant)
    if request and answers.recall(store, identifiers.vault, act.tenant, request) is not None:
        return
    hashed = identifiers.hashed(act.tenant, form, value)
    if hashed is None:
        raise InvalidField(form.value, "is not one that could be suppressed")
    if not evidence.strip() or len(evidence) > LONGEST_EVIDENCE:
        raise InvalidField("evidence", f"must say in 1 to {LONGEST_EVIDENCE} characters which consent it is")
    answer = None if request is None else answers.seal(b"", identifiers.vault, act.tenant, request)
    act = attrs.evolve(act, detail={**act.detail, "evidence": _committed(keys, evidence)}, answer=answer)
    if not store.suppress([hashed], act=attrs.evolve(act, witness=notes(identifiers.vault, act)), lift=True):
        raise ResourceMissing("suppression")


def attests(keys: TenantKeys, leaf: Leaf, evidence: str) -> bool:
    """Tell whether *leaf* is of a readmission on this *evidence*."""
    return hmac.compare_digest(leaf.detail.get("evidence", ""), _committed(keys, evidence))


def _committed(keys: TenantKeys, evidence: str) -> str:
    return commitment(keys.leaves, f"evidence\0{evidence}")
