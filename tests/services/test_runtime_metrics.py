"""Numbers: by method and code, served on the loopback, and about nobody."""

from __future__ import annotations

import socket
from urllib.request import urlopen

import pytest

from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.interceptor import Outcome
from capsule_services.runtime.metrics import made_metrics, serve_metrics

OUTCOME = Outcome(method="/a.v1.B/C", code="OK", seconds=0.02)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def test_calls_are_counted_by_method_and_code_and_nothing_else() -> None:
    metrics = made_metrics()
    metrics.observe(OUTCOME)
    metrics.observe(OUTCOME)
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    assert {label for sample in samples for label in sample.labels} == {"method", "code", "le"}
    assert metrics.registry.get_sample_value("capsule_calls_total", {"method": "/a.v1.B/C", "code": "OK"}) == 2


def test_numbers_are_served_until_they_are_not() -> None:
    metrics, port = made_metrics(), free_port()
    metrics.observe(OUTCOME)
    stop = serve_metrics(metrics, port)
    with pytest.raises(StartRefused, match=str(port)):
        serve_metrics(metrics, port)
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    stop()
    assert 'capsule_calls_total{code="OK",method="/a.v1.B/C"} 1.0' in text
    with pytest.raises(OSError, match=r"refused|reset"):
        socket.create_connection(("127.0.0.1", port), timeout=5)
