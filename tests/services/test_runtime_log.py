"""The log: what is not on its list is not in it, whatever anybody passes."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_services.runtime.log import ALLOWED, made_log, quieten_libraries

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


@pytest.mark.usefixtures("_root")
def test_libraries_are_heard_but_not_quoted() -> None:
    stream = io.StringIO()
    quieten_libraries(made_log(stream, service="contacts"))
    try:
        raise LookupError(CANARIES[0])
    except LookupError:
        logging.getLogger("grpc._server").exception("Exception calling application: %s", CANARIES[0])
    (line,) = written(stream)
    assert (line["event"], line["library"], line["error"]) == ("library", "grpc._server", "LookupError")
    assert "canary" not in stream.getvalue()
