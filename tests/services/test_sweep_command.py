"""``capsule sweep``: says what would go and touches nothing, or has it done by the services that run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import attrs
import pytest
from typer.testing import CliRunner

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.holder import Order
from capsule_core.names import ActorRef, SubjectKey, TenantId
from capsule_services.commands import app
from capsule_services.runtime.clock import advance
from capsule_services.runtime.clockwatch import ClockWatch, Measured, measure
from capsule_services.runtime.layout import DATABASE
from capsule_services.runtime.log import made_log
from capsule_services.runtime.opening import open_holding
from capsule_services.runtime.remembering import MemoryEngine
from capsule_services.runtime.sweeper import Sweeper
from capsule_services.runtime.sweeping import JOB
from tests.services.office import KINDS, Office, deleted, fresh_id, host, note, office, person
from tests.services.test_contacts_holds import placing

MONTH = timedelta(days=31)


def told(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["sweep", *arguments], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(params=["file", "server"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    more: dict[str, Any] = {}
    if request.param == "server":
        more["database"] = tmp_path / "contacts" / DATABASE
        more["database"].parent.mkdir()
        more["database"].write_text(request.getfixturevalue("database").url)
    opened = open_holding(host(tmp_path, **more), "contacts", KINDS)
    yield office(opened, tmp_path)
    opened.close()


def keep(here: Office, tenant: str, contact: Any, order: Order = Order.HOLD) -> None:
    holder, now = here.opened.holding.holder, here.opened.holding.now()
    key = SubjectKey(contact.name.rpartition("/")[2])
    holder.apply(TenantId(tenant), [key], order, reason="claim", by=ActorRef("user", "u1"), now=now)


def fill(here: Office) -> None:
    """Throw away: two people and a note in one tenant, of whom one is held, and somebody in another."""
    acme, zeta = here.desk("acme"), here.desk("zeta")
    ada, bo, cy = (person(acme) for _ in range(3))
    loose = note(acme, cy)
    acme.DeleteEntry(pb.DeleteEntryRequest(name=loose.name, request_id=fresh_id()))
    deleted(acme, ada)
    deleted(acme, bo)
    keep(here, "acme", bo)
    deleted(zeta, person(zeta))
    advance(here.folder / "clock", MONTH)


def state(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith("-shm")
    }


def test_a_dry_run_says_what_would_go_and_what_stays_and_why_and_touches_nothing(here: Office) -> None:
    fill(here)
    before = state(here.folder)
    code, out, err = told("--data", str(here.folder), "--dry-run", "--json")
    assert (code, err) == (0, "")
    lines = json.loads(out)
    assert all(line.pop("due_since") for line in lines)
    assert sorted(lines, key=json.dumps) == sorted(
        [
            {
                "service": "contacts",
                "tenant": tenant,
                "kind": kind,
                "whole": kind == "person",
                "goes": 0 if kept else 1,
                "stays": 1 if kept else 0,
                "because_of": ["a hold"] if kept else [],
            }
            for tenant, kind, kept in (
                ("acme", "person", False),
                ("acme", "person", True),
                ("acme", "entry", False),
                ("zeta", "person", False),
            )
        ],
        key=json.dumps,
    )
    code, out, err = told("--data", str(here.folder), "--dry-run")
    assert (code, err) == (0, "")
    assert "3 would go, nothing was touched" in out
    assert "a hold" in out
    assert "with all there is of each" in out
    assert state(here.folder) == before


@pytest.mark.law("L4")
def test_what_a_hold_on_everybody_keeps_is_said_to_stay_and_stays(here: Office) -> None:
    fill(here)
    acme = here.desk("acme")
    acme.PlaceHold(placing(acme, acme.tenant))
    lines = json.loads(told("--data", str(here.folder), "--dry-run", "--json")[1])
    assert {line["tenant"]: line["because_of"] for line in lines} == {"acme": ["a hold"], "zeta": []}
    holding = here.opened.holding
    assert holding.holder.sweep(TenantId("acme"), now=holding.now()).records == 0


def test_what_a_dry_run_says_is_what_a_sweep_then_does(here: Office) -> None:
    fill(here)
    lines = json.loads(told("--data", str(here.folder), "--dry-run", "--json")[1])
    holding = here.opened.holding
    swept = [holding.holder.sweep(TenantId(tenant), now=holding.now()) for tenant in ("acme", "zeta")]
    assert sum(each.subjects for each in swept) == sum(line["goes"] for line in lines if line["whole"])
    left = json.loads(told("--data", str(here.folder), "--dry-run", "--json")[1])
    assert left == [line for line in lines if line["stays"]]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Office, list[timedelta]]]:
    """A service that sweeps, as the command sees it: files in its folder; and by how much its clock has jumped."""
    opened, stopped, jump = open_holding(host(tmp_path), "contacts", KINDS), threading.Event(), [timedelta()]
    folder = tmp_path / "contacts"

    def read() -> Measured:
        now = measure()
        return attrs.evolve(now, passed=now.passed - jump[0])

    watch = ClockWatch(opened.holding.clock, folder, timedelta(hours=25), lambda _, __: True, read)
    holding = attrs.evolve(opened.holding, watch=watch)
    sweeper = Sweeper(
        holding,
        lambda job: MemoryEngine({JOB: job}),
        folder,
        4,
        timedelta(minutes=1),
        timedelta(days=7),
        False,
        lambda: None,
        stopped,
        made_log(StringIO(), service="contacts"),
    )
    (tmp_path / "addresses").mkdir(exist_ok=True)
    (tmp_path / "addresses" / "contacts").write_text("127.0.0.1:1")
    sweeper.start()
    sweeper.lead()
    yield office(attrs.evolve(opened, holding=holding), tmp_path), jump
    stopped.set()
    sweeper.close()
    opened.close()


def test_a_running_service_sweeps_at_once_and_says_what_it_did(served: tuple[Office, list[timedelta]]) -> None:
    here, _ = served
    assert told("--data", str(here.folder))[0] == 0
    fill(here)
    code, out, err = told("--data", str(here.folder), "--json")
    assert (code, err) == (0, "")
    status = json.loads(out)["contacts"]
    assert (status["under_way"], status["postponed"], status["asks"]) == (0, 0, False)
    assert json.loads(told("--data", str(here.folder), "--dry-run", "--json")[1])[0]["because_of"] == ["a hold"]


def test_a_clock_that_jumped_is_told_and_confirmed(served: tuple[Office, list[timedelta]]) -> None:
    here, jump = served
    assert told("--data", str(here.folder))[0] == 0
    jump[0] = MONTH + MONTH
    fill(here)
    code, out, err = told("--data", str(here.folder))
    assert code == 1
    assert "not believed" in out
    assert "capsule sweep --confirm-clock" in err
    code, out, err = told("--data", str(here.folder), "--confirm-clock")
    assert (code, err) == (0, "")
    assert "believed" in out


def test_what_cannot_be_is_refused_in_one_sentence(here: Office, tmp_path: Path) -> None:
    fill(here)
    for arguments, sentence in (
        ([str(tmp_path / "nowhere")], "holds no deployment"),
        ([str(here.folder)], "do not run; what is due goes as soon as they do"),
        ([str(here.folder), "--dry-run", "--confirm-clock"], "touches nothing"),
    ):
        code, out, err = told("--data", *arguments)
        assert (code, out) == (2, "")
        assert sentence in err
        assert len(err.splitlines()) == 1
