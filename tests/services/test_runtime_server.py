"""A server of the chassis over real TLS: who gets in, what is refused, and that refusals tell nothing."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import attrs
import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from joserfc import jwt

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.holder.v1 import holder_pb2, holder_pb2_grpc
from capsule_core.errors import CapsuleError, RequestInFlight, Unavailable
from capsule_core.roles import Role
from capsule_core.uses import Use
from capsule_services.runtime.authority import load_authorities
from capsule_services.runtime.callers import Authenticator, ServiceCaller
from capsule_services.runtime.certificates import prepared
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.faults import StartRefused, understood
from capsule_services.runtime.server import opened
from capsule_services.runtime.tokens import made_key
from tests.services.certified import BAD, Maker, put
from tests.services.chassis import KEY, LIFETIME, Deployment, anna, bytes_of, deployed, other_key, refused, token, wall

OWN = "tenants/acme/contacts/c1"
CANARY = "anna.canary@example.com"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployed(tmp_path_factory.mktemp("deployment")) as deployment:
        yield deployment


@pytest.fixture(autouse=True)
def _harmless(running: Deployment) -> Iterator[None]:
    yield
    running.contacts.deed = lambda: None


def reason(error: grpc.Call) -> error_details_pb2.ErrorInfo:
    status = rpc_status.from_call(error)
    assert status is not None
    infos = [detail for detail in status.details if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
    assert len(infos) == 1
    info = error_details_pb2.ErrorInfo()
    infos[0].Unpack(info)
    return info


def test_a_user_with_a_token_reaches_the_servicer_which_sees_who_and_what_for(running: Deployment) -> None:
    with running.stub() as stub:
        assert stub.GetContact(pb.GetContactRequest(name=OWN)).name == OWN
    call = running.contacts.seen[-1]
    assert call.user() == anna()
    assert (call.permission, call.use, call.within()) == ("contacts.read", Use.DISPLAY, "acme")


def claims(**changed: Any) -> dict[str, Any]:
    """The claims of a good token, some of them *changed*; None leaves one out."""
    start, end = int(wall().timestamp()), int((wall() + LIFETIME).timestamp())
    told = {"iss": "identity.capsule", "aud": "capsule", "iat": start, "exp": end, "sub": "u1", "tenant": "acme"}
    told |= {"role": "standard", "granted": [], "sid": "s", **changed}
    return {name: value for name, value in told.items() if value is not None}


def forged(algorithm: str = "Ed25519", key: Any = None, **changed: Any) -> str:
    return jwt.encode({"alg": algorithm, "kid": KEY.kid}, claims(**changed), key or KEY, algorithms=[algorithm])


def unsigned() -> str:
    _, body, _ = forged().split(".")
    header = json.dumps({"alg": "none", "kid": KEY.kid}).encode()
    return f"{base64.urlsafe_b64encode(header).decode().rstrip('=')}.{body}."


BAD_TOKENS: dict[str, Callable[[], str]] = {
    "none at all": lambda: "",
    "expired": lambda: token(now=wall() - LIFETIME - timedelta(minutes=1)),
    "of another audience": lambda: forged(aud="elsewhere"),
    "of another issuer": lambda: forged(iss="elsewhere"),
    "without an end": lambda: forged(exp=None),
    "signed by another key": lambda: token(key=other_key()),
    "another key under our name": lambda: forged(key=made_key()),
    "not signed": unsigned,
    "of an unknown role": lambda: forged(role="root"),
    "of a tenant that is none": lambda: forged(tenant="../acme"),
    "garbage": lambda: "x.y.z",
    "huge": lambda: "x" * 9000,
}


@pytest.mark.parametrize("made", BAD_TOKENS.values(), ids=BAD_TOKENS)
def test_a_bad_token_is_refused_and_nobody_is_told_why(running: Deployment, made: Callable[[], str]) -> None:
    request = pb.GetContactRequest(name=OWN)
    with running.stub(made()) as stub, running.stub("") as bare:
        error = refused(lambda: stub.GetContact(request))
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert bytes_of(error) == bytes_of(refused(lambda: bare.GetContact(request)))
    assert reason(error).domain == "contacts.capsule"


def test_a_token_that_is_good_is_good_in_the_form_the_bad_ones_are_made_of(running: Deployment) -> None:
    with running.stub(forged()) as stub:
        assert stub.GetContact(pb.GetContactRequest(name=OWN)).name == OWN


def test_a_key_that_is_withdrawn_ends_what_is_under_way_with_it(tmp_path: Path) -> None:
    sent, waits = threading.Event(), threading.Event()

    def going_on() -> Iterator[pb.ImportContactsRequest]:
        yield header("tenants/acme")
        sent.set()
        assert waits.wait(30)
        yield pb.ImportContactsRequest(data=b"x")

    with deployed(tmp_path) as deployment, deployment.stub() as stub:
        deeds = [deployment.withdraw, lambda: None]

        def do_next() -> None:
            deeds.pop()()

        coming = stub.ImportContacts.future(going_on())
        assert sent.wait(30)
        assert deployment.contacts.begun.acquire(timeout=30)
        deployment.contacts.deed = do_next
        leaving = stub.ExportContacts(pb.ExportContactsRequest(parent="tenants/acme", format="JSON"))
        assert next(leaving).data == b"\0"
        assert refused(lambda: next(leaving)).code() is grpc.StatusCode.UNAUTHENTICATED
        waits.set()
        assert refused(coming.result).code() is grpc.StatusCode.UNAUTHENTICATED
        assert (
            refused(lambda: stub.GetContact(pb.GetContactRequest(name=OWN))).code() is grpc.StatusCode.UNAUTHENTICATED
        )


def test_two_tokens_are_none(running: Deployment) -> None:
    with running.stub() as stub:
        extra = (("authorization", f"Bearer {token()}"),)
        error = refused(lambda: stub.GetContact(pb.GetContactRequest(name=OWN), metadata=extra))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.law("L1")
def test_a_foreign_tenant_one_that_is_not_there_and_a_missing_permission_answer_alike(running: Deployment) -> None:
    with running.stub() as stub, running.stub(token(anna(role=Role.RESTRICTED))) as weak:
        foreign = bytes_of(
            refused(lambda: stub.DeleteContact(pb.DeleteContactRequest(name="tenants/rival/contacts/c1")))
        )
        absent = bytes_of(
            refused(lambda: stub.DeleteContact(pb.DeleteContactRequest(name="tenants/nobody/contacts/c")))
        )
        lacking = bytes_of(refused(lambda: weak.DeleteContact(pb.DeleteContactRequest(name=OWN))))
    assert foreign == absent == lacking
    assert foreign[0] is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.law("L1")
def test_no_field_at_any_depth_may_name_another_tenant(running: Deployment) -> None:
    before = len(running.contacts.seen)
    contact = pb.Contact(person=pb.Person(given_name="A"), owner="tenants/rival/users/u")
    with running.stub() as stub:
        error = refused(lambda: stub.CreateContact(pb.CreateContactRequest(parent="tenants/acme", contact=contact)))
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert len(running.contacts.seen) == before


def header(parent: str) -> pb.ImportContactsRequest:
    return pb.ImportContactsRequest(header=pb.ImportContactsRequest.Header(parent=parent, layout="VCARD"))


def test_streams_in_and_out_know_their_call_to_the_end(running: Deployment) -> None:
    before = len(running.contacts.seen)
    with running.stub() as stub:
        sent = [header("tenants/acme"), pb.ImportContactsRequest(data=b"x"), pb.ImportContactsRequest(data=b"y")]
        assert stub.ImportContacts(iter(sent)).created == 2
        pieces = stub.ExportContacts(pb.ExportContactsRequest(parent="tenants/acme", format="JSON"))
        assert [piece.data for piece in pieces] == [b"\0", b"\1", b"\2"]
    assert [call.tenant for call in running.contacts.seen[before:]] == ["acme"] * 4


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        ([header("tenants/rival")], grpc.StatusCode.PERMISSION_DENIED),
        ([header("tenants/acme"), header("tenants/rival")], grpc.StatusCode.PERMISSION_DENIED),
        ([pb.ImportContactsRequest(data=b"x")], grpc.StatusCode.INVALID_ARGUMENT),
        ([header("acme")], grpc.StatusCode.INVALID_ARGUMENT),
        ([], grpc.StatusCode.INVALID_ARGUMENT),
    ],
    ids=["foreign", "foreign later", "no header", "no name", "nothing"],
)
def test_a_stream_is_checked_message_by_message(running: Deployment, sent: list[Any], code: grpc.StatusCode) -> None:
    with running.stub() as stub:
        assert refused(lambda: stub.ImportContacts(iter(sent))).code() is code


def test_a_tenant_with_many_streams_leaves_room_for_the_others(tmp_path: Path) -> None:
    end = threading.Event()

    def going_on() -> Iterator[pb.ImportContactsRequest]:
        yield header("tenants/acme")
        assert end.wait(30)

    short = [header("tenants/acme")]
    with deployed(tmp_path) as deployment, deployment.stub() as stub, deployment.stub(token(anna("rival"))) as other:
        streams = [stub.ImportContacts.future(going_on()) for _ in range(4)]
        assert all(deployment.contacts.begun.acquire(timeout=10) for _ in streams)
        over = refused(lambda: stub.ImportContacts(iter(short)))
        assert (over.code(), reason(over).reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STREAMS_EXCEEDED")
        assert stub.GetContact(pb.GetContactRequest(name=OWN)).name == OWN
        assert other.ImportContacts(iter([header("tenants/rival")])).created == 0
        end.set()
        assert [stream.result(10).created for stream in streams] == [0] * 4
        assert stub.ImportContacts(iter(short)).created == 0


def test_what_is_for_services_takes_the_certificate_of_one_and_no_token_helps(running: Deployment) -> None:
    with running.channel(token()) as people, running.channel(who="privacy") as service:
        error = refused(lambda: holder_pb2_grpc.HolderServiceStub(people).About(holder_pb2.AboutRequest()))
        assert error.code() is grpc.StatusCode.PERMISSION_DENIED
        answer = holder_pb2_grpc.HolderServiceStub(service).About(holder_pb2.AboutRequest())
    assert answer.holder == ServiceCaller("privacy").name


def test_a_service_without_a_token_is_no_user(running: Deployment) -> None:
    with running.stub("", who="privacy") as stub:
        error = refused(lambda: stub.GetContact(pb.GetContactRequest(name=OWN)))
    assert error.code() is grpc.StatusCode.UNAUTHENTICATED


def test_without_a_certificate_or_with_one_of_another_authority_nobody_gets_in(
    running: Deployment, tmp_path: Path
) -> None:
    authority = running.credentials["client"].authority.read_bytes()
    stranger = prepared(tmp_path, [], now=wall())["client"]
    for pair in ((None, None), (stranger.key.read_bytes(), stranger.certificate.read_bytes())):
        secured = grpc.ssl_channel_credentials(authority, *pair)
        with grpc.secure_channel(running.server.address, secured) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            error = refused(lambda health=health: health.Check(health_pb2.HealthCheckRequest()))
        assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_a_client_does_not_talk_to_another_service_at_the_right_address(running: Deployment) -> None:
    client = running.credentials["client"]
    with open_channel(running.server.address, service="privacy", credential=client) as channel:
        error = refused(lambda: health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()))
    assert error.code() is grpc.StatusCode.UNAVAILABLE


def literal(name: bytes, value: bytes) -> bytes:
    """A header field as it is, neither indexed nor compressed (RFC 7541 section 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def raw_call(running: Deployment, version: ssl.TLSVersion) -> bytes:
    """Ask for the health over hand-made HTTP/2, for gRPC itself takes the newest TLS; return all that came back."""
    client = running.credentials["client"]
    context = ssl.create_default_context(cafile=str(client.authority))
    context.load_cert_chain(client.certificate, client.key)
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    host, _, port = running.server.address.rpartition(":")
    fields = ((b":method", b"POST"), (b":scheme", b"https"), (b":path", b"/grpc.health.v1.Health/Check"))
    more = ((b":authority", b"contacts"), (b"content-type", b"application/grpc"), (b"te", b"trailers"))
    headers = b"".join(literal(*field) for field in (*fields, *more))
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="contacts") as secured,
    ):
        assert secured.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
        settings, asked = frame(4, 0, 0, b""), frame(1, 4, 1, headers)
        secured.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + asked + frame(0, 1, 1, b"\0\0\0\0\0"))
        answer = b""
        while b"grpc-status" not in answer:
            answer += secured.recv(65536)
        return answer


def test_anything_below_tls_1_3_is_refused(running: Deployment) -> None:
    new, old = raw_call(running, ssl.TLSVersion.TLSv1_3), raw_call(running, ssl.TLSVersion.TLSv1_2)
    assert b"grpc-status\x010" in new
    assert b"grpc-status\x0216" in old


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
def test_what_nobody_foresaw_leaks_nothing(running: Deployment, stream: bool) -> None:
    def explode() -> None:
        raise LookupError(CANARY)

    running.contacts.deed = explode
    with running.stub() as stub:
        if stream:
            request = pb.ExportContactsRequest(parent="tenants/acme", format="JSON")
            error = refused(lambda: stub.ExportContacts(request))
        else:
            error = refused(lambda: stub.GetContact(pb.GetContactRequest(name=OWN)))
    assert error.code() is grpc.StatusCode.INTERNAL
    assert "canary" not in repr(bytes_of(error))
    assert reason(error).reason == "CAPSULE_ERROR"
    assert running.outcomes[-1].error is LookupError
    assert running.outcomes[-1].error_id.encode() in dict(error.trailing_metadata() or ())["grpc-status-details-bin"]


def test_an_error_of_the_domain_arrives_as_itself(running: Deployment) -> None:
    def fly() -> None:
        raise RequestInFlight

    running.contacts.deed = fly
    with running.stub() as stub:
        error = refused(lambda: stub.GetContact(pb.GetContactRequest(name=OWN)))
    assert error.code() is grpc.StatusCode.ABORTED
    assert type(understood(error)) is RequestInFlight


def test_bytes_that_are_no_message_are_an_invalid_argument(running: Deployment) -> None:
    with running.channel(token()) as channel:
        send = channel.unary_unary("/capsule_api.contacts.v1.ContactsService/GetContact")
        error = refused(lambda: send(b"\x0a\x02\xff\xfe"))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason(error).metadata["field"] == "request"


def test_a_malformed_request_is_refused_before_the_servicer_sees_it(running: Deployment) -> None:
    before = len(running.contacts.seen)
    request = pb.CreateContactRequest(parent="tenants/acme", contact=pb.Contact(), request_id="not-a-uuid")
    with running.stub() as stub:
        error = refused(lambda: stub.CreateContact(request))
    assert (error.code(), reason(error).metadata["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, "request_id")
    assert len(running.contacts.seen) == before


def test_a_message_beyond_the_limit_never_arrives(running: Deployment) -> None:
    with running.stub() as stub:
        error = refused(lambda: stub.GetContact(pb.GetContactRequest(name="x" * (5 << 20))))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.law("L13")
def test_a_method_that_is_in_no_table_does_not_exist(running: Deployment) -> None:
    with running.channel(token()) as channel:
        unknown = channel.unary_unary("/grpc.health.v1.Health/Guess")
        assert refused(lambda: unknown(b"")).code() is grpc.StatusCode.UNIMPLEMENTED
        reflect = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        assert refused(lambda: reflect.ServerReflectionInfo(iter([asked]))).code() is grpc.StatusCode.UNIMPLEMENTED


def test_reflection_is_there_for_developers(tmp_path: Path) -> None:
    with deployed(tmp_path, dev=True) as deployment, deployment.channel() as channel:
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]))
    names = {service.name for service in answer.list_services_response.service}
    assert "capsule_api.contacts.v1.ContactsService" in names


def test_a_server_serves_when_it_is_ready_and_says_so(tmp_path: Path) -> None:
    kinds = health_pb2.HealthCheckResponse
    with deployed(tmp_path, ready=False) as deployment, deployment.channel() as channel, deployment.stub() as stub:
        health = health_pb2_grpc.HealthStub(channel)
        questions = [
            health_pb2.HealthCheckRequest(service=name)
            for name in ("", "capsule_api.contacts.v1.ContactsService", "capsule_api.holder.v1.HolderService")
        ]
        assert {health.Check(each).status for each in questions} == {kinds.NOT_SERVING}
        early = refused(lambda: stub.GetContact(pb.GetContactRequest(name=OWN)))
        assert early.code() is grpc.StatusCode.UNAVAILABLE
        assert deployment.contacts.seen == []
        deployment.server.ready()
        assert {health.Check(each).status for each in questions} == {kinds.SERVING}
        assert stub.GetContact(pb.GetContactRequest(name=OWN)).name == OWN
        unknown = refused(lambda: health.Check(health_pb2.HealthCheckRequest(service="none")))
        assert unknown.code() is grpc.StatusCode.NOT_FOUND


def test_a_port_in_use_is_refused_in_one_sentence(running: Deployment, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(StartRefused, match="choose another address"):
        opened(
            domain="contacts.capsule",
            listen=running.server.address,
            credential=running.credentials["contacts"],
            authenticator=Authenticator(verify=lambda _: anna(), peers=frozenset()),
            observe=lambda _: None,
        )
    assert capfd.readouterr().err == ""


def test_a_new_certificate_is_taken_up_without_a_failed_call(tmp_path: Path) -> None:
    with deployed(tmp_path, made=wall() - timedelta(days=70)) as deployment, deployment.stub() as stub:
        before = shown(deployment)
        ask = pb.GetContactRequest(name=OWN)
        assert stub.GetContact(ask).name == OWN
        prepared(tmp_path / "tls", ["contacts", "privacy"], now=wall())
        assert stub.GetContact(ask).name == OWN
        assert shown(deployment) != before


@pytest.mark.parametrize("bad", [name for name in BAD if name != "no authority"])
def test_a_new_certificate_that_is_bad_is_not_shown_and_no_call_fails(tmp_path: Path, bad: str) -> None:
    with deployed(tmp_path) as deployment:
        credential, before = deployment.credentials["contacts"], shown(deployment)
        maker = Maker(load_authorities(tmp_path / "tls", wall()).signing)
        put(attrs.evolve(BAD[bad][0](maker), authority=credential.read().authority), credential)
        for _ in range(2):
            assert shown(deployment) == before
            with deployment.stub() as stub:
                assert stub.GetContact(pb.GetContactRequest(name=OWN)).name == OWN
        put(maker.proof(), credential)
        assert shown(deployment) != before


def shown(deployment: Deployment) -> bytes | None:
    """The certificate that the server shows now, whoever may believe it."""
    client = deployment.credentials["client"]
    context = ssl.create_default_context(cafile=str(client.authority))
    context.load_cert_chain(client.certificate, client.key)
    context.verify_mode, context.check_hostname = ssl.CERT_REQUIRED, True
    host, _, port = deployment.server.address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="contacts") as secured,
    ):
        return secured.getpeercert(binary_form=True)


@pytest.mark.parametrize(("error", "attempts"), [(Unavailable(), 4), (RequestInFlight(), 1)], ids=repr)
def test_grpc_repeats_a_call_that_was_unavailable_and_no_other(
    running: Deployment, error: CapsuleError, attempts: int
) -> None:
    def fail() -> None:
        raise error

    running.contacts.deed = fail
    before = len(running.contacts.seen)
    with running.stub() as stub:
        told = refused(lambda: stub.GetContact(pb.GetContactRequest(name=OWN)))
    assert type(understood(told)) is type(error)
    assert len(running.contacts.seen) - before == attempts


def test_a_failing_call_to_another_service_is_not_passed_on_as_it_is(running: Deployment) -> None:
    def ask_nobody() -> None:
        with grpc.insecure_channel("127.0.0.1:1") as nowhere:
            nowhere.unary_unary("/a.B/C")(b"")

    running.contacts.deed = ask_nobody
    with running.stub() as stub:
        told = refused(lambda: stub.GetContact(pb.GetContactRequest(name=OWN), timeout=20))
    assert type(understood(told)) is Unavailable
    assert "127.0.0.1" not in str(told.details())
