"""An OpenBao of our own: the part of its HTTP protocol that a keystore uses, over TLS on the loopback, and its faults.

Tokens and AppRoles let in; a secrets engine of KV version 2 keeps secrets in versions, with check-and-set. What is kept
can be looked at, version by version. A *fault* may befall any request, before or after it was carried out.
"""

from __future__ import annotations

import base64
import binascii
import enum
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import attrs
from urllib3 import Retry, Timeout

from capsule_services.runtime.certificates import prepared
from capsule_services.runtime.openbao.address import Address, address_at
from capsule_services.runtime.openbao.wire import Bao
from tests.services.chassis import wall

MOUNT: Final = "capsule"
TOKEN: Final = "a token that lets in"
QUICK: Final = Retry(total=4, backoff_factor=0)
"""Tries again as often as a service does, without waiting in between."""
IMPATIENT: Final = Timeout(connect=5.0, read=0.15)
PATIENT: Final = Timeout(connect=5.0, read=30.0)


class Fault(enum.Enum):
    """What befalls a request: *after* says that it is carried out all the same."""

    SEALED = "503"
    STANDBY = "429"
    BROKEN = "500"
    RESET = "reset"
    RESET_AFTER = "reset after"
    GARBAGE_AFTER = "garbage after"
    CUT_AFTER = "cut after"
    SLOW_AFTER = "slow after"
    LATE = "carried out when nobody waits for it any more"


@attrs.define
class Entry:
    """A secret: its versions that can be read, and what a failed clean-up left of others."""

    versions: dict[int, Any] = attrs.Factory(dict)
    destroyed: set[int] = attrs.Factory(set)
    deleted: set[int] = attrs.Factory(set)
    remains: list[Any] = attrs.Factory(list)
    newest: int = 0
    most: int = 0


Asked = tuple[str, str]
"""Method and path below the engine."""


@attrs.define(eq=False)
class Server:
    """Runs until it is closed; *fault* says what befalls each request, by its method and path, in their order."""

    folder: Path
    port: int = 0
    config: dict[str, Any] = attrs.Factory(lambda: {"max_versions": 1, "cas_required": True})
    entries: dict[str, Entry] = attrs.Factory(dict)
    tokens: set[str] = attrs.Factory(lambda: {TOKEN})
    roles: dict[str, str] = attrs.Factory(dict)
    fault: Callable[[Asked], Fault | None] = lambda _: None
    asked: list[Asked] = attrs.Factory(list)
    untidy: int = 0
    busy: int = 0
    lock: threading.RLock = attrs.Factory(threading.RLock)
    idle: threading.Condition = attrs.Factory(threading.Condition)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/{MOUNT}"

    @property
    def token_file(self) -> Path:
        return self.folder / "token"

    @property
    def authority(self) -> Path:
        return self.folder / "tls" / "authority.pem"

    def address(self, folder: str = "/contacts") -> Address:
        return address_at(f"{self.url}{folder}", token=self.token_file, authority=self.authority)

    def client(self, folder: str = "/contacts", *, timeout: Timeout = PATIENT) -> Bao:
        return Bao(self.address(folder), patience=QUICK, timeout=timeout)

    def wait(self) -> None:
        """Until every request is carried out, those included that nobody waits for any more."""
        with self.idle:
            assert self.idle.wait_for(lambda: not self.busy, 30)

    def files(self) -> list[bytes]:
        """Everything that could be read of any version of any secret, decoded as far as it can be."""
        with self.lock:
            kept = [each for entry in self.entries.values() for each in (*entry.versions.values(), *entry.remains)]
            names = list(self.entries)
        return [*map(str.encode, names), *(text for data in kept for text in _texts(data))]

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        """Carry out a request."""
        with self.lock:
            if path == "config":
                return 200, {"data": self.config}
            how, _, name = path.partition("/")
            return {"data": self._data, "metadata": self._metadata, "destroy": self._destroy}[how](method, name, body)

    def _data(self, method: str, name: str, body: Any) -> tuple[int, Any]:
        if method == "GET":
            entry = self.entries.get(name)
            if entry is None:
                return 404, {"errors": []}
            gone = entry.newest in entry.deleted | entry.destroyed
            told = {"version": entry.newest, "destroyed": entry.newest in entry.destroyed}
            contents = None if gone else entry.versions[entry.newest]
            return (404 if gone else 200), {"data": {"data": contents, "metadata": told}}
        entry = self.entries.get(name, Entry())
        if "cas" not in body.get("options", {}) and self.config["cas_required"]:
            return 400, {"errors": ["check-and-set parameter required for this call"]}
        if body["options"]["cas"] != entry.newest:
            return 400, {"errors": ["check-and-set parameter did not match the current version"]}
        self.entries[name] = entry
        entry.newest += 1
        entry.versions[entry.newest] = body["data"]
        answer: dict[str, Any] = {"data": {"version": entry.newest}}
        surplus = sorted(entry.versions)[: -(entry.most or self.config["max_versions"] or 10)]
        gone = [entry.versions.pop(version) for version in surplus]
        if self.untidy and gone:
            self.untidy -= 1
            entry.remains += gone
            answer["warnings"] = [
                "error occurred when cleaning up old versions, these will be cleaned up on next write"
            ]
        else:
            entry.remains.clear()
        return 200, answer

    def _metadata(self, method: str, name: str, body: Any) -> tuple[int, Any]:
        if name.endswith("/"):
            below = {each.removeprefix(name) for each in self.entries if each.startswith(name)}
            keys = sorted({re.sub("/.*", "/", each) for each in below})
            return (200, {"data": {"keys": keys}}) if keys else (404, {"errors": []})
        entry = self.entries.get(name)
        if entry is None:
            return 404, {"errors": []}
        told = {str(version): {"destroyed": version in entry.destroyed} for version in entry.versions}
        return 200, {"data": {"versions": told, "current_version": entry.newest}}

    def _destroy(self, method: str, name: str, body: Any) -> tuple[int, Any]:
        entry = self.entries[name]
        for version in body["versions"]:
            if version in entry.versions:
                entry.versions[version] = None
                entry.destroyed.add(version)
        return 204, None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Any

    def do_GET(self) -> None:
        self._handle()

    def do_POST(self) -> None:
        self._handle()

    def log_message(self, *_: Any) -> None:
        return

    def _handle(self) -> None:
        kept: Server = self.server.kept
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        path = urlsplit(self.path).path.removeprefix("/v1/")
        if path == "auth/approle/login":
            return self._sign_in(body)
        asked = (self.command, path.removeprefix(f"{MOUNT}/"))
        with kept.idle:
            kept.asked.append(asked)
            kept.busy += 1
        try:
            self._answer(path, asked, body)
        finally:
            with kept.idle:
                kept.busy -= 1
                kept.idle.notify_all()

    def _answer(self, path: str, asked: Asked, body: Any) -> None:
        kept: Server = self.server.kept
        fault = kept.fault(asked)
        if not path.startswith(f"{MOUNT}/"):
            return self._send(404, {"errors": ["no handler for route"]})
        if self.headers.get("X-Vault-Token") not in kept.tokens:
            return self._send(403, {"errors": ["permission denied"]})
        return self._befall(fault, lambda: kept.answer(*asked, body))

    def _befall(self, fault: Fault | None, carry_out: Callable[[], tuple[int, Any]]) -> None:
        if fault in {Fault.SEALED, Fault.STANDBY, Fault.BROKEN}:
            return self._send(int(fault.value), {"errors": ["Vault is sealed"]})
        if fault is Fault.LATE:
            self._wait_for_the_end()
            carry_out()
            return None
        if fault is Fault.RESET:
            self.close_connection = True
            return None
        status, answer = carry_out()
        if fault is None:
            return self._send(status, answer)
        if fault is Fault.SLOW_AFTER:
            self._wait_for_the_end()
        elif fault is Fault.GARBAGE_AFTER:
            self._send(200, None, raw=b"<html>it works</html>")
        elif fault is Fault.CUT_AFTER:
            self._send(status, None, raw=json.dumps(answer).encode()[:-3], more=3)
        self.close_connection = True
        return None

    def _sign_in(self, body: Any) -> None:
        kept: Server = self.server.kept
        if kept.roles.get(body["role_id"]) != body["secret_id"]:
            return self._send(400, {"errors": ["invalid role or secret ID"]})
        with kept.lock:
            token = f"token {len(kept.tokens)} of {body['role_id']}"
            kept.tokens.add(token)
        return self._send(200, {"auth": {"client_token": token}})

    def _wait_for_the_end(self) -> None:
        """Until whoever asked has gone away."""
        with suppress(OSError):
            self.rfile.read(1)
        self.close_connection = True

    def _send(self, status: int, answer: Any, *, raw: bytes | None = None, more: int = 0) -> None:
        data = b"" if status == 204 else json.dumps(answer).encode() if raw is None else raw
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) + more))
        self.end_headers()
        self.wfile.write(data)


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: Any) -> None:
        return  # a client that goes away in the middle is what we are for


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Run one in *folder*, with a token file and the certificate it is checked with."""
    kept = Server(folder)
    credential = prepared(folder / "tls", ["bao"], now=wall())["bao"]
    kept.token_file.write_text(f"{TOKEN}\n".replace(" ", "-"))
    kept.tokens.add(TOKEN.replace(" ", "-"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(credential.certificate, credential.key)
    http = _Http(("127.0.0.1", 0), _Handler)
    http.socket = context.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
    http.kept = kept  # type: ignore[attr-defined]
    kept.port = http.server_address[1]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        http.shutdown()
        http.server_close()
        thread.join(30)


def _texts(data: Any) -> Iterator[bytes]:
    """Everything written in a secret, and what it is the base64 of."""
    if isinstance(data, dict):
        for each in data.values():
            yield from _texts(each)
    elif isinstance(data, list):
        for each in data:
            yield from _texts(each)
    elif isinstance(data, str):
        yield data.encode()
        try:
            yield base64.b64decode(data, validate=True)
        except binascii.Error:
            return
