"""Each role has the permissions of the one below; export comes with none, and nobody grants what they lack."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.errors import PermissionDenied
from capsule_core.roles import EXPORT, Authority, Role, allows, grantable, require

RISING = (Role.RESTRICTED, Role.STANDARD, Role.ADMINISTRATOR, Role.SUPER_ADMINISTRATOR)
KNOWN = (
    "contacts.read",
    "contacts.create",
    "contacts.edit",
    "contacts.delete",
    "contacts.restore",
    "contacts.import",
    "contacts.purge",
    "history.read",
    "history.write",
    "users.self",
    "users.read",
    "users.manage",
    "tenant.read",
    "tenant.manage",
    "erasures.read",
    EXPORT,
)


def held(role: Role) -> set[str]:
    return {permission for permission in KNOWN if allows(Authority(role), permission)}


def test_each_role_holds_all_of_the_one_below_and_more() -> None:
    for below, above in itertools.pairwise(RISING):
        assert held(below) < held(above)


def test_only_a_super_administrator_purges_and_a_restricted_user_writes_nothing() -> None:
    assert [role for role in RISING if allows(Authority(role), "contacts.purge")] == [Role.SUPER_ADMINISTRATOR]
    assert held(Role.RESTRICTED) == {"contacts.read", "history.read", "users.self", "tenant.read"}


@pytest.mark.parametrize("role", RISING)
def test_export_comes_with_no_role_and_only_by_grant(role: Role) -> None:
    with pytest.raises(PermissionDenied) as refused:
        require(Authority(role), EXPORT)
    assert refused.value.permission == EXPORT
    require(Authority(role, frozenset({EXPORT})), EXPORT)


@given(st.sampled_from(RISING), st.frozensets(st.sampled_from(KNOWN)), st.frozensets(st.sampled_from(KNOWN)))
def test_nobody_hands_on_what_they_do_not_hold(role: Role, granted: frozenset[str], wanted: frozenset[str]) -> None:
    giver = Authority(role, granted)
    missing = sorted(permission for permission in wanted if not allows(giver, permission))
    if missing:
        with pytest.raises(PermissionDenied) as refused:
            grantable(giver, wanted)
        assert refused.value.permission == missing[0]
    else:
        assert grantable(giver, wanted) == wanted


@given(st.sampled_from(RISING), st.text())
def test_what_is_not_held_is_required_in_vain(role: Role, permission: str) -> None:
    if not allows(Authority(role), permission):
        with pytest.raises(PermissionDenied):
            require(Authority(role), permission)
