"""Traces: linked over real calls, off unless asked for, and nothing in them but what is listed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import attrs
import grpc
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.contacts.v1 import contacts_pb2_grpc
from capsule_api.holder.v1 import holder_pb2, holder_pb2_grpc
from capsule_services.runtime.channels import Peers, open_channel, publish_address, with_token
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.policy import CONSTANT
from capsule_services.runtime.spans import Spans, made_provider, spanning
from capsule_services.runtime.tracing import ATTRIBUTES, Tracing, tracing_from
from tests.services.chassis import Deployment, deployed, refused, token

SERVICE = "capsule_api.contacts.v1.ContactsService"
NAME = "tenants/acme/contacts/canary"
GET = pb.GetContactRequest(name=NAME)
EXPORT = pb.ExportContactsRequest(parent="tenants/acme", format=pb.ExportContactsRequest.JSON)


@attrs.frozen
class Traced:
    """A deployment whose server and whose clients are traced into one memory."""

    deployment: Deployment
    tracing: Spans
    exporter: InMemorySpanExporter

    def stub(self, sent: str | None = None) -> contacts_pb2_grpc.ContactsServiceStub:
        credential = self.deployment.credentials["client"]
        channel = open_channel(self.deployment.server.address, service="contacts", credential=credential)
        traced = self.tracing.traced(with_token(channel, token() if sent is None else sent))
        return contacts_pb2_grpc.ContactsServiceStub(traced)

    def spans(self) -> list[ReadableSpan]:
        """Return what was exported, once the server has ended its last call."""
        self.deployment.server.stop()
        return list(self.exporter.get_finished_spans())


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[Traced]:
    provider, exporter = made_provider("contacts"), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = spanning(provider)
    with deployed(tmp_path, outer=tracing.interceptors) as deployment:
        yield Traced(deployment, tracing, exporter)
    tracing.close()


def pairs(spans: list[ReadableSpan]) -> list[tuple[ReadableSpan, ReadableSpan]]:
    """Put each server's span beside the client's that it is a child of."""
    clients = {span.context.span_id: span for span in spans if span.kind is SpanKind.CLIENT}
    servers = [span for span in spans if span.kind is SpanKind.SERVER]
    assert len(servers) == len(clients)
    return [(clients[span.parent.span_id], span) for span in servers if span.parent is not None]


def test_a_call_is_one_span_at_each_end_and_they_are_linked(traced: Traced) -> None:
    stub = traced.stub()
    stub.GetContact(GET)
    assert len(list(stub.ExportContacts(EXPORT))) == 3
    found = pairs(traced.spans())
    assert [server.name for _, server in found] == [f"{SERVICE}/GetContact", f"{SERVICE}/ExportContacts"]
    for client, server in found:
        assert client.name == server.name
        assert client.context.trace_id == server.context.trace_id
        assert (client.attributes or {})["rpc.grpc.status_code"] == 0


def test_what_services_ask_all_the_time_is_not_traced(traced: Traced, tmp_path: Path) -> None:
    peers = Peers(tmp_path / "addresses", traced.deployment.credentials["privacy"], traced.tracing.traced)
    publish_address(peers.addresses, "contacts", traced.deployment.server.address)
    (answering,) = traced.tracing.interceptors
    for method in CONSTANT:
        assert refused(lambda: peers.channel("contacts").unary_unary(method)(b"")).code()  # noqa: B023
        handler = grpc.unary_unary_rpc_method_handler(lambda *_: None)
        assert answering.intercept_service(lambda _: handler, SimpleNamespace(method=method)) is handler  # noqa: B023
    assert traced.spans() == []
    peers.close()


def test_a_call_made_while_answering_another_belongs_to_the_same_trace(traced: Traced, tmp_path: Path) -> None:
    peers = Peers(tmp_path / "addresses", traced.deployment.credentials["privacy"], traced.tracing.traced)
    publish_address(peers.addresses, "contacts", traced.deployment.server.address)

    def ask() -> None:
        holder_pb2_grpc.HolderServiceStub(peers.channel("contacts")).About(holder_pb2.AboutRequest())

    traced.deployment.contacts.deed = ask
    traced.stub().GetContact(GET)
    next(traced.stub().ExportContacts(EXPORT))
    spans = traced.spans()
    peers.close()
    assert len({span.context.trace_id for span in spans}) == 2
    by_id = {span.context.span_id: span for span in spans}
    asked = [span for span in spans if span.name.endswith("/About") and span.kind is SpanKind.CLIENT]
    callers = [by_id[span.parent.span_id] for span in asked if span.parent is not None]
    assert {span.name.rpartition("/")[2] for span in callers} == {"GetContact", "ExportContacts"}
    assert all(span.kind is SpanKind.SERVER for span in callers)


def test_spans_say_what_is_listed_and_nothing_else_whatever_is_sent(traced: Traced) -> None:
    sent = (("tracestate", "canary=1"), ("baggage", "canary=canary"), ("x-canary", "canary"))
    stub = traced.stub()
    stub.GetContact(GET, metadata=sent)
    refused(lambda: stub.GetContact(pb.GetContactRequest(name="tenants/other/contacts/canary"), metadata=sent))
    refused(lambda: traced.stub("canary").GetContact(GET))
    refused(lambda: stub.GetPhoto(pb.GetPhotoRequest(name=f"{NAME}/photo")))

    def fail() -> None:
        raise LookupError("canary")

    traced.deployment.contacts.deed = fail
    assert refused(lambda: stub.GetContact(GET)).code() is grpc.StatusCode.INTERNAL
    assert refused(lambda: stub.ExportContacts(EXPORT)).code() is grpc.StatusCode.INTERNAL
    spans = traced.spans()
    assert len(spans) == 12
    for span in spans:
        assert set(span.attributes or {}) == ATTRIBUTES
        assert set(span.resource.attributes) == {"service.name", "service.version"}
        assert (span.events, span.links, span.status.description) == ((), (), None)
        assert not span.context.trace_state
        text = json.dumps(json.loads(span.to_json())).lower()
        assert [word for word in ("canary", "127.0.0.1", "acme", "lookuperror", "bearer") if word in text] == []


def test_a_servers_span_is_an_error_only_if_it_is_the_servers(traced: Traced) -> None:
    stub = traced.stub()
    refused(lambda: stub.GetContact(pb.GetContactRequest(name="tenants/other/contacts/c")))

    def fail() -> None:
        raise LookupError

    traced.deployment.contacts.deed = fail
    refused(lambda: stub.GetContact(GET))
    found = pairs(traced.spans())
    assert [server.status.status_code for _, server in found] == [StatusCode.UNSET, StatusCode.ERROR]
    assert [client.status.status_code for client, _ in found] == [StatusCode.ERROR, StatusCode.ERROR]
    assert [(server.attributes or {})["rpc.grpc.status_code"] for _, server in found] == [7, 13]


@pytest.mark.parametrize("sent", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "00-canary-canary-01"])
def test_a_parent_that_is_none_begins_a_trace(traced: Traced, sent: str) -> None:
    credential = traced.deployment.credentials["client"]
    address = traced.deployment.server.address
    with open_channel(address, service="contacts", credential=credential, token=token()) as channel:
        contacts_pb2_grpc.ContactsServiceStub(channel).GetContact(GET, metadata=(("traceparent", sent),))
    (span,) = traced.spans()
    assert span.parent is None
    assert span.context.trace_id


def test_nobody_who_answers_nothing_is_traced(traced: Traced) -> None:
    address, credential = traced.deployment.server.address, traced.deployment.credentials["client"]
    with open_channel(address, service="contacts", credential=credential) as channel:
        assert refused(lambda: channel.unary_unary("/canary.Anna/Canary")(b"")).code() is grpc.StatusCode.UNIMPLEMENTED
    assert traced.spans() == []


@pytest.mark.parametrize(
    "variables",
    [{}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}],
)
def test_traces_are_off_unless_they_are_asked_for(variables: dict[str, str]) -> None:
    assert tracing_from(variables, "contacts") == Tracing()


def test_an_exporter_that_there_is_not_is_refused() -> None:
    with pytest.raises(StartRefused, match="OTEL_TRACES_EXPORTER"):
        tracing_from({"OTEL_TRACES_EXPORTER": "console"}, "contacts")


def test_traces_that_are_asked_for_are_sent_to_where_the_environment_says() -> None:
    tracing = tracing_from({"OTEL_TRACES_EXPORTER": "otlp"}, "contacts")
    assert len(tracing.interceptors) == 1
    tracing.close()


WITHOUT = """
import sys
sys.modules["opentelemetry"] = None
from capsule_services.runtime import process
from capsule_services.runtime.tracing import tracing_from
assert tracing_from({}, "contacts").interceptors == ()
try:
    tracing_from({"OTEL_TRACES_EXPORTER": "otlp"}, "contacts")
except Exception as error:
    print(error)
"""


def test_without_the_extra_everything_works_and_traces_say_what_to_install() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'capsule-core[otel]'" in done.stdout


def test_a_service_that_is_not_traced_imports_nothing_of_it() -> None:
    said = "import sys; from capsule_services.runtime import process; print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
