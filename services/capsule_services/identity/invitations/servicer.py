"""The invitations' methods on the wire."""

from __future__ import annotations

import attrs
import grpc

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_services.identity.invitations import handlers
from capsule_services.identity.invitations.convert import invitation_from, invitation_to, without_password
from capsule_services.identity.names import check_tenant
from capsule_services.identity.passwords import Passwords
from capsule_services.identity.users.convert import user_to
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.holding import Holding

__all__ = ["InvitationsServicer"]


@attrs.define(slots=False, kw_only=True)
class InvitationsServicer:
    """Answers what concerns invitations."""

    holding: Holding
    passwords: Passwords

    def InviteUser(self, request: pb.InviteUserRequest, _: grpc.ServicerContext) -> pb.InviteUserResponse:
        call, known = current_call(), self.holding.recognised(current_call(), request)
        check_tenant(request.parent, field="parent")
        invited = handlers.invite_user(self.holding, call, invitation_from(request.invitation), known)
        return pb.InviteUserResponse(invitation=invitation_to(invited.invitation), token=invited.token)

    def AcceptInvitation(self, request: pb.AcceptInvitationRequest, _: grpc.ServicerContext) -> pb.User:
        call, known = current_call(), self.holding.recognised(current_call(), without_password(request))
        user = handlers.accept_invitation(
            self.holding, call, request.token, request.password, known, passwords=self.passwords
        )
        return user_to(user)
