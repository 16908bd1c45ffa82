"""No card number gets in, through whichever text of whichever request; the texts are found by reflection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_core.errors import CapsuleError, CardNumberFound
from capsule_services.runtime.callers import Anonymous, Caller
from tests.services.premises import PASSWORD, Premises, Tenant, opened, sign_up_request

CARD = "4111 1111 1111 1111"
# What a request carries that is kept as it was written: here the answer names the card number.
KEPT = {
    "tenant_display_name",
    "super_administrator.display_name",
    "super_administrator.password",
    "payment_method.gateway",
    "payment_method.token",
    "payment_method.brand",
    "payment_method.last_four",
    "invitation.display_name",
    "invitation.email",
    "super_administrator.email",
    "user.email",
    "user.display_name",
    "password",
}


def texts(message: Descriptor, above: str = "") -> Iterator[str]:
    """Find the path of every text that a message can carry."""
    for field in message.fields:
        if field.type == FieldDescriptor.TYPE_STRING:
            yield above + field.name
        elif field.message_type is not None and field.message_type.full_name.startswith("capsule_api."):
            yield from texts(field.message_type, f"{above}{field.name}.")


def put(message: Any, path: str, text: str) -> None:
    name, _, rest = path.partition(".")
    field = message.DESCRIPTOR.fields_by_name[name]
    if rest:
        held = getattr(message, name)
        put((held[0] if held else held.add()) if field.is_repeated else held, rest, text)
    elif field.is_repeated:
        getattr(message, name).append(text)
    else:
        setattr(message, name, text)


def requests(premises: Premises, tenant: Tenant) -> dict[str, tuple[Caller, Message]]:
    """A good request of every method that keeps something."""
    user = f"{tenant.name}/users/{tenant.owner.user}"
    invitation = pb.Invitation(display_name="Ben", email="ben@example.org", role=pb.STANDARD)
    token = premises.invite(tenant, "cleo@example.org")
    return {
        "SignUp": (Anonymous(), sign_up_request("new@example.org")),
        "InviteUser": (tenant.owner, pb.InviteUserRequest(parent=tenant.name, invitation=invitation)),
        "AcceptInvitation": (Anonymous(), pb.AcceptInvitationRequest(token=token, password=PASSWORD)),
        "UpdateUser": (tenant.owner, pb.UpdateUserRequest(user=pb.User(name=user, display_name="Ann"))),
        "ChangeRole": (tenant.owner, pb.ChangeRoleRequest(name=user, role=pb.SUPER_ADMINISTRATOR)),
        "RemoveUser": (tenant.owner, pb.RemoveUserRequest(name=user)),
    }


METHODS = ("SignUp", "InviteUser", "AcceptInvitation", "UpdateUser", "ChangeRole", "RemoveUser")
PATHS = [(method, path) for method in METHODS for path in texts(getattr(pb, f"{method}Request").DESCRIPTOR)]


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_a_card_number_is_kept_nowhere(method: str, path: str) -> None:
    with opened() as premises:
        tenant = premises.sign_up()
        caller, request = requests(premises, tenant)[method]
        put(request, path, CARD)
        refused = None
        try:
            premises.ask(caller, method, request)
        except CapsuleError as error:
            refused = error
        assert not any(CARD in content for content in premises.contents())
        if path in KEPT:
            assert repr(refused) == repr(CardNumberFound(path))
        assert CARD not in str(refused)


def test_every_text_that_is_kept_is_among_them() -> None:
    assert {path for _, path in PATHS} >= KEPT


@pytest.mark.parametrize("method", [name for name in METHODS if name != "RemoveUser"])
def test_without_a_card_number_the_same_requests_are_answered(method: str) -> None:
    with opened() as premises:
        caller, request = requests(premises, premises.sign_up())[method]
        assert premises.ask(caller, method, request)
