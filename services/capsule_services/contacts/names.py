"""Resource names of this service, taken apart and put together (AIP-122)."""

from __future__ import annotations

import re
from typing import Final

import attrs

from capsule_core.errors import InvalidField
from capsule_core.names import TenantId

__all__ = [
    "Target",
    "contact_name",
    "entry_name",
    "hold_name",
    "list_name",
    "parsed_contact",
    "parsed_entry",
    "parsed_hold",
    "parsed_list",
    "parsed_photo",
    "parsed_policy",
    "parsed_target",
    "parsed_user",
    "policy_name",
    "target_name",
    "user_name",
]

_ID: Final = r"([A-Za-z0-9][A-Za-z0-9_.-]{0,63})"
_CONTACT: Final = re.compile(rf"tenants/{_ID}/contacts/{_ID}")
_PHOTO: Final = re.compile(rf"tenants/{_ID}/contacts/{_ID}/photo")
_ENTRY: Final = re.compile(rf"tenants/{_ID}/contacts/{_ID}/entries/{_ID}")
_HOLD: Final = re.compile(rf"tenants/{_ID}/holds/{_ID}")
_LIST: Final = re.compile(rf"tenants/{_ID}/contactLists/{_ID}")
_TARGET: Final = re.compile(rf"tenants/{_ID}(?:/contacts/{_ID}(?:/(photo)|/entries/{_ID})?)?")
_POLICY: Final = re.compile(rf"tenants/{_ID}/retentionPolicy")
_USER: Final = re.compile(rf"tenants/{_ID}/users/{_ID}")


@attrs.frozen
class Target:
    """What a hold covers: all of a tenant, or a *contact*, or of theirs an *entry* or the *photo*."""

    contact: str = ""
    entry: str = ""
    photo: bool = False


def contact_name(tenant: TenantId, contact: str) -> str:
    """Name a contact."""
    return f"tenants/{tenant}/contacts/{contact}"


def entry_name(tenant: TenantId, contact: str, entry: str) -> str:
    """Name an entry of a contact's history."""
    return f"tenants/{tenant}/contacts/{contact}/entries/{entry}"


def hold_name(tenant: TenantId, hold: str) -> str:
    """Name a hold."""
    return f"tenants/{tenant}/holds/{hold}"


def list_name(tenant: TenantId, contact_list: str) -> str:
    """Name a saved list."""
    return f"tenants/{tenant}/contactLists/{contact_list}"


def policy_name(tenant: TenantId) -> str:
    """Name the retention policy of a tenant."""
    return f"tenants/{tenant}/retentionPolicy"


def target_name(tenant: TenantId, target: Target) -> str:
    """Name what a hold covers."""
    if not target.contact:
        return f"tenants/{tenant}"
    if target.entry:
        return entry_name(tenant, target.contact, target.entry)
    return contact_name(tenant, target.contact) + ("/photo" if target.photo else "")


def user_name(tenant: TenantId, user: str) -> str:
    """Name a user; empty for nobody."""
    return f"tenants/{tenant}/users/{user}" if user else ""


def parsed_contact(name: str, *, field: str = "name") -> str:
    """Return the id in the name of a contact.

    Raises:
        InvalidField: it is no such name.
    """
    found = _CONTACT.fullmatch(name)
    if found is None:
        raise InvalidField(field, "must be like tenants/{tenant}/contacts/{contact}")
    return found[2]


def parsed_photo(name: str, *, field: str = "name") -> str:
    """Return the id of the contact in the name of its photo.

    Raises:
        InvalidField: it is no such name.
    """
    found = _PHOTO.fullmatch(name)
    if found is None:
        raise InvalidField(field, "must be like tenants/{tenant}/contacts/{contact}/photo")
    return found[2]


def parsed_entry(name: str, *, field: str = "name") -> tuple[str, str]:
    """Return the ids of contact and entry in the name of an entry.

    Raises:
        InvalidField: it is no such name.
    """
    found = _ENTRY.fullmatch(name)
    if found is None:
        raise InvalidField(field, "must be like tenants/{tenant}/contacts/{contact}/entries/{entry}")
    return found[2], found[3]


def parsed_policy(name: str, *, field: str = "name") -> None:
    """Let the name of a retention policy pass.

    Raises:
        InvalidField: it is not the name of one.
    """
    if not _POLICY.fullmatch(name):
        raise InvalidField(field, "must be tenants/{tenant}/retentionPolicy")


def parsed_hold(name: str, *, field: str = "name") -> str:
    """Return the id in the name of a hold.

    Raises:
        InvalidField: it is no such name.
    """
    found = _HOLD.fullmatch(name)
    if found is None:
        raise InvalidField(field, "must be like tenants/{tenant}/holds/{hold}")
    return found[2]


def parsed_list(name: str, *, field: str = "name") -> str:
    """Return the id in the name of a saved list.

    Raises:
        InvalidField: it is no such name.
    """
    found = _LIST.fullmatch(name)
    if found is None:
        raise InvalidField(field, "must be like tenants/{tenant}/contactLists/{contact_list}")
    return found[2]


def parsed_target(name: str, *, field: str = "target") -> Target:
    """Return what is named that a hold can cover.

    Raises:
        InvalidField: it is none.
    """
    found = _TARGET.fullmatch(name)
    if found is None:
        raise InvalidField(field, "must name a tenant, a contact, an entry or a photo")
    return Target(found[2] or "", found[4] or "", photo=bool(found[3]))


def parsed_user(name: str, *, field: str) -> str:
    """Return the id in the name of a user; empty for no name.

    Raises:
        InvalidField: it is no such name.
    """
    if not name:
        return ""
    found = _USER.fullmatch(name)
    if found is None:
        raise InvalidField(field, "must be like tenants/{tenant}/users/{user}")
    return found[2]
