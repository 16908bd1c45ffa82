"""A graceful stop: first it is said, then what is under way is finished, and nothing new is begun."""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2

from capsule_services.runtime.health import Health
from capsule_sql.database import open_database
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role
from tests.services.chassis import refused
from tests.services.office import opened_on
from tests.services.wired import contacts, creating, wired
from tests.services.worker import Ground, free_port

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
EVERYTHING = health_pb2.HealthCheckRequest()


@pytest.mark.law("L8")
def test_at_sigterm_a_call_under_way_is_finished_a_new_one_refused_and_it_ends_in_order(tmp_path: Path) -> None:
    with ExitStack() as stack:
        worker = stack.enter_context(Ground(tmp_path).worker(f"127.0.0.1:{free_port()}"))
        worker.ready()
        stub, health = stack.enter_context(worker.stub()), stack.enter_context(worker.health())
        watched = health.Watch(EVERYTHING)
        assert next(watched).status == SERVING
        with ThreadPoolExecutor(1) as callers:
            with worker.waits("written", lambda: callers.submit(stub.CreateContact, creating())) as under_way:
                worker.child.send_signal(signal.SIGTERM)
                assert [each.status for each in watched] == [NOT_SERVING]
                assert refused(lambda: stub.CreateContact(creating(), timeout=1)).code() in {
                    grpc.StatusCode.UNAVAILABLE,
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                }
            name = under_way.result(30).name
        assert worker.child.wait(30) == 0
    assert name.startswith("tenants/acme/contacts/")
    database = open_database(tmp_path / "data" / "data.db", Role.DATA)
    assert SqlLedger(database).head().size == 1
    database.close()


def test_while_it_drains_it_says_so_and_still_answers_and_a_second_signal_ends_that(tmp_path: Path) -> None:
    with ExitStack() as stack:
        worker = stack.enter_context(Ground(tmp_path).worker(f"127.0.0.1:{free_port()}", drain=15))
        worker.ready()
        stub, health = stack.enter_context(worker.stub()), stack.enter_context(worker.health())
        watched = health.Watch(EVERYTHING)
        assert next(watched).status == SERVING
        worker.child.send_signal(signal.SIGTERM)
        assert next(watched).status == NOT_SERVING
        assert contacts(stub) == []
        stub.CreateContact(creating())
        worker.child.send_signal(signal.SIGTERM)
        assert worker.child.wait(30) == 0


def test_whoever_watches_and_whoever_follows_is_let_go(tmp_path: Path) -> None:
    health = Health()
    with wired(opened_on("sqlite", tmp_path), tmp_path, health=health):
        told = health.follow()
        assert next(told) is True
    assert list(told) == [False]
