"""Resource names of this service, taken apart and put together (AIP-122)."""

from __future__ import annotations

import re
from typing import Final

from capsule_core.errors import InvalidField
from capsule_core.names import TenantId

__all__ = ["check_tenant", "invitation_name", "parsed_user", "tenant_name", "user_name"]

_ID: Final = r"([A-Za-z0-9][A-Za-z0-9_.-]{0,63})"
_TENANT: Final = re.compile(rf"tenants/{_ID}")
_USER: Final = re.compile(rf"tenants/{_ID}/users/{_ID}")


def tenant_name(tenant: TenantId) -> str:
    """Name a tenant."""
    return f"tenants/{tenant}"


def user_name(tenant: TenantId, user: str) -> str:
    """Name a user of a tenant."""
    return f"tenants/{tenant}/users/{user}"


def invitation_name(tenant: TenantId, invitation: str) -> str:
    """Name an invitation to a tenant."""
    return f"tenants/{tenant}/invitations/{invitation}"


def check_tenant(name: str, *, field: str) -> None:
    """Let *name* pass if it names a tenant and nothing below it; which one, the call knows.

    Raises:
        InvalidField: it does not.
    """
    if not _TENANT.fullmatch(name):
        raise InvalidField(field, "must be like tenants/{tenant}")


def parsed_user(name: str, *, field: str = "name") -> str:
    """Return the id in the name of a user.

    Raises:
        InvalidField: it is no such name.
    """
    parts = _USER.fullmatch(name)
    if parts is None:
        raise InvalidField(field, "must be like tenants/{tenant}/users/{user}")
    return parts[2]
