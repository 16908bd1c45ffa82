"""A quiet tenant beside one that asks ten times what it may: what the one does to the slowest answers of the other.

The service and the loud tenant are processes of their own: ``python -m tests.benchmarks.fairness serve|shout ...``.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

import attrs

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.contacts.v1 import contacts_pb2_grpc
from capsule_core.names import TenantId
from capsule_services.contacts.servicer import ContactsServicer
from capsule_services.runtime.callers import Authenticator
from capsule_services.runtime.certificates import CLIENT, Credential, prepared
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.fairness import Rate
from capsule_services.runtime.log import made_log
from capsule_services.runtime.reporter import Reporter
from capsule_services.runtime.server import Served, opened
from capsule_services.runtime.tokens import KeyRing, made_key, published, sign_token
from tests.benchmarks.measuring import Goal, Result, Scale
from tests.benchmarks.rig import CALLER, TENANT, fill, rigged

__all__ = ["fairness"]

_ROOT: Final = Path(__file__).parents[2]
_LOUD: Final = TenantId("loud")
_RATE: Final = Rate(100, 200)
_TIMES: Final = 10
_PACE: Final = 0.01
_MODULE: Final = "tests.benchmarks.fairness"


def fairness(scale: Scale, folder: Path) -> Iterator[Result]:
    """Get a contact at a steady pace: alone, and beside the other tenant, in turn."""
    alone, beside = list[float](), list[float]()  # the slowest answers of each round
    with _process("serve", str(folder)) as said, _calling(said, said["quiet"]) as stub:
        _paced(stub, said["name"], scale.calls // 3)
        for _ in range(scale.rounds):
            alone.append(_p99(_paced(stub, said["name"], scale.calls)))
            with _process("shout", json.dumps(said)):
                beside.append(_p99(_paced(stub, said["name"], scale.calls)))
    yield Result(
        name="quiet tenant",
        against=f"itself alone: p99 of get contact beside a tenant that asks {_TIMES} times what it may",
        unit="x",
        figure=median(loud / quiet for loud, quiet in zip(beside, alone, strict=True)),
        goal=Goal(2, at_most=True),
        ours=f"{median(beside) * 1e3:.1f} ms",
        reference=f"{median(alone) * 1e3:.1f} ms",
    )


def _paced(stub: Any, name: str, calls: int) -> list[float]:
    """Call at a steady pace, and say how long each answer took."""
    taken, due = list[float](), time.perf_counter()
    for _ in range(calls):
        due += _PACE * 2
        time.sleep(max(due - time.perf_counter(), 0))
        began = time.perf_counter()
        stub.GetContact(pb.GetContactRequest(name=name))
        taken.append(time.perf_counter() - began)
    return taken


def _p99(taken: list[float]) -> float:
    return sorted(taken)[int(len(taken) * 0.99)]


@contextlib.contextmanager
def _process(*arguments: str) -> Iterator[dict[str, Any]]:
    """Run this module in a part of its own while the block lasts; give what it says when it is ready."""
    command = [sys.executable, "-m", _MODULE, *arguments]
    with subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(30)


@contextlib.contextmanager
def _calling(said: dict[str, Any], token: str) -> Iterator[contacts_pb2_grpc.ContactsServiceStub]:
    credential = Credential(**{name: Path(path) for name, path in said["credential"].items()})
    with open_channel(said["address"], service="contacts", credential=credential, token=token) as channel:
        yield contacts_pb2_grpc.ContactsServiceStub(channel)


def _serve(folder: Path) -> None:
    key, log = made_key(), made_log(sys.stderr, service="contacts")
    credentials = prepared(folder / "tls", ["contacts"], now=wall_time())
    with rigged(folder / "contacts") as rig:
        kept = fill(rig, range(50))[0]
        reporter = Reporter(rig.holding, lambda _: True, Path(os.devnull), threading.Event(), log)
        servicer = ContactsServicer(holding=rig.holding, paging=rig.opened.paging, reporter=reporter)
        with opened(
            Served(
                pb.DESCRIPTOR.services_by_name["ContactsService"],
                contacts_pb2_grpc.add_ContactsServiceServicer_to_server,
                servicer,
            ),
            domain="contacts.capsule",
            listen="127.0.0.1:0",
            credential=credentials["contacts"],
            authenticator=Authenticator(verify=KeyRing(lambda: published(key), wall_time).verify, peers=frozenset()),
            observe=lambda _: None,
            rate=_RATE,
        ) as server:
            server.ready()
            tokens = {
                name: sign_token(attrs.evolve(CALLER, tenant=tenant), key, now=wall_time(), lifetime=timedelta(hours=1))
                for name, tenant in (("quiet", TENANT), ("loud", _LOUD))
            }
            _say(
                address=server.address,
                credential={name: str(path) for name, path in attrs.asdict(credentials[CLIENT]).items()},
                name=f"tenants/{TENANT}/contacts/{kept.id}",
                **tokens,
            )
            sys.stdin.read()


def _shout(said: dict[str, Any]) -> None:
    """Keep contacts, ten times as often as one may, until nobody listens any more."""
    contact = pb.Contact(person=pb.Person(given_name="Ada", family_name="King"), tags=["friends"])
    asked = pb.CreateContactRequest(parent=f"tenants/{_LOUD}", contact=contact)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    with _calling(said, said["loud"]) as stub:
        due = time.perf_counter()
        for number in itertools.count():
            for _ in range(int(_RATE.calls * _TIMES * _PACE)):
                stub.CreateContact.future(asked)
            if number == 50:
                _say()  # what it saved up is spent
            due += _PACE
            if ended.wait(max(due - time.perf_counter(), 0)):
                break


def _say(**said: Any) -> None:
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    {"serve": lambda: _serve(Path(sys.argv[2])), "shout": lambda: _shout(json.loads(sys.argv[2]))}[sys.argv[1]]()
