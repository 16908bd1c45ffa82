"""Answers to requests that carry an id: repeating one has one effect and, for a while, one answer (AIP-155)."""

from __future__ import annotations

import hmac
from datetime import datetime

import attrs

from capsule_core.errors import CapsuleError, RequestReused, ResourceMissing, SubjectErased
from capsule_core.names import SubjectKey, TenantId
from capsule_core.records import Answer, Mark, Slot
from capsule_core.sealing import open_bytes, seal_bytes
from capsule_core.stores import Store
from capsule_core.vault import Vault

__all__ = ["Request", "recall", "seal"]


@attrs.frozen(kw_only=True)
class Request:
    """A request as it is recognised: *caller* sent it to *method* under *id*; *digest* is of all else it said.

    Its answer is kept *until* then.
    """

    caller: str
    method: str
    id: str
    digest: bytes
    until: datetime


def seal(
    body: bytes,
    vault: Vault,
    tenant: TenantId,
    request: Request,
    *,
    subject: SubjectKey | None = None,
    slot: Slot | None = None,
) -> Answer:
    """Seal an answer: under the key of the *subject* it speaks of, or the tenant's own if it speaks of nobody."""
    key = _key(vault, tenant, request)
    return Answer(
        tenant=tenant,
        key=key,
        digest=_digest(vault, tenant, request),
        until=request.until,
        subject=subject,
        slot=slot,
        body=seal_bytes(body, key=_sealing_key(vault, tenant, slot), bound=b"answer\0" + key, nonce=vault.nonce()),
    )


def recall(store: Store, vault: Vault, tenant: TenantId, request: Request) -> bytes | None:
    """Return what the same request was answered; None if it was not.

    Raises:
        RequestReused: the request id came with another request.
        SubjectErased: the answer spoke of a person who was erased since.
        ResourceMissing: it spoke of a record that was destroyed since.
    """
    key = _key(vault, tenant, request)
    answer = store.answered(tenant, key)
    if answer is None:
        return None
    if not hmac.compare_digest(answer.digest, _digest(vault, tenant, request)):
        raise RequestReused
    if answer.body is None:
        raise _emptied(store, answer)
    sealing_key = _sealing_key(vault, tenant, answer.slot)
    return open_bytes(answer.body, key=sealing_key, bound=b"answer\0" + key, what="answer")


def _emptied(store: Store, answer: Answer) -> CapsuleError:
    """Tell an answer about somebody who was erased from one about a record that was cleared."""
    subject = None if answer.subject is None else store.subjects(answer.tenant, [answer.subject])[0]
    if subject is not None and not subject.marks & (Mark.FENCED | Mark.ERASED):
        return ResourceMissing("record")
    return SubjectErased()


def _digest(vault: Vault, tenant: TenantId, request: Request) -> bytes:
    """Key the digest: it outlives the answer's body, and nobody shall guess from it what was said."""
    return hmac.digest(vault.tenant(tenant).answers, b"digest\0" + request.digest, "sha256")


def _key(vault: Vault, tenant: TenantId, request: Request) -> bytes:
    named = f"{request.caller}\0{request.method}\0{request.id}".encode()
    return hmac.digest(vault.tenant(tenant).answers, named, "sha256")


def _sealing_key(vault: Vault, tenant: TenantId, slot: Slot | None) -> bytes:
    if slot is None:
        return hmac.digest(vault.tenant(tenant).answers, b"seal", "sha256")
    return vault.keys(tenant, [slot])[0]
