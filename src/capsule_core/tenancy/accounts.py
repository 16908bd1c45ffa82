"""What is kept on a customer's account and the people who sign in to it.

A user record holds a name, an address and what sign-in needs; there is no place for anything else.
"""

from __future__ import annotations

import enum
import re
from typing import Annotated, Final, TypeAlias

import attrs

from capsule_core.errors import InvalidField
from capsule_core.identifiers import email_problem
from capsule_core.personal import Category, Exact, Form, Personal, Plain, kind
from capsule_core.roles import Role
from capsule_core.tenancy.documents import Acceptance

__all__ = [
    "PURPOSE",
    "Credential",
    "Invitation",
    "PaymentMethod",
    "Roster",
    "Session",
    "TenantAccount",
    "TenantState",
    "User",
    "UserState",
]

PURPOSE: Final = "running the account"
"""What users and tenants are kept for."""

_LINE: Final = 200
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LAST_FOUR = re.compile(r"(?:[0-9]{4})?")
_LONGEST_BRAND = 40


class TenantState(enum.Enum):
    """Where a tenant is in its life."""

    ACTIVE = "active"
    CLOSED = "closed"


class UserState(enum.Enum):
    """Where a user is in their life."""

    ACTIVE = "active"
    REMOVED = "removed"


def _text(_: object, field: attrs.Attribute[str], value: str) -> None:
    if not value.strip():
        raise InvalidField(field.name, "must not be empty")
    if len(value) > _LINE:
        raise InvalidField(field.name, f"must have at most {_LINE} characters")
    if _CONTROL.search(value):
        raise InvalidField(field.name, "must not contain control characters")


def _email(_: object, field: attrs.Attribute[str], value: str) -> None:
    if problem := email_problem(value):
        raise InvalidField(field.name, problem)


def _no_digits(_: object, field: attrs.Attribute[str], value: str) -> None:
    if len(value) > _LONGEST_BRAND or any(map(str.isdigit, value)):  # raised and circled ones are digits too
        raise InvalidField(field.name, "must be at most 40 characters and no digits")


def _four_digits(_: object, field: attrs.Attribute[str], value: str) -> None:
    if not _LAST_FOUR.fullmatch(value):
        raise InvalidField(field.name, "must be exactly four digits")


@attrs.frozen(kw_only=True)
class PaymentMethod:
    """How a customer pays, as the payment gateway tells it; the number of the card stays there.

    Raises:
        InvalidField: more than the last four digits is given, or a part is missing.
    """

    gateway: str = attrs.field(validator=_text)
    token: str = attrs.field(validator=_text, repr=False)
    brand: str = attrs.field(default="", validator=_no_digits)
    last_four: str = attrs.field(default="", validator=_four_digits)


_Name: TypeAlias = Annotated[str, Personal(Category.IDENTITY, purpose=PURPOSE)]
_Address: TypeAlias = Annotated[str, Personal(Category.CONTACT, purpose=PURPOSE, search=Exact(Form.EMAIL))]
_Claimed: TypeAlias = Annotated[str, Personal(Category.CONTACT, purpose=PURPOSE, search=Exact(Form.EMAIL, unique=True))]
_Payment: TypeAlias = Annotated[PaymentMethod | None, Personal(Category.FINANCIAL, purpose="being paid")]
_Hash: TypeAlias = Annotated[str, Personal(Category.CREDENTIAL, purpose="signing in", provided=False)]
_Role: TypeAlias = Annotated[Role, Plain("what the user may do")]
_Granted: TypeAlias = Annotated[tuple[str, ...], Plain("permissions beyond those of the role")]


@kind("tenant", subject="id", server_ids=True, journaled=True)
@attrs.frozen(kw_only=True)
class TenantAccount:
    """One customer's account; the tenant itself is the subject.

    Raises:
        InvalidField: a field does not hold what it may.
    """

    id: str
    display_name: _Name = attrs.field(validator=_text)
    acceptances: Annotated[tuple[Acceptance, ...], Plain("what was accepted, by whom and when")] = ()
    payment_method: _Payment = None
    state: Annotated[TenantState, Plain("where the tenant is in its life")] = TenantState.ACTIVE


@kind("roster", subject="tenant", server_ids=True, journaled=True)
@attrs.frozen(kw_only=True)
class Roster:
    """Who the super administrators of a tenant are; never nobody."""

    id: str
    tenant: str
    super_administrators: Annotated[tuple[str, ...], Plain("the users who control users")]


@kind("user", subject="id", server_ids=True, journaled=True)
@attrs.frozen(kw_only=True)
class User:
    """A person who signs in to a tenant; *id* is empty until the server has made one.

    Raises:
        InvalidField: a field does not hold what it may.
    """

    id: str
    display_name: _Name = attrs.field(validator=_text)
    email: _Claimed = attrs.field(validator=_email)
    role: _Role = Role.RESTRICTED
    granted: _Granted = ()
    marketing_refused: Annotated[bool, Plain("service notices only")] = False
    state: Annotated[UserState, Plain("whether they can sign in")] = UserState.ACTIVE


@kind("credential", subject="user", server_ids=True, journaled=True)
@attrs.frozen(kw_only=True)
class Credential:
    """What a user proves themselves with, and how often in a row, last when, that failed (RFC 3339)."""

    id: str
    user: str
    password_hash: _Hash
    failures: Annotated[int, Plain("wrong passwords in a row")] = 0
    failed_at: Annotated[str, Plain("when the last of them came")] = ""


@kind("session", subject="user", server_ids=True)
@attrs.frozen(kw_only=True)
class Session:
    """A user who is signed in until *expires_at* (RFC 3339); an ended one is taken up again by their next sign-in."""

    id: str
    user: str
    expires_at: Annotated[str, Plain("when the session ends")]


@kind("invitation", subject="user", server_ids=True, journaled=True)
@attrs.frozen(kw_only=True)
class Invitation:
    """Lets one person become the *user* it names, once; *secret* is a keyed hash. A used one holds no name any more.

    Raises:
        InvalidField: a field does not hold what it may.
    """

    id: str
    user: str
    display_name: _Name = ""
    email: _Address = ""
    role: _Role = Role.RESTRICTED
    granted: _Granted = ()
    invited_by: Annotated[str, Plain("the user who invited")] = ""
    secret: Annotated[str, Plain("keyed hash of what accepts it")] = ""
    expires_at: Annotated[str, Plain("until when it can be accepted")] = ""
    accepted_at: Annotated[str, Plain("when it was used up")] = ""

    def __attrs_post_init__(self) -> None:
        if not self.accepted_at:
            User(id=self.user, display_name=self.display_name, email=self.email)
