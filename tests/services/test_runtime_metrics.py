"""Numbers: by method and code, read when somebody asks, served on the loopback, and about nobody."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import attrs
import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import RateExceeded, StreamsExceeded, Unavailable
from capsule_core.memory import MemoryKeystore
from capsule_services.runtime.certificates import prepared
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.interceptor import Outcome
from capsule_services.runtime.metrics import (
    CODES,
    GAUGES,
    OTHER,
    Metrics,
    certificate_life,
    made_metrics,
    readings_of,
    serve_metrics,
)
from capsule_services.runtime.policy import DEVELOPMENT, HEALTH, rules
from tests.architecture.tree import REPOSITORY
from tests.services.chassis import deployed, refused, token, wall
from tests.services.office import (
    CONTACTS,
    KINDS,
    deleted,
    fresh_tenant,
    note,
    office,
    opened_in_memory,
    opened_on,
    person,
    purged,
)

METHODS = frozenset(rules([CONTACTS], *HEALTH, *DEVELOPMENT))
GET = "/capsule_api.contacts.v1.ContactsService/GetContact"
EXPORT = pb.ExportContactsRequest(parent="tenants/acme", format=pb.ExportContactsRequest.JSON)
VERSION = re.compile(r"[0-9]+[0-9a-z.+-]*")


@attrs.define(eq=False)
class Jammed(MemoryKeystore):
    """A keystore that cannot destroy anything for a while."""

    jammed: bool = attrs.field(default=False, init=False)

    def replace(self, keys: Any) -> None:
        if self.jammed:
            raise Unavailable
        super().replace(keys)


def labels_outside(registry: CollectorRegistry) -> list[tuple[str, str, str]]:
    """Name every label value that was not known before the first call."""
    known = {"method": {*METHODS, OTHER}, "code": CODES}
    return [
        (sample.name, label, value)
        for family in registry.collect()
        for sample in family.samples
        for label, value in sample.labels.items()
        if not (
            value in known.get(label, ())
            or (label == "le" and (value == "+Inf" or float(value) > 0))
            or (sample.name == "capsule_build_info" and VERSION.fullmatch(value))
        )
    ]


@contextmanager
def served(metrics: Metrics, **states: object) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    stop = serve_metrics(metrics, port, **states)  # type: ignore[arg-type]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        stop()


def asked(url: str) -> tuple[int, str]:
    try:
        with urlopen(url, timeout=10) as answer:  # noqa: S310  our own, on the loopback
            return answer.status, answer.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_calls_are_counted_by_method_and_code_and_nothing_else() -> None:
    metrics = made_metrics(METHODS)
    for _ in range(2):
        metrics.observe(Outcome(method=GET, code="OK", seconds=0.02))
    assert metrics.registry.get_sample_value("capsule_calls_total", {"method": GET, "code": "OK"}) == 2
    assert metrics.registry.get_sample_value("capsule_call_seconds_count", {"method": GET}) == 2
    assert labels_outside(metrics.registry) == []


@given(method=st.text(), code=st.text(), reason=st.text())
def test_whatever_an_outcome_says_no_label_gets_a_value_that_was_not_known_before(
    method: str, code: str, reason: str
) -> None:
    metrics = made_metrics(METHODS)
    metrics.observe(Outcome(method=method, code=code, seconds=0.1, reason=reason))
    assert labels_outside(metrics.registry) == []
    assert metrics.registry.get_sample_value("capsule_call_seconds_count", {"method": OTHER}) == 1


def test_what_a_full_office_and_its_wire_leave_in_the_registry_names_nobody(tmp_path: Path) -> None:
    metrics = made_metrics(METHODS)
    with deployed(tmp_path) as deployment:
        with deployment.stub(token()) as stub:
            stub.GetContact(pb.GetContactRequest(name="tenants/acme/contacts/c0ffee"))
            list(stub.ExportContacts(EXPORT))
            refused(lambda: stub.GetContact(pb.GetContactRequest(name="tenants/canary/contacts/c0ffee")))
            refused(lambda: stub.GetPhoto(pb.GetPhotoRequest(name="tenants/acme/contacts/c0ffee/photo")))
        with deployment.channel("nonsense") as channel:
            refused(lambda: channel.unary_unary("/canary.Anna/Canary")(b""))
            refused(lambda: channel.unary_unary(GET)(b"\xff"))
        for outcome in deployment.outcomes:
            metrics.observe(outcome)
    here = office(opened_on("sqlite", tmp_path), tmp_path)
    metrics.watch(readings_of(here.holding, unshipped=lambda: 0))
    desk = here.desk("acme-canary")
    kept = [person(desk, "Anna Canary") for _ in range(3)]
    note(desk, kept[0], "A canary sang.")
    deleted(desk, kept[1])
    purged(desk, kept[2])
    assert labels_outside(metrics.registry) == []
    with served(metrics) as url:
        text = asked(f"{url}/metrics")[1]
    here.opened.close()
    assert "canary" not in text.lower()
    assert "c0ffee" not in text
    assert f'method="{GET}"' in text


def test_numbers_of_the_store_are_read_when_somebody_asks(tmp_path: Path) -> None:
    here = office(opened_on("sqlite", tmp_path), tmp_path)
    metrics, waiting = made_metrics(METHODS), [3]
    metrics.watch(readings_of(here.holding, unshipped=lambda: waiting[0]))

    def read(name: str) -> float | None:
        return metrics.registry.get_sample_value(name)

    assert (read("capsule_change_leaves"), read("capsule_tenants_due"), read("capsule_outbox_entries")) == (0, 0, 3)
    desks = [here.desk(fresh_tenant()) for _ in range(2)]
    for desk in desks:
        deleted(desk, person(desk))
    waiting[0] = 0
    assert (read("capsule_change_leaves"), read("capsule_outbox_entries")) == (4, 0)
    assert (read("capsule_tenants_due"), read("capsule_erasures_unfinished")) == (0, 0)
    here.advance(timedelta(days=31))
    assert read("capsule_tenants_due") == 2
    assert read("capsule_reads_waiting") == 0
    here.opened.close()
    assert read("capsule_tenants_due") is None, "a store that is closed has no number, rather than a wrong one"
    assert read("capsule_outbox_entries") == 0


def test_an_erasure_that_was_begun_and_not_finished_is_counted_once(tmp_path: Path) -> None:
    keystore = Jammed()
    here = office(opened_in_memory(tmp_path, "contacts", KINDS, keystore=keystore), tmp_path)
    metrics = made_metrics(METHODS)
    metrics.watch(readings_of(here.holding, unshipped=lambda: 0))
    desk = here.desk()
    kept, keystore.jammed = person(desk), True
    with pytest.raises(Unavailable):
        purged(desk, kept)
    assert metrics.registry.get_sample_value("capsule_erasures_unfinished") == 1
    keystore.jammed = False
    here.opened.resume()
    assert metrics.registry.get_sample_value("capsule_erasures_unfinished") == 0


def test_refusals_for_being_too_many_are_counted_apart() -> None:
    metrics = made_metrics(METHODS)
    for reason in (RateExceeded.reason, StreamsExceeded.reason, "ETAG_MISMATCH", ""):
        metrics.observe(Outcome(method=GET, code="RESOURCE_EXHAUSTED", seconds=0.1, reason=reason))
    assert metrics.registry.get_sample_value("capsule_rate_refusals_total") == 2


def test_a_certificate_tells_how_long_it_still_holds(tmp_path: Path) -> None:
    now = wall().replace(microsecond=0)
    credential = prepared(tmp_path, ["contacts"], now=now)["contacts"]
    assert certificate_life(credential, lambda: now) == timedelta(days=90).total_seconds()
    assert certificate_life(credential, lambda: now + timedelta(days=91)) == -timedelta(days=1).total_seconds()


def test_only_numbers_that_are_declared_can_be_watched_and_they_have_no_label() -> None:
    metrics = made_metrics(METHODS)
    with pytest.raises(KeyError):
        metrics.watch({"capsule_tenant_acme": lambda: 1})
    metrics.watch(dict.fromkeys(GAUGES, lambda: 7))
    found = {s.name: s.labels for family in metrics.registry.collect() for s in family.samples if s.name in GAUGES}
    assert found == {name: {} for name in GAUGES}


def test_numbers_are_served_until_they_are_not() -> None:
    metrics = made_metrics(METHODS)
    metrics.observe(Outcome(method=GET, code="OK", seconds=0.02))
    with served(metrics) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(StartRefused, match=str(port)):
            serve_metrics(metrics, port)
        status, text = asked(f"{url}/metrics")
        assert asked(f"{url}/anything")[0] == 404
    assert status == 200
    assert f'capsule_calls_total{{code="OK",method="{GET}"}} 1.0' in text
    assert f'grpc="{grpc.__version__}"' in text
    with pytest.raises(OSError, match=r"refused|reset"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_life_and_readiness_are_told_apart_and_what_cannot_be_told_is_not_well() -> None:
    states = [True, False]

    def ready() -> bool:
        if not states:
            raise Unavailable
        return states.pop(0)

    with served(made_metrics(METHODS), ready=ready) as url:
        assert [asked(f"{url}/readyz")[0] for _ in range(3)] == [200, 503, 503]
        assert asked(f"{url}/livez") == (200, "ok\n")
    with served(made_metrics(METHODS), live=lambda: False) as url:
        assert (asked(f"{url}/livez")[0], asked(f"{url}/readyz")[0]) == (503, 200)


def test_whoever_asks_in_a_broken_way_leaves_no_trace(capfd: pytest.CaptureFixture[str]) -> None:
    with served(made_metrics(METHODS)) as url:
        port = int(url.rpartition(":")[2])
        for said in (b"CANARY / HTTP/1.1\r\n\r\n", b"GET /canary?canary HTTP/1.0\r\n\r\n", b"\xff\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(said)
                connection.recv(65536)
    assert capfd.readouterr() == ("", "")


def test_every_number_is_explained_to_operators() -> None:
    page = (REPOSITORY / "docs/how-to/monitor.md").read_text(encoding="utf-8")
    counted = {sample.name for family in made_metrics(METHODS).registry.collect() for sample in family.samples}
    kept = {name for name in counted if not name.endswith("_created")} | {"capsule_calls_total", "capsule_call_seconds"}
    assert [name for name in sorted({*kept, *GAUGES}) if f"| `{name}` |" not in page] == []
