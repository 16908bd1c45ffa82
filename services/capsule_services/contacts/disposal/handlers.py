"""Destroying at once what is in the trash: it takes the permission and an explicit confirmation."""

from __future__ import annotations

import hmac

from capsule_core import answers, story
from capsule_core.answers import Request
from capsule_core.errors import (
    ConfirmationRequired,
    NotTrashed,
    RequestReused,
    SubjectHeld,
)
from capsule_core.names import SubjectKey, encoded
from capsule_core.receipts import Receipt
from capsule_core.records import Expected
from capsule_core.story import Erasure
from capsule_services.contacts.presence import kept_contact, require_etag
from capsule_services.runtime.calls import Call
from capsule_services.runtime.etags import Etag
from capsule_services.runtime.holding import Holding

__all__ = ["GROUND", "check_purge", "purge"]

GROUND = "purge"


def purge(
    holding: Holding,
    call: Call,
    contact: str,
    *,
    confirm: bool,
    suppress: bool = False,
    etag: Etag | None,
    request: Request | None,
) -> Receipt:
    """Destroy a trashed contact and all there is of them; the same request id gives the same receipt again.

    *suppress* says that the person asked for it: then they do not come back, and a hold on single records keeps these
    and nothing else. A tenant that destroys what it has, for reasons of its own, may meet the person again.

    Raises:
        ConfirmationRequired: *confirm* was not set.
        NotTrashed: it must be thrown away first.
        SubjectHeld: a hold, an obligation or a restriction keeps it, or, if nobody asked for it, a part of it.
    """
    repository = holding.repository
    if request and (before := answers.recall(repository.store, repository.vault, call.within(), request)):
        return Receipt.decode(before)
    erasure = _erasure_id(holding, call, request)
    done = holding.eraser.receipt(call.within(), erasure, now=holding.now())
    if done is not None:
        if done.statement.subjects != (contact,):
            raise RequestReused
        return done
    begun = _begun(holding, call, contact, erasure)
    expects = () if begun else (check_purge(holding, call, contact, confirm=confirm, suppress=suppress, etag=etag),)
    wanted = Erasure(
        tenant=call.within(),
        id=erasure,
        subjects=(SubjectKey(contact),),
        ground=story.REQUEST if suppress else GROUND,
        by=call.actor,
        requested=holding.now(),
        suppresses=suppress,
        parts=suppress,
    )
    receipt = holding.eraser.erase(wanted, now=holding.now(), expects=expects)
    call.last_look.forget()  # a receipt speaks of nobody
    if request:
        repository.store.keep(answers.seal(receipt.document, repository.vault, call.within(), request))
    return receipt


def check_purge(
    holding: Holding, call: Call, contact: str, *, confirm: bool, suppress: bool = False, etag: Etag | None
) -> Expected:
    """Fail exactly as :func:`purge` would (AIP-163), and say what it must still find."""
    kept = kept_contact(holding, call, contact)
    require_etag(kept, etag)
    if kept.trash is None:
        raise NotTrashed("contact")
    if not confirm:
        raise ConfirmationRequired
    plan = holding.eraser.plan(
        Erasure(
            tenant=call.within(),
            id="plan",
            subjects=(kept.subject,),
            ground=GROUND,
            by=call.actor,
            requested=holding.now(),
            parts=suppress,
        )
    )
    if plan.guarded:
        raise SubjectHeld
    return Expected(id=kept.id, version=kept.version, batch=kept.trash.batch)


def _begun(holding: Holding, call: Call, contact: str, erasure: str) -> bool:
    """Tell whether an earlier attempt has fenced the contact: from then on there is no way but on."""
    reasons = holding.repository.store.reasons(call.within(), [SubjectKey(contact)])
    return any(reason.id == erasure for reason in reasons)


def _erasure_id(holding: Holding, call: Call, request: Request | None) -> str:
    """Name the erasure by the request, so that a crash between the erasure and its answer loses neither."""
    if request is None:
        return holding.new_id("e")
    named = f"{request.caller}\0{request.method}\0{request.id}".encode()
    return "e" + encoded(hmac.digest(holding.vault.tenant(call.within()).answers, b"erasure\0" + named, "sha256")[:16])
