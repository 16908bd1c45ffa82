"""An object store that speaks as much of S3 as is asked of it, over HTTP on the loopback, and misbehaves when told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import attrs
import pytest


@attrs.define
class Store:
    """What a store answers with; each fault meets one request.

    A number is the status it answers; ``cut`` sends half of an object; ``torn`` keeps half of what it is sent and
    fails; ``lost`` keeps it and fails. While it is *gone*, it fails whatever is asked. What is *late* it does not list.
    """

    objects: dict[str, bytes] = attrs.Factory(dict)
    faults: list[str] = attrs.Factory(list)
    asked: list[str] = attrs.Factory(list)
    page: int = 2
    gone: bool = False
    late: set[str] = attrs.Factory(set)


def handler(store: Store) -> type[BaseHTTPRequestHandler]:  # noqa: C901  one class, of small methods
    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # before, nobody says that it goes on, and whoever puts waits a second for it

        def log_message(self, *_: Any) -> None:
            return

        def _answer(self, status: int, body: bytes = b"", *, cut: bool = False) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = cut

        def _fault(self) -> str:
            store.asked.append(self.command)
            fault = "503" if store.gone else store.faults.pop(0) if store.faults else ""
            if fault.isdigit():
                codes = {"403": "AccessDenied", "500": "InternalError", "503": "SlowDown"}
                self._answer(int(fault), f"<Error><Code>{codes[fault]}</Code></Error>".encode())
            return fault

        def do_PUT(self) -> None:
            data, path = self.rfile.read(int(self.headers["Content-Length"])), unquote(urlsplit(self.path).path)
            fault = self._fault()
            if fault in {"torn", "lost"}:
                store.objects[path] = data[: len(data) // 2] if fault == "torn" else data
                self._answer(500, b"<Error><Code>InternalError</Code></Error>")
            elif not fault:
                store.objects[path] = data
                self._answer(200)

        def do_GET(self) -> None:
            asked, fault = urlsplit(self.path), self._fault()
            if fault.isdigit():
                return
            if "list-type" in asked.query:
                self._answer(200, self._listing(unquote(asked.path).strip("/"), parse_qs(asked.query)))
            elif unquote(asked.path) in store.objects:
                self._answer(200, store.objects[unquote(asked.path)], cut=fault == "cut")
            else:
                self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

        def do_DELETE(self) -> None:
            if not self._fault():
                store.objects.pop(unquote(urlsplit(self.path).path), None)
                self._answer(204)

        def _listing(self, bucket: str, query: dict[str, list[str]]) -> bytes:
            prefix, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
            keys = sorted(path.removeprefix(f"/{bucket}/") for path in store.objects.keys() - store.late)
            found = [key for key in keys if key.startswith(prefix) and key > after]
            told = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in found[: store.page])
            more = len(found) > store.page
            told += f"<NextContinuationToken>{found[store.page - 1]}</NextContinuationToken>" if more else ""
            return f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{told}</ListBucketResult>".encode()

    return Answers


@contextmanager
def serving(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[Store]:
    """Serve a store as long as the block, and let the variables say where it is."""
    made = Store()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(made))
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    for name, value in {"ACCESS_KEY_ID": "somebody", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "here"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(folder / "none"))
    yield made
    server.shutdown()
    thread.join()
    server.server_close()
