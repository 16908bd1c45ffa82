"""A deployment on one machine: the three services as processes over mutual TLS, in one folder.

::

    tls/         the local authority and everybody's certificates
    contacts/    identity/    privacy/      the services' own files (see ``opening``)
    addresses/   where each running service listens
    logs/        what each service logs; NAME-1.log and so on if several processes serve it
    begun.json   the services that were begun here (see ``begun``)
    clock        how far ahead the clock is, with --dev
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Generator, Mapping, Sequence
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

import attrs

from capsule_services.runtime.begun import FILES, SERVER, check_begun, tell_begun
from capsule_services.runtime.certificates import CLIENT, Credential, prepared
from capsule_services.runtime.channels import publish_address, withdraw_address
from capsule_services.runtime.children import Child, Children
from capsule_services.runtime.clock import Clock, wall_time
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.layout import DATABASE, ENGINE, ORDER
from capsule_services.runtime.locks import hold, holder_of
from capsule_services.runtime.restored import restored_in
from capsule_services.runtime.room import unwritten
from capsule_services.runtime.settings import environment
from capsule_services.runtime.shipping.apart import check_apart

__all__ = ["Deployment", "Options", "running"]

_MANY: Final = frozenset({"identity", "contacts"})
"""The services that several processes can serve; nobody waits for the third."""

_AHEAD: Final = timedelta(seconds=1)


@attrs.frozen(kw_only=True)
class Options:
    """How to run a deployment: *region* is where phone numbers without a country code are at home.

    *workers* processes serve each of identity and contacts, at one port; *metrics* are the ports of the services'
    numbers, for the second process of a service the port after it and so on; a service that is not named serves none.
    """

    dev: bool = False
    region: str = "GB"
    ports: Mapping[str, int] = attrs.Factory(dict)
    metrics: Mapping[str, int] = attrs.Factory(dict)
    workers: int = 1

    def of(self, name: str) -> int:
        """Return how many processes serve *name*."""
        return self.workers if name in _MANY else 1

    def called(self, name: str, worker: int) -> str:
        """Name one process of a service, as its log is named."""
        return name if self.of(name) == 1 else f"{name}-{worker}"

    def numbered(self, first: int) -> Options:
        """Give every process a port for its numbers: *first* and those after it, in the order they are started."""
        ports: dict[str, int] = {}
        for name in ORDER:
            ports[name] = first + sum(self.of(earlier) for earlier in ports)
        return attrs.evolve(self, metrics=ports)


@attrs.frozen(kw_only=True)
class Deployment:
    """A running deployment: where each service listens, and what a client needs to connect."""

    folder: Path
    options: Options
    addresses: Mapping[str, str]
    credential: Credential
    children: Children

    @property
    def processes(self) -> Mapping[str, BaseProcess]:
        """The processes, named as their logs are."""
        return self.children.processes

    @property
    def clock_file(self) -> Path:
        return self.folder / "clock"

    @property
    def clock(self) -> Clock:
        return Clock(self.clock_file if self.options.dev else None)

    def connection(self) -> dict[str, object]:
        """Say how to connect, as ``capsule up`` prints it."""
        return {
            "addresses": dict(self.addresses),
            "ca": str(self.credential.authority),
            "certificate": str(self.credential.certificate),
            "key": str(self.credential.key),
            "server_names": {name: name for name in self.addresses},
            "metrics": dict(self._metrics()),
            "tokens": "IdentityService.SignIn gives a token; send it as metadata 'authorization: Bearer TOKEN'",
        }

    def failed(self) -> str | None:
        """Name a process that has ended and whose service cannot go on without it, if there is one."""
        return self.children.failed()

    def end_of(self, name: str) -> str:
        """Say how the process *name* has ended."""
        return self.children.end_of(name)

    def replaced(self) -> Sequence[str]:
        """Start anew the processes that have ended while others of their service go on; name them."""
        return self.children.replaced()

    def _metrics(self) -> Generator[tuple[str, str]]:
        for name, first in self.options.metrics.items():
            for worker in range(1, self.options.of(name) + 1):
                yield self.options.called(name, worker), f"http://127.0.0.1:{first + worker - 1}/metrics"


@contextlib.contextmanager
def running(folder: Path, options: Options) -> Generator[Deployment]:
    """Run a deployment in *folder*, made at first use; it ends with the block, and with this process however it ends.

    Raises:
        StartRefused: it cannot be started; the text says what to do.
    """
    with contextlib.ExitStack() as stack:
        try:
            deployment = _started(folder, options, stack)
        except OSError as error:
            raise unwritten(error, folder) from None
        yield deployment


def _started(folder: Path, options: Options, stack: contextlib.ExitStack) -> Deployment:
    stack.enter_context(_alone(folder))
    for name in ORDER:
        restored_in(folder / name)  # one that was interrupted says more
        check_begun(folder, folder / name, name, on_server=_is_on_server(folder, name))
    if place := os.environ.get("CAPSULE_JOURNAL_PLACE"):
        check_apart(place, folder)
    _set_clock(folder, options)
    _check_workers(folder, options)
    credentials = prepared(folder / "tls", ORDER, now=wall_time())
    read_end, write_end = os.pipe()
    stack.callback(os.close, read_end)
    stack.callback(os.close, write_end)
    listen = {name: stack.enter_context(_place(name, options)) for name in ORDER}
    telling = _Telling(folder, options, credentials, listen)
    children = Children(folder / "logs", read_end)
    stack.callback(children.stop, ORDER[::-1])
    addresses = children.start(telling.children(1))  # alone at first: they make what the others share
    tell_begun(folder, {name: SERVER if _is_on_server(folder, name) else FILES for name in ORDER})
    for name in ORDER:
        if options.of(name) > 1:
            publish_address(folder / "addresses", name, addresses[name])
            stack.callback(withdraw_address, folder / "addresses", name)
    for worker in range(2, options.workers + 1):
        children.start(telling.children(worker))
    return Deployment(
        folder=folder,
        options=options,
        addresses=addresses,
        credential=credentials[CLIENT],
        children=children,
    )


@contextlib.contextmanager
def _alone(folder: Path) -> Generator[None]:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "logs").mkdir(exist_ok=True)
        lock = (folder / "lock").open("a+")
    except OSError as error:
        raise unwritten(error, folder) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StartRefused(
                f"another capsule is running on {folder}{holder_of(lock)}; stop it, or choose another folder"
            ) from None
        hold(lock)
        yield


def _set_clock(folder: Path, options: Options) -> None:
    """Begin a movable clock with --dev; without, refuse a folder whose time is ahead: it would run backwards."""
    clock = folder / "clock"
    if options.dev:
        clock.touch()
        if not clock.read_text(encoding="ascii"):
            clock.write_text("0\n", encoding="ascii")
    elif Clock(clock).now() - wall_time() > _AHEAD:
        raise StartRefused(f"the clock in {folder} was put ahead; run it with --dev, or choose another folder")


def _check_workers(folder: Path, options: Options) -> None:
    """Refuse several processes for files that one process writes."""
    for name in ORDER:
        if options.of(name) > 1 and not _is_on_server(folder, name):
            raise StartRefused(
                f"{name} keeps its records in files, which one process serves: run capsule db init to keep them in "
                "PostgreSQL, or ask for one worker"
            )


def _is_on_server(folder: Path, name: str) -> bool:
    return (folder / name / DATABASE).is_file()


@contextlib.contextmanager
def _place(name: str, options: Options) -> Generator[str]:
    """Say where *name* is to listen; several processes get a port that is kept for them as long as the block."""
    asked = f"127.0.0.1:{options.ports.get(name, 0)}"
    if options.of(name) == 1:
        yield asked
        return
    host, _, port = asked.partition(":")
    with socket.socket() as kept:
        try:
            socket.create_server((host, int(port))).close()  # shared with nobody but our own
            kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            kept.bind((host, int(port)))
        except OSError as error:
            raise StartRefused(f"cannot listen at {asked}: {error.strerror}; choose another address") from None
        yield f"{host}:{kept.getsockname()[1]}"


@attrs.frozen
class _Telling:
    """What the processes are told."""

    folder: Path
    options: Options
    credentials: Mapping[str, Credential]
    listen: Mapping[str, str]

    def children(self, worker: int) -> Sequence[Child]:
        """Return this process of each service that has so many."""
        return [
            Child(service=name, called=self.options.called(name, worker), told=self._told(name, worker))
            for name in ORDER
            if worker <= self.options.of(name)
        ]

    def _told(self, name: str, worker: int) -> Mapping[str, str]:
        options, database = self.options, self.folder / name / DATABASE
        more: dict[str, str | int | Path] = {}
        if database.is_file():
            more["database"] = database
        if (engine := self.folder / name / ENGINE).is_file():
            more["engine"] = engine
        if name in options.metrics:
            more["metrics"] = options.metrics[name] + worker - 1
        return environment(
            self.credentials[name],
            data=self.folder / name,
            addresses=self.folder / "addresses",
            listen=self.listen[name],
            dev=options.dev,
            clock=self.folder / "clock",
            phone_region=options.region,
            workers=options.of(name),
            drain=0,  # everybody who calls is told by us
            **more,
        )
