"""Contacts processes on one database, which can be told to stand still or to die after a step they take.

Each is told a file: where it says ``written stop``, the process stops itself after the next write; ``shredded kill``
ends it as a crash would.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

import attrs
from grpc_health.v1 import health_pb2_grpc

from capsule_api.contacts.v1.contacts_pb2_grpc import ContactsServiceStub
from capsule_core.repository import Repository
from capsule_core.vault import Vault
from capsule_services.contacts import __main__ as contacts
from capsule_services.runtime.callers import Authenticator, UserCaller
from capsule_services.runtime.certificates import Credential, prepared
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.opening import Opened
from capsule_services.runtime.process import Host, Service, run
from capsule_services.runtime.reads import ReadLog
from capsule_services.runtime.settings import environment
from capsule_services.runtime.tokens import KeyRing, published
from capsule_sql.keystores import SqlKeystore
from capsule_sql.records import SqlStore
from tests.postgres import Database
from tests.services.chassis import KEY, anna, token, wall
from tests.services.forked import Forked

T = TypeVar("T")

_PROGRAM = "from tests.services.worker import serve; serve()"

STEPS: dict[str, tuple[type, str]] = {
    "read": (SqlStore, "read"),
    "selected": (SqlStore, "select"),
    "unlocked": (Vault, "keys"),
    "opened": (Repository, "contents"),
    "logged": (ReadLog, "record"),
    "written": (SqlStore, "write"),
    "moved": (SqlStore, "move"),
    "fenced": (SqlStore, "mark"),
    "shredded": (SqlKeystore, "replace"),
    "destroyed": (SqlStore, "destroy"),
    "resumed": (Opened, "resume"),
}
"""What a process may be told to stand still after."""

_SIGNALS = {"stop": signal.SIGSTOP, "kill": signal.SIGKILL}


@attrs.define(eq=False)
class Worker:
    """A running process, where it listens, and what it has logged."""

    child: Forked
    credential: Credential
    listen: str
    _step: Path
    _events: SimpleQueue[dict[str, Any]] = attrs.field(factory=SimpleQueue)
    calls: int = 0
    _hearing: threading.Thread = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._hearing = threading.Thread(target=self._hear)
        self._hearing.start()

    def ready(self) -> None:
        """Return when it says that it serves."""
        assert json.loads(self.child.stdout.readline())["address"] == self.listen

    def says(self, event: str) -> dict[str, Any]:
        """Return when it has logged *event*; what it logged before is forgotten."""
        while (told := self._events.get(timeout=60))["event"] != event:
            pass
        return told

    def will(self, step: str, what: str = "stop") -> None:
        """Let it stop, or die, after the next such step."""
        self._step.write_text(f"{step} {what}")

    @contextmanager
    def waits(self, step: str, work: Callable[[], T]) -> Iterator[T]:
        """Begin *work*, and let it wait after such a step as long as the block lasts."""
        gate = self._step.with_suffix(".gate")
        os.mkfifo(gate)
        self.will(step, "wait")
        begun = work()
        with gate.open("w"):  # returns when it waits there
            yield begun

    def stands(self) -> None:
        """Return when it has stopped itself."""
        while not self.child.stands():
            assert self.child.wait(0.01) is None

    def go_on(self) -> None:
        self.child.send_signal(signal.SIGCONT)

    def died(self) -> None:
        """Return when it has been killed."""
        assert self.child.wait(60) == -signal.SIGKILL

    def end(self) -> None:
        """End it, whatever state it is in, and leave nothing open."""
        self.child.leave()
        self.go_on()
        self.child.wait(10)
        self.child.kill()
        self._hearing.join()
        self.child.close()

    @contextmanager
    def stub(self, caller: UserCaller | None = None) -> Iterator[ContactsServiceStub]:
        sent = token(caller or anna())
        with open_channel(self.listen, service="contacts", credential=self.credential, token=sent) as channel:
            yield ContactsServiceStub(channel)

    @contextmanager
    def health(self) -> Iterator[Any]:
        with open_channel(self.listen, service="contacts", credential=self.credential) as channel:
            yield health_pb2_grpc.HealthStub(channel)

    def _hear(self) -> None:
        for line in self.child.stderr:
            told = json.loads(line) if line.startswith("{") else {"event": "said", "sentence": line.strip()}
            self.calls += told["event"] == "call"
            self._events.put(told)


@attrs.frozen
class Ground:
    """What the processes share: a folder, and databases of records and of the engine if they are not in the folder."""

    folder: Path
    database: Database | None = None
    engine: str | None = None

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @contextmanager
    def worker(self, listen: str, **settings: str | float) -> Iterator[Worker]:
        """Begin a process; it is gone when the block ends."""
        credentials = prepared(self.folder / "tls", ["contacts"], now=wall())
        told = {
            "data": self.data,
            "addresses": self.folder / "addresses",
            "listen": listen,
            "drain": 0,
        }
        if self.database is not None:
            self.data.mkdir(exist_ok=True)
            (self.data / "database.url").write_text(self.database.url)
            told |= {"database": self.data / "database.url", "workers": 2}
        if self.engine is not None:
            (self.data / "engine.url").write_text(self.engine)
            told |= {"engine": self.data / "engine.url"}
        step = self.folder / f"step-{listen.rpartition(':')[2]}"
        variables = environment(credentials["contacts"], **{**told, **settings})
        child = Forked.begin(_PROGRAM, published(KEY).decode(), str(step), told=variables)
        begun = Worker(child, credentials["client"], listen, step)
        try:
            yield begun
        finally:
            begun.end()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def kept_address() -> Iterator[str]:
    """Keep a port for processes that share it."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{kept.getsockname()[1]}"


def _stepping(function: Callable[..., Any], name: str, told: Path) -> Callable[..., Any]:
    @wraps(function)
    def stepped(*args: Any, **more: Any) -> Any:
        result = function(*args, **more)
        with suppress(FileNotFoundError):
            step, _, what = told.read_text().partition(" ")
            if step == name:
                told.unlink()
                if what == "wait":
                    told.with_suffix(".gate").read_bytes()
                    return result
                signal.pthread_kill(threading.get_ident(), _SIGNALS[what])  # this thread goes not one step further
        return result

    return stepped


def _build(host: Host) -> Service:
    ring = KeyRing(sys.argv[1].encode, wall_time)
    authenticator = Authenticator(verify=ring.verify, peers=frozenset({"contacts", "privacy"}))
    return attrs.evolve(contacts.build(host), authenticator=authenticator)


def serve() -> None:
    """Be such a process."""
    for _step, (_kind, _method) in STEPS.items():
        setattr(_kind, _method, _stepping(getattr(_kind, _method), _step, Path(sys.argv[2])))
    sys.exit(run("contacts", _build))
