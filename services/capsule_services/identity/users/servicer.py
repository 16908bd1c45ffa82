"""The users' methods on the wire."""

from __future__ import annotations

import attrs
import grpc

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_core.kept import Kept
from capsule_core.tenancy import User
from capsule_services.identity.names import check_tenant, parsed_user
from capsule_services.identity.users import handlers
from capsule_services.identity.users.convert import granted_from, removed_to, role_from, user_from, user_to
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.etags import parsed_etag
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.masks import updated
from capsule_services.runtime.paging import Paging

__all__ = ["UsersServicer"]


@attrs.define(slots=False, kw_only=True)
class UsersServicer:
    """Answers what concerns the users of a tenant."""

    holding: Holding
    paging: Paging

    def GetUser(self, request: pb.GetUserRequest, _: grpc.ServicerContext) -> pb.User:
        return user_to(handlers.get(self.holding, current_call(), parsed_user(request.name)))

    def ListUsers(self, request: pb.ListUsersRequest, _: grpc.ServicerContext) -> pb.ListUsersResponse:
        call, window = current_call(), self.paging.window(current_call(), request)
        check_tenant(request.parent, field="parent")
        listing = handlers.list_users(self.holding, call, window)
        token = self.paging.token(call, request, listing.after)
        return pb.ListUsersResponse(users=map(user_to, listing.records), next_page_token=token)

    def UpdateUser(self, request: pb.UpdateUserRequest, _: grpc.ServicerContext) -> pb.User:
        call, user = current_call(), parsed_user(request.user.name, field="user.name")

        def change(kept: Kept[User]) -> User:
            merged = updated(user_to(kept), request.user, request.update_mask, field="user")
            return user_from(merged, id=kept.id)

        tag, known = parsed_etag(request.user.etag, field="user.etag"), self.holding.recognised(call, request)
        return user_to(handlers.update(self.holding, call, user, change, etag=tag, request=known))

    def ChangeRole(self, request: pb.ChangeRoleRequest, _: grpc.ServicerContext) -> pb.User:
        call, user, tag = current_call(), parsed_user(request.name), parsed_etag(request.etag)
        role, granted = role_from(request.role), granted_from(request.granted)
        known = self.holding.recognised(call, request)
        kept = handlers.change_role(self.holding, call, user, role=role, granted=granted, etag=tag, request=known)
        return user_to(kept)

    def RemoveUser(self, request: pb.RemoveUserRequest, _: grpc.ServicerContext) -> pb.User:
        call, user, tag = current_call(), parsed_user(request.name), parsed_etag(request.etag)
        known = self.holding.recognised(call, request)
        handlers.remove(self.holding, call, user, etag=tag, request=known)
        return removed_to(call.within(), user)
