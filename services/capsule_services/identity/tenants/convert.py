"""Tenants and what they accept, of the wire and of the domain, both ways and total."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_core.closing import Closing, Remaining, account_until, closed, is_closed, reopen_until
from capsule_core.errors import InvalidField
from capsule_core.kept import Kept
from capsule_core.names import TenantId
from capsule_core.tenancy import Acceptance, Document, DocumentKind, PaymentMethod, TenantAccount, User
from capsule_services.identity.fields import carried_in, refuse_cards
from capsule_services.identity.names import tenant_name, user_name
from capsule_services.runtime.etags import etag

__all__ = [
    "accepted_from",
    "account_from",
    "document_to",
    "payment_from",
    "payment_to",
    "retentions_to",
    "tenant_to",
    "user_from",
    "without_password",
]


def account_from(request: pb.SignUpRequest) -> TenantAccount:
    """Read the account that somebody wants, without its id and what was accepted.

    Raises:
        InvalidField: a field is malformed.
        CardNumberFound: a text holds a card number.
    """
    refuse_cards(request, "", "tenant_display_name")
    payment = payment_from(request.payment_method) if request.HasField("payment_method") else None
    with carried_in("", display_name="tenant_display_name"):
        return TenantAccount(id="", display_name=request.tenant_display_name, payment_method=payment)


def user_from(message: pb.SignUpRequest.SuperAdministrator, *, field: str = "super_administrator") -> User:
    """Read the first user, without an id; errors as :func:`account_from`."""
    refuse_cards(message, field, "display_name", "email")
    with carried_in(field):
        return User(id="", display_name=message.display_name, email=message.email)


def accepted_from(messages: Iterable[pb.Acceptance]) -> tuple[tuple[DocumentKind, str], ...]:
    """Read what somebody accepts: documents by kind and version."""
    return tuple(
        (_kind_from(message.kind, f"acceptances[{place}].kind"), message.version)
        for place, message in enumerate(messages)
    )


def payment_from(message: pb.PaymentMethod, *, field: str = "payment_method") -> PaymentMethod:
    """Read how a customer pays; errors as :func:`account_from`."""
    refuse_cards(message, field, "gateway", "token", "brand", "last_four")
    with carried_in(field):
        return PaymentMethod(
            gateway=message.gateway, token=message.token, brand=message.brand, last_four=message.last_four
        )


def payment_to(payment: PaymentMethod) -> pb.PaymentMethod:
    """Write how a customer pays, without the gateway's token."""
    return pb.PaymentMethod(gateway=payment.gateway, brand=payment.brand, last_four=payment.last_four)


def tenant_to(kept: Kept[TenantAccount], closing: Closing | None = None) -> pb.Tenant:
    """Write a tenant as it is answered, with what is on record of its *closing*."""
    account, is_given_up = kept.content, closing is not None and is_closed(closing)
    message = pb.Tenant(
        name=tenant_name(kept.tenant),
        display_name=account.display_name,
        acceptances=[_acceptance_to(each, kept.tenant) for each in account.acceptances],
        payment_method=None if account.payment_method is None else payment_to(account.payment_method),
        state=pb.Tenant.State.Value(account.state.name),
        etag=etag(kept.version, trashed=kept.trash is not None),
    )
    message.create_time.FromDatetime(kept.created)
    message.update_time.FromDatetime(kept.updated)
    if closing is not None and is_given_up:
        message.close_time.FromDatetime(closed(closing))
        message.reopen_expire_time.FromDatetime(reopen_until(closing))
        message.account_expire_time.FromDatetime(account_until(closing))
        message.retentions.extend(retentions_to(kept.tenant, closing.grounds))
    return message


def retentions_to(tenant: TenantId, remaining: Iterable[Remaining]) -> Iterator[pb.Retention]:
    """Write grounds."""
    for each in remaining:
        message = pb.Retention(ground=pb.Retention.Ground.Value(each.ground.name))
        message.expire_time.FromDatetime(datetime.fromisoformat(each.until))
        message.user = user_name(tenant, each.user) if each.user else ""
        yield message


def document_to(document: Document) -> pb.Document:
    """Write the current version of a document."""
    message = pb.Document(
        kind=pb.DocumentKind.Value(document.kind.name),
        version=document.version,
        display_name=document.display_name,
        uri=document.uri,
        sha256=bytes.fromhex(document.sha256),
    )
    message.effective_time.FromDatetime(document.effective)
    return message


def without_password(request: pb.SignUpRequest) -> pb.SignUpRequest:
    """Return what a repeated request is recognised by: even a digest of a password would be a quick way to guess it."""
    kept = pb.SignUpRequest()
    kept.CopyFrom(request)
    kept.super_administrator.ClearField("password")
    return kept


def _acceptance_to(acceptance: Acceptance, tenant: TenantId) -> pb.Acceptance:
    message = pb.Acceptance(
        kind=pb.DocumentKind.Value(acceptance.kind.name),
        version=acceptance.version,
        user=user_name(tenant, acceptance.user),
    )
    message.accept_time.FromDatetime(datetime.fromisoformat(acceptance.accepted_at))
    return message


def _kind_from(kind: pb.DocumentKind.ValueType, field: str) -> DocumentKind:
    if kind not in pb.DocumentKind.values() or kind == pb.DOCUMENT_KIND_UNSPECIFIED:
        raise InvalidField(field, "must be one of the documents of this contract")
    return DocumentKind[pb.DocumentKind.Name(kind)]
