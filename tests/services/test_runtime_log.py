"""The log: what is not on its list is not in it, whatever anybody passes."""

from __future__ import annotations

import io
import json
import logging
import signal
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from capsule_api.contacts.v1 import contacts_pb2, contacts_pb2_grpc
from capsule_api.holder.v1 import holder_pb2
from capsule_api.identity.v1 import identity_pb2, identity_pb2_grpc
from capsule_api.privacy.v1 import privacy_pb2
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.deployment import Deployment, Options, running
from capsule_services.runtime.interceptor import Outcome
from capsule_services.runtime.layout import ORDER
from capsule_services.runtime.log import ALLOWED, made_log, quieten_libraries
from capsule_services.runtime.metrics import made_metrics
from capsule_services.runtime.policy import CONSTANT
from capsule_services.runtime.process import _observing
from tests.services.chassis import deployed, refused
from tests.services.premises import sign_up_request
from tests.services.test_runtime_process import process

CANARIES = [
    "anna.canary@example.com",
    "+49 170 5550123",
    "Anna Canary",
    "Аннушка",
    "ipv4:192.0.2.7:51234",
    "192.0.2.7",
    "tenants/acme/contacts/c0ffee",
    "4111 1111 1111 1111",
    "line\nbreak",
    "Canary",
    "canary",
    "CANARY",
    "/canary.B/C",
]


def written(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("canary", CANARIES)
def test_no_canary_gets_into_the_log_under_any_key(canary: str) -> None:
    stream = io.StringIO()
    log = made_log(stream, service="contacts")
    keys = {*ALLOWED, "email", "peer", "request", "exception", "stack", "service"} - {"event", "level"}
    for key in keys:
        log.info("call", **{key: canary})
    log.info(canary)
    log.info("call", **{canary: 1}, error=ValueError(canary), reason=[canary], code={"a": canary})
    try:
        raise ValueError(canary)
    except ValueError:
        log.exception("failed", stack_info=True)
    text = stream.getvalue()
    assert canary not in text
    assert canary.encode("unicode_escape").decode() not in text
    assert json.dumps(canary)[1:-1] not in text
    assert len(written(stream)) == len(keys) + 3


@given(st.dictionaries(st.text(min_size=1).filter(lambda key: key not in {"event", "level"}), st.text()))
def test_every_line_is_json_with_allowed_keys_and_says_how_much_was_dropped(values: dict[str, str]) -> None:
    stream = io.StringIO()
    made_log(stream, service="contacts").info("call", **values)
    (line,) = written(stream)
    assert line.keys() <= {*ALLOWED, "dropped", "service"}
    dropped = [key for key, value in values.items() if key not in ALLOWED or not ALLOWED[key](value)]
    assert line.get("dropped", 0) == len(set(dropped) - {"timestamp"})


def test_what_is_allowed_is_logged() -> None:
    stream = io.StringIO()
    method = "/capsule_api.contacts.v1.ContactsService/GetContact"
    made_log(stream, service="contacts").info("call", method=method, code="OK", seconds=0.25)
    (line,) = written(stream)
    assert line.pop("timestamp")
    assert line == {
        "event": "call",
        "level": "info",
        "service": "contacts",
        "method": method,
        "code": "OK",
        "seconds": 0.25,
    }


@pytest.fixture
def _root() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers, root.level = before
    logging.captureWarnings(False)


@pytest.mark.usefixtures("_root")
def test_libraries_are_heard_but_not_quoted() -> None:
    stream = io.StringIO()
    quieten_libraries(made_log(stream, service="contacts"))
    try:
        raise LookupError(CANARIES[0])
    except LookupError:
        logging.getLogger("json.decoder").exception("Exception calling application: %s", CANARIES[0])
    (line,) = written(stream)
    assert (line["event"], line["library"], line["error"]) == ("library", "json.decoder", "LookupError")
    assert "canary" not in stream.getvalue()


@pytest.mark.usefixtures("_root")
def test_a_logger_or_a_warning_is_named_by_its_module_and_by_nothing_else() -> None:
    stream = io.StringIO()
    quieten_libraries(made_log(stream, service="contacts"))
    for name in ("grpc.canary", "anna.canary@example.com", "canary", "sqlite3", "json.decoder"):
        logging.getLogger(name).warning("canary")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("canary", stacklevel=1)
    assert [line.get("library") for line in written(stream)] == [
        "grpc",
        None,
        None,
        "sqlite3",
        "json.decoder",
        "warnings",
    ]
    assert "canary" not in stream.getvalue()


BIRD = "kanarienvogel"
CONTRACT = (contacts_pb2, identity_pb2, privacy_pb2, holder_pb2)


def filled(message: Any, known: Mapping[str, str], depth: int = 4) -> Any:
    """Put a canary into every text and every bytes of *message*; fields that are *known* get what makes sense there."""
    for field in message.DESCRIPTOR.fields:
        value: Any
        if field.type == field.TYPE_STRING:
            value = known.get(field.name, f"{BIRD}.{field.name}@example.com")
        elif field.type == field.TYPE_BYTES:
            value = BIRD.encode()
        elif field.type == field.TYPE_ENUM:
            value = field.enum_type.values[-1].number
        elif field.type == field.TYPE_MESSAGE and depth and not field.message_type.GetOptions().map_entry:
            value = filled(GetMessageClass(field.message_type)(), known, depth - 1)
        else:
            continue
        if field.is_repeated:
            getattr(message, field.name).extend([value])
        elif field.type == field.TYPE_MESSAGE:
            getattr(message, field.name).CopyFrom(value)
        else:
            setattr(message, field.name, value)
    return message


def called(channel: grpc.Channel, method: MethodDescriptor, request: Any) -> str:
    """Call *method* with everything a caller can send, and return the code."""
    kinds = ("stream" if method.client_streaming else "unary", "stream" if method.server_streaming else "unary")
    path = f"/{method.containing_service.full_name}/{method.name}"
    read = GetMessageClass(method.output_type).FromString
    call = getattr(channel, "_".join(kinds))(path, type(request).SerializeToString, read)
    sent = (("x-canary", BIRD), ("x-canary-bin", BIRD.encode()), ("traceparent", BIRD), ("user-agent", BIRD))
    try:
        answer = call(iter([request]) if method.client_streaming else request, timeout=20, metadata=sent)
        if method.server_streaming:
            list(answer)
    except grpc.RpcError as error:
        assert isinstance(error, grpc.Call)
        return error.code().name
    return "OK"


def methods(service: str) -> list[MethodDescriptor]:
    files = [file for file in CONTRACT if f".{service}." in file.DESCRIPTOR.package or file is holder_pb2]
    return [method for file in files for each in file.DESCRIPTOR.services_by_name.values() for method in each.methods]


def signed_up(deployment: Deployment) -> dict[str, str]:
    """Sign up as a canary, and keep one; return what is known from then on."""
    email, password = f"anna.{BIRD}@example.com", f"{BIRD} by the sea"
    with opened_to(deployment, "identity") as channel:
        identity = identity_pb2_grpc.IdentityServiceStub(channel)
        made = identity.SignUp(sign_up_request(email, request_id=str(uuid4()), password=password))
        signing = identity_pb2.SignInRequest(tenant=made.tenant.name, email=email, password=password)
        token = identity.SignIn(signing).token
    with opened_to(deployment, "contacts", token) as channel:
        contact = contacts_pb2.Contact(person=contacts_pb2.Person(given_name=BIRD))
        request = contacts_pb2.CreateContactRequest(parent=made.tenant.name, contact=contact, request_id=str(uuid4()))
        kept = contacts_pb2_grpc.ContactsServiceStub(channel).CreateContact(request)
    return {"parent": made.tenant.name, "tenant": made.tenant.name, "name": kept.name, "token": token}


def opened_to(deployment: Deployment, service: str, token: str = "") -> grpc.Channel:
    return open_channel(deployment.addresses[service], service=service, credential=deployment.credential, token=token)


@pytest.mark.parametrize("dev", [False, True])
def test_whatever_callers_send_to_running_services_none_of_it_is_in_a_log(tmp_path: Path, dev: bool) -> None:
    folder, codes = tmp_path / BIRD, Counter[str]()
    with running(folder, Options(dev=dev)) as deployment:
        known = signed_up(deployment)
        for service in ORDER:
            for token in (known["token"], BIRD):
                with opened_to(deployment, service, token) as channel:
                    for method in methods(service):
                        for told in ({}, {**known, "request_id": str(uuid4())}):
                            codes[called(channel, method, filled(GetMessageClass(method.input_type)(), told))] += 1
                    for unknown in (f"/{BIRD}.{BIRD}/{BIRD}", f"/capsule_api.{service}.v1.{BIRD}/Get", BIRD):
                        refused(lambda: channel.unary_unary(unknown)(BIRD.encode()))  # noqa: B023
    assert codes.keys() >= {"OK", "INVALID_ARGUMENT", "UNAUTHENTICATED", "PERMISSION_DENIED"}
    assert "INTERNAL" not in codes
    said = "".join(path.read_text() for path in sorted((folder / "logs").iterdir()))
    assert said.count("\n") > codes.total() - codes["UNIMPLEMENTED"]
    assert all(json.loads(line).keys() <= {*ALLOWED, "dropped", "service"} for line in said.splitlines())
    secrets = [BIRD, known["token"], *known["token"].split("."), *(known["name"].split("/")[1::2])]
    assert [secret for secret in secrets if secret.lower() in said.lower()] == []


def test_what_fails_inside_is_logged_by_its_class_and_its_text_is_not(tmp_path: Path) -> None:
    stream = io.StringIO()

    def fail() -> None:
        raise LookupError(BIRD) from ValueError(BIRD)

    with deployed(tmp_path) as deployment, deployment.stub() as stub:
        deployment.contacts.deed = fail
        request = contacts_pb2.GetContactRequest(name=f"tenants/acme/contacts/{BIRD}")
        assert refused(lambda: stub.GetContact(request)).code() is grpc.StatusCode.INTERNAL
        deployment.server.stop()
        observe = _observing(made_metrics(()), made_log(stream, service="contacts"))
        for outcome in deployment.outcomes:
            observe(outcome)
    assert '"error": "LookupError"' in stream.getvalue()
    assert BIRD not in stream.getvalue()


@pytest.mark.parametrize(("code", "lines"), [("OK", 0), ("UNAVAILABLE", 1)])
def test_what_services_ask_all_the_time_is_counted_and_logged_when_it_fails(code: str, lines: int) -> None:
    stream = io.StringIO()
    for method in CONSTANT:
        metrics = made_metrics(CONSTANT)
        _observing(metrics, made_log(stream, service="identity"))(Outcome(method, code, 0.1))
        assert metrics.registry.get_sample_value("capsule_calls_total", {"method": method, "code": code}) == 1
    assert stream.getvalue().count("\n") == lines * len(CONSTANT)


STRAY = f"""
    import logging, threading, warnings
    def fail():
        raise LookupError("{BIRD}")
    class Dropped:
        def __del__(self):
            raise LookupError("{BIRD}")
    thread = threading.Thread(target=fail, name="{BIRD}")
    thread.start()
    thread.join()
    Dropped()
    warnings.warn("{BIRD}")
    logging.getLogger("{BIRD}").error("{BIRD}", exc_info=ValueError("{BIRD}"), stack_info=True)
    logging.getLogger("grpc.{BIRD}").critical("%s", "{BIRD}", extra={{"{BIRD}": "{BIRD}"}})
    logging.getLogger("grpc").error("%d", "{BIRD}")
    host.log.error("failed", **{{"{BIRD}": "{BIRD}"}}, error=LookupError("{BIRD}"), method="/{BIRD}.{BIRD}/Get")
"""


@pytest.mark.parametrize("last", ["pass", f"raise LookupError('{BIRD}')"])
def test_nothing_that_goes_wrong_in_a_process_is_quoted_on_its_way_out(tmp_path: Path, last: str) -> None:
    with process(tmp_path, deed=f"{STRAY.strip()}\n    {last}") as service:
        if last == "pass":
            service.ready()
            service.child.send_signal(signal.SIGTERM)
        code, out, err = service.ended()
    assert code == (0 if last == "pass" else 1)
    assert BIRD not in (out + err).lower()
    events = [json.loads(line)["event"] for line in err.splitlines() if line.startswith("{")]
    assert events[:2] == ["failed", "failed"], "the thread and what was dropped"
    assert events[2:6] == ["library"] * 4
