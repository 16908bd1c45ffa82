"""What callers send back or spell themselves: names of resources, etags, page tokens, credentials."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from typing import Any, Final

from joserfc.jwk import KeySet

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core import names as core
from capsule_core.errors import InvalidField, PageTokenInvalid, PermissionDenied, Unauthenticated, Unavailable
from capsule_core.names import TenantId
from capsule_core.records import Cursor
from capsule_core.roles import Authority, Role
from capsule_core.uses import Use
from capsule_services.contacts import names as contacts
from capsule_services.identity import names as identity
from capsule_services.identity.signing import key_from_seed
from capsule_services.privacy.erasures import convert as privacy
from capsule_services.runtime.callers import UserCaller
from capsule_services.runtime.calls import Call
from capsule_services.runtime.etags import etag, parsed_etag
from capsule_services.runtime.holders import convert as holders
from capsule_services.runtime.paging import Paging
from capsule_services.runtime.policy import admit, rules
from capsule_services.runtime.tokens import KeyRing, published, sign_token, verify_token
from tests.fuzzing.target import Drawn, Target

__all__ = ["TARGETS"]

NOW: Final = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
ANNA: Final = UserCaller(
    tenant=TenantId("acme"),
    user="u1",
    authority=Authority(Role.ADMINISTRATOR, frozenset({"contacts.export"})),
    session="s1",
)

READ: Final[Mapping[str, Callable[[str], str]]] = {
    "tenant": core.tenant_id,
    "record": core.record_id,
    "subject": core.subject_key,
    "contact": lambda text: _renamed(text, contacts.contact_name, contacts.parsed_contact(text)),
    "photo": lambda text: _renamed(text, contacts.contact_name, contacts.parsed_photo(text)) + "/photo",
    "entry": lambda text: _renamed(text, contacts.entry_name, *contacts.parsed_entry(text)),
    "hold": lambda text: _renamed(text, contacts.hold_name, contacts.parsed_hold(text)),
    "list": lambda text: _renamed(text, contacts.list_name, contacts.parsed_list(text)),
    "policy": lambda text: _through(text, contacts.parsed_policy),
    "target": lambda text: _renamed(text, contacts.target_name, contacts.parsed_target(text)),
    "owner": lambda text: _renamed(text, contacts.user_name, contacts.parsed_user(text, field="owner")) if text else "",
    "user": lambda text: _renamed(text, identity.user_name, identity.parsed_user(text)),
    "tenant name": lambda text: _through(text, partial(identity.check_tenant, field="name")),
    "subject name": lambda text: _subject(text, holders.parsed_subject(text, "subject")),
    "erasure": lambda text: "tenants/{}/erasures/{}".format(*holders.parsed_erasure(text)),
    "case": lambda text: _renamed(text, privacy.erasure_name, privacy.parsed_erasure(text)) + _end(text, "/receipt"),
}
"""Reads a name and writes it again, of each kind."""


def _renamed(text: str, write: Callable[..., str], *ids: str | contacts.Target) -> str:
    return write(TenantId(text.split("/")[1]), *ids)


def _through(text: str, check: Callable[[str], None]) -> str:
    check(text)
    return text


def _subject(text: str, subject: str) -> str:
    return "/".join([*text.split("/")[:3], subject])


def _end(text: str, end: str) -> str:
    return end if text.endswith(end) else ""


def _name(data: bytes) -> None:
    text, taken = Drawn(data).text(), 0
    for read in READ.values():
        try:
            assert read(text) == text
        except InvalidField as error:
            refused = error
        else:
            taken += 1
    if not taken:
        raise refused


_RULE: Final = rules([pb.DESCRIPTOR.services_by_name["ContactsService"]])[
    "/capsule_api.contacts.v1.ContactsService/GetEntry"
]


def _admitted(data: bytes) -> None:
    """Nobody gets at what lies in a tenant that is not theirs."""
    name = data.decode("utf-8", "replace")
    assert admit(_RULE, ANNA, pb.GetEntryRequest(name=name)) == ANNA.tenant
    assert name.split("/")[:2] == ["tenants", ANNA.tenant]


def _etag(data: bytes) -> None:
    text = Drawn(data).text()
    read = parsed_etag(text)
    assert read is None or parsed_etag(etag(read.version, trashed=read.trashed)) == read
    assert (read is None) == (text == "")


PAGING: Final = Paging(bytes(range(32)))
CALL: Final = Call(
    method="/capsule_api.contacts.v1.ContactsService/ListContacts",
    permission="contacts.read",
    use=Use.SEARCH,
    caller=ANNA,
    tenant=ANNA.tenant,
)
CURSORS: Final = (Cursor(NOW, core.record_id("c1")), Cursor(datetime(1, 1, 1, tzinfo=UTC), core.record_id("n" * 64)))


def _asked(token: str) -> pb.ListContactsRequest:
    return pb.ListContactsRequest(parent="tenants/acme", page_token=token)


@cache
def _page_tokens() -> Mapping[str, Cursor]:
    return {PAGING.token(CALL, _asked(""), cursor): cursor for cursor in CURSORS}


def _page_token(data: bytes) -> None:
    """Only what was given out is taken back, and it says what it said."""
    token = data.decode("utf-8", "replace")
    window = PAGING.window(CALL, _asked(token))
    assert window.after == (_page_tokens()[token] if token else None)


@cache
def _key() -> Any:
    return key_from_seed(bytes(range(32)))


@cache
def _keys() -> KeySet:
    return KeySet([_key()])


@cache
def _tokens() -> Mapping[str, UserCaller]:
    other = UserCaller(tenant=TenantId("zeta"), user="u2", authority=Authority(Role.RESTRICTED), session="s2.7")
    return {sign_token(who, _key(), now=NOW, lifetime=timedelta(minutes=9)): who for who in (ANNA, other)}


def _token(data: bytes) -> None:
    """Only what was signed is believed; the ring of keys decides as the bare check does."""
    token = Drawn(data).text()
    believed = _told(lambda: verify_token(token, _keys(), now=NOW).caller)
    ring = KeyRing(lambda: published(_key()), lambda: NOW)
    assert _told(lambda: ring.verify(token)) == believed
    if believed is None:
        raise Unauthenticated
    assert believed in _tokens().values()
    assert any(token.rpartition(".")[0] == signed.rpartition(".")[0] for signed in _tokens())


def _told(read: Callable[[], UserCaller]) -> UserCaller | None:
    try:
        return read()
    except Unauthenticated:
        return None


def _key_set(data: bytes) -> None:
    """Whatever the identity service publishes, nobody is believed who was not signed for."""
    token = next(iter(_tokens()))
    assert KeyRing(lambda: data, lambda: NOW).verify(token) == ANNA


def _forged() -> Iterator[bytes]:
    for began in (NOW - timedelta(days=1), NOW + timedelta(days=1)):
        yield sign_token(ANNA, _key(), now=began, lifetime=timedelta(minutes=9)).encode()
    for token in _tokens():
        yield token.encode()
        header, claims, signature = token.split(".")
        none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
        yield f"{none}.{claims}.".encode()
        yield f"{header}.{claims}.{signature[:-2]}".encode()


TARGETS: Final = (
    Target(
        name="name",
        take=_name,
        parsers=(
            core.tenant_id,
            core.record_id,
            core.subject_key,
            contacts.parsed_contact,
            contacts.parsed_photo,
            contacts.parsed_entry,
            contacts.parsed_hold,
            contacts.parsed_list,
            contacts.parsed_policy,
            contacts.parsed_target,
            contacts.parsed_user,
            identity.parsed_user,
            identity.check_tenant,
            holders.parsed_subject,
            holders.parsed_erasure,
            privacy.parsed_erasure,
        ),
        samples=lambda: [
            b"acme",
            b"tenants/acme/contacts/c1",
            b"tenants/acme/contacts/c1/photo",
            b"tenants/a/contacts/c/entries/n1",
            b"tenants/acme/holds/h1",
            b"tenants/acme/retentionPolicy",
            b"tenants/acme/users/u1",
            b"tenants/acme/subjects/s1",
            b"tenants/acme/erasures/e1/receipt",
            b"tenants/acme",
            b"",
            b"tenants/../x",
            b"tenants/acme/contacts/c1\n",
        ],
        raises=(InvalidField,),
    ),
    Target(
        name="name-of-another",
        take=_admitted,
        parsers=(admit,),
        samples=lambda: [b"tenants/acme/contacts/c/entries/n1", b"tenants/acmf/contacts/c", b"tenants/acme", b"x"],
        raises=(InvalidField, PermissionDenied),
    ),
    Target(
        name="etag",
        take=_etag,
        parsers=(parsed_etag,),
        samples=lambda: [b'"7"', b'"7-trash"', b'"007"', b'""', b'W/"7"', b"", '"٧"'.encode()],
        raises=(InvalidField,),
    ),
    Target(
        name="page-token",
        take=_page_token,
        parsers=(Paging.window,),
        samples=lambda: [*(token.encode() for token in _page_tokens()), b"", b"AAAA", b"="],
        raises=(PageTokenInvalid,),
    ),
    Target(
        name="token",
        take=_token,
        parsers=(verify_token, KeyRing.verify),
        samples=_forged,
        raises=(Unauthenticated,),
        longest=4096,
        runs=500,
    ),
    Target(
        name="key-set",
        take=_key_set,
        parsers=(KeyRing.verify,),
        samples=lambda: [published(_key()), b'{"keys":[]}', b'{"keys":[{"kty":"oct","k":"AAAA"}]}', b"[]"],
        raises=(Unauthenticated, Unavailable),
        runs=500,
    ),
)
