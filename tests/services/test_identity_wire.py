"""The identity service on a loopback port: what a client sees of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from capsule_api.identity.v1 import identity_pb2 as pb
from capsule_api.identity.v1.identity_pb2_grpc import IdentityServiceStub
from capsule_services.identity.__main__ import authenticator, servicers
from capsule_services.identity.passwords import Passwords
from capsule_services.runtime.certificates import Credential, prepared
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.server import opened as listening
from tests.services.chassis import bytes_of, refused, wall
from tests.services.premises import PASSWORD, Premises, opened, sign_up_request


@attrs.frozen
class Reached:
    premises: Premises
    address: str
    credential: Credential

    @contextmanager
    def stub(self, token: str = "") -> Iterator[IdentityServiceStub]:
        with open_channel(self.address, service="identity", credential=self.credential, token=token) as channel:
            yield IdentityServiceStub(channel)

    def token(self, tenant: str, email: str = "anna@example.org", password: str = PASSWORD) -> str:
        with self.stub() as stub:
            answer = stub.SignIn(pb.SignInRequest(tenant=tenant, email=email, password=password))
        token: str = answer.token
        return token


@pytest.fixture
def reached(tmp_path: Path) -> Iterator[Reached]:
    credentials = prepared(tmp_path / "tls", ["identity"], now=wall())
    with opened() as premises:
        holding, issuer = premises.holding, premises.issuer
        served = servicers(holding, premises.servicer.paging, issuer, passwords=Passwords(premises.hasher))
        with listening(
            *served,
            domain="identity.capsule",
            listen="127.0.0.1:0",
            credential=credentials["identity"],
            authenticator=authenticator(holding, issuer),
            observe=lambda _: None,
        ) as server:
            server.ready()
            yield Reached(premises, server.address, credentials["client"])


def test_a_user_is_invited_joins_signs_in_and_is_out_the_moment_they_are_removed(reached: Reached) -> None:
    with reached.stub() as anyone:
        documents = anyone.ListDocuments(pb.ListDocumentsRequest()).documents
        made = anyone.SignUp(sign_up_request())
        assert {(each.kind, each.version) for each in documents} == {
            (each.kind, each.version) for each in made.tenant.acceptances
        }
        with reached.stub(reached.token(made.tenant.name)) as owner:
            invitation = pb.Invitation(display_name="Ben", email="ben@example.org", role=pb.STANDARD)
            invited = owner.InviteUser(pb.InviteUserRequest(parent=made.tenant.name, invitation=invitation))
            joined = anyone.AcceptInvitation(pb.AcceptInvitationRequest(token=invited.token, password=PASSWORD))
            with reached.stub(reached.token(made.tenant.name, "ben@example.org")) as ben:
                assert ben.GetUser(pb.GetUserRequest(name=joined.name)) == joined
                owner.RemoveUser(pb.RemoveUserRequest(name=joined.name))
                error = refused(lambda: ben.GetUser(pb.GetUserRequest(name=joined.name)))
                assert error.code() is grpc.StatusCode.UNAUTHENTICATED
            listed = owner.ListUsers(pb.ListUsersRequest(parent=made.tenant.name)).users
            assert [user.name for user in listed] == [made.user.name]
            owner.SignOut(pb.SignOutRequest())
            error = refused(lambda: owner.SignOut(pb.SignOutRequest()))
            assert error.code() is grpc.StatusCode.UNAUTHENTICATED


def test_every_byte_of_a_refused_sign_in_is_the_same(reached: Reached) -> None:
    with reached.stub() as anyone:
        name = anyone.SignUp(sign_up_request()).tenant.name
        asked = [
            pb.SignInRequest(tenant=name, email="anna@example.org", password="wrong wrong wrong"),
            pb.SignInRequest(tenant=name, email="nobody@example.org", password=PASSWORD),
            pb.SignInRequest(tenant="tenants/t000", email="anna@example.org", password=PASSWORD),
        ]
        answers = {bytes_of(refused(lambda each=each: anyone.SignIn(each))) for each in asked}
    assert len(answers) == 1
    assert next(iter(answers))[0] is grpc.StatusCode.UNAUTHENTICATED


def test_a_refusal_names_the_field_and_never_the_value(reached: Reached) -> None:
    request = sign_up_request()
    request.super_administrator.display_name = "4111-1111-1111-1111"
    with reached.stub() as anyone:
        error = refused(lambda: anyone.SignUp(request))
    status = rpc_status.from_call(error)
    assert status is not None
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(bad)
    assert (info.reason, info.domain) == ("CARD_NUMBER", "identity.capsule")
    assert bad.field_violations[0].field == "super_administrator.display_name"
    assert b"4111" not in status.SerializeToString()


def test_every_method_of_the_contract_is_answered() -> None:
    with opened() as premises:
        for method in pb.DESCRIPTOR.services_by_name["IdentityService"].methods:
            assert callable(getattr(premises.servicer, method.name))
