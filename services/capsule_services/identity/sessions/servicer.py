"""The sessions' methods on the wire."""

from __future__ import annotations

import attrs
import grpc

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_core.errors import InvalidField
from capsule_core.identifiers import email_problem
from capsule_services.identity.issuer import Issuer
from capsule_services.identity.names import check_tenant
from capsule_services.identity.passwords import Passwords
from capsule_services.identity.sessions import handlers
from capsule_services.identity.users.convert import user_to
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.holding import Holding

__all__ = ["SessionsServicer"]


@attrs.define(slots=False, kw_only=True)
class SessionsServicer:
    """Answers what concerns signing in and out."""

    holding: Holding
    passwords: Passwords
    issuer: Issuer

    def SignIn(self, request: pb.SignInRequest, _: grpc.ServicerContext) -> pb.SignInResponse:
        check_tenant(request.tenant, field="tenant")
        if problem := email_problem(request.email):
            raise InvalidField("email", problem)
        signed_in = handlers.sign_in(
            self.holding,
            current_call(),
            request.email,
            request.password,
            passwords=self.passwords,
            issuer=self.issuer,
        )
        response = pb.SignInResponse(token=signed_in.token, user=user_to(signed_in.user))
        response.expire_time.FromDatetime(signed_in.expires)
        return response

    def SignOut(self, request: pb.SignOutRequest, _: grpc.ServicerContext) -> pb.SignOutResponse:
        handlers.sign_out(self.holding, current_call(), issuer=self.issuer)
        return pb.SignOutResponse()

    def GetSigningKeys(self, request: pb.GetSigningKeysRequest, _: grpc.ServicerContext) -> pb.GetSigningKeysResponse:
        return pb.GetSigningKeysResponse(jwks=self.issuer.jwks())
