"""A URL leads where it says and nowhere else: what it leaves out would be libpq's guess, and elsewhere needs proof."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self
from urllib.parse import quote

import pytest

from capsule_services.runtime.certificates import prepared
from capsule_services.runtime.clock import wall_time
from capsule_sql.connecting import UrlUnusable, guarded
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from capsule_sql.provisioning import AdminUrlRefused, provision
from capsule_sql.refusals import ServerRefused, UnprovenServer, UnsafeConnection
from capsule_sql.standing import examine

DOORS: list[Callable[[str], object]] = [examine, lambda url: open_postgres(url, Role.DATA)]


@pytest.mark.parametrize("door", DOORS, ids=["examine", "open"])
@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("postgresql://", "is empty"),
        ("postgresql:///", "is empty"),
        ("postgresql:///data", "names no server"),
        ("postgresql://role:secret@/data", "names no server"),
        ("dbname=data user=role", "names no server"),
        ("postgresql://localhost/data", "names no role"),
        ("postgresql://role:secret@localhost", "names no database"),
        ("postgresql://role:sec%zzret@localhost/data", "cannot be read"),
        ("postgresql://role:secret@localhost/data?nonsense=1", "cannot be read"),
        ("nonsense", "cannot be read"),
    ],
)
def test_a_url_that_leaves_something_to_guess_is_refused_and_not_repeated(
    door: Callable[[str], object], url: str, problem: str
) -> None:
    with pytest.raises(UrlUnusable) as refused:
        door(url)
    assert f"{problem}; run capsule db init" in str(refused.value)
    assert "sec" not in str(refused.value)


@pytest.mark.parametrize(
    "place",
    [
        "db.example/x",
        "db.example/x?sslmode=require",
        "localhost,db.example/x",
        "localhost/x?hostaddr=192.0.2.1",
        "/x?host=/tmp,192.0.2.1",
        "/x?hostaddr=192.0.2.1",
        "127.0.0.1.example/x",
    ],
)
def test_a_url_that_may_lead_to_another_machine_needs_proof_of_who_answers(place: str) -> None:
    with pytest.raises(UnsafeConnection, match="verify-full"):
        guarded(f"postgresql://role@{place}", "the data")
    with pytest.raises(AdminUrlRefused, match="verify-full"):
        provision(f"postgresql://role@{place}", "x", password="x")


@pytest.mark.parametrize("place", ["/x?host=/tmp", "localhost/x", "[::1]/x", "db.example/x?sslmode=verify-full"])
def test_with_proof_or_on_this_machine_it_is_let_pass_and_tls_is_new(place: str) -> None:
    assert "TLSv1.3" in guarded(f"postgresql://role@{place}", "the data")


def test_nothing_is_sent_to_a_server_that_cannot_prove_who_it_is() -> None:
    """The address is a real one of this machine, named so that it might be anywhere: nobody so much as connects."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        called = threading.Event()

        def hear() -> None:
            server.accept()[0].close()
            called.set()

        threading.Thread(target=hear, daemon=True).start()
        url = f"postgresql://role:secret@elsewhere/x?hostaddr=127.0.0.1&port={server.getsockname()[1]}"
        for door in DOORS:
            with pytest.raises(UnsafeConnection):
                door(url)
        assert not called.is_set()
        socket.create_connection(server.getsockname()).close()
        assert called.wait(30), "it would have been heard"


class Doorkeeper:
    """Answers at a loopback port as a server does until the client has said who it is, and lets nobody in."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.context = context
        self.heard: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._answer)

    @property
    def port(self) -> int:
        return int(self._listening.getsockname()[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(30)

    def _answer(self) -> None:
        while True:
            try:
                caller, _ = self._listening.accept()
            except OSError:
                return
            with caller, suppress(OSError):
                self._greet(caller)

    def _greet(self, caller: socket.socket) -> None:
        assert caller.recv(8) == struct.pack("!II", 8, 80877103)  # SSLRequest
        caller.sendall(b"N" if self.context is None else b"S")
        if self.context is None:
            self.heard += [rest] if (rest := caller.recv(1024)) else []
            return
        with self.context.wrap_socket(caller, server_side=True) as sealed:
            self.heard.append(sealed.recv(1024))
            fields = b"SFATAL\0VFATAL\0C28P01\0Mno\0\0"
            sealed.sendall(b"E" + struct.pack("!I", len(fields) + 4) + fields)


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two authorities, and what each has certified."""
    folder = tmp_path_factory.mktemp("papers")
    for authority in ("ours", "theirs"):
        prepared(folder / authority, ["db.example", "elsewhere.example"], now=wall_time())
    return folder


def certified(papers: Path, name: str, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = newest
    context.load_cert_chain(papers / f"{name}.pem", papers / f"{name}.key")
    return context


def elsewhere(port: int, authority: Path) -> str:
    proof = f"sslmode=verify-full&sslrootcert={quote(str(authority / 'authority.pem'))}"
    return f"postgresql://role:secret@db.example:{port}/x?hostaddr=127.0.0.1&{proof}"


def test_a_server_that_proves_who_it_is_over_tls_1_3_is_told_who_we_are(papers: Path) -> None:
    with Doorkeeper(certified(papers, "ours/db.example")) as server:
        url = elsewhere(server.port, papers / "ours")
        for door in DOORS:
            with pytest.raises(ServerRefused):
                door(url)
        with pytest.raises(AdminUrlRefused, match="not let in"):
            provision(url, "x", password="x")
    assert [b"role" in heard for heard in server.heard] == [True] * 3


@pytest.mark.parametrize(
    "context",
    [
        lambda papers: certified(papers, "theirs/db.example"),
        lambda papers: certified(papers, "ours/elsewhere.example"),
        lambda papers: certified(papers, "ours/db.example", ssl.TLSVersion.TLSv1_2),
        lambda _: None,
    ],
    ids=["another authority", "another name", "TLS 1.2", "no TLS"],
)
def test_a_server_that_does_not_is_told_nothing(papers: Path, context: Callable[[Path], ssl.SSLContext | None]) -> None:
    with Doorkeeper(context(papers)) as server:
        url = elsewhere(server.port, papers / "ours")
        for door in DOORS:
            with pytest.raises(UnprovenServer, match="sslrootcert"):
                door(url)
        with pytest.raises(AdminUrlRefused, match="does not prove who it is"):
            provision(url, "x", password="x")
    assert [heard for heard in server.heard if b"role" in heard] == []
