"""The tenants' methods on the wire."""

from __future__ import annotations

import attrs
import grpc

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_core.tenancy import Document
from capsule_services.identity.names import check_tenant
from capsule_services.identity.passwords import Passwords
from capsule_services.identity.tenants import convert, handlers
from capsule_services.identity.users.convert import user_to
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.paging import Paging

__all__ = ["TenantsServicer"]


@attrs.define(slots=False, kw_only=True)
class TenantsServicer:
    """Answers what concerns tenants, and the documents they accept."""

    holding: Holding
    paging: Paging
    passwords: Passwords
    documents: tuple[Document, ...]

    def SignUp(self, request: pb.SignUpRequest, _: grpc.ServicerContext) -> pb.SignUpResponse:
        call, known = current_call(), self.holding.recognised(current_call(), convert.without_password(request))
        wanted = _application_from(request)
        opened = handlers.sign_up(self.holding, call, wanted, known, passwords=self.passwords, documents=self.documents)
        return pb.SignUpResponse(tenant=convert.tenant_to(opened.account), user=user_to(opened.user))

    def GetTenant(self, request: pb.GetTenantRequest, _: grpc.ServicerContext) -> pb.Tenant:
        check_tenant(request.name, field="name")
        return convert.tenant_to(*handlers.get(self.holding, current_call()))

    def ListDocuments(self, request: pb.ListDocumentsRequest, _: grpc.ServicerContext) -> pb.ListDocumentsResponse:
        call, window = current_call(), self.paging.window(current_call(), request)
        documents, after = handlers.list_documents(self.holding, self.documents, window)
        token = self.paging.token(call, request, after)
        return pb.ListDocumentsResponse(documents=map(convert.document_to, documents), next_page_token=token)


def _application_from(request: pb.SignUpRequest) -> handlers.Application:
    return handlers.Application(
        account=convert.account_from(request),
        user=convert.user_from(request.super_administrator),
        password=request.super_administrator.password,
        accepted=convert.accepted_from(request.acceptances),
    )
