"""Backups in an object store: over HTTP on the loopback, from a store that also misbehaves."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

import attrs
import pytest

from capsule_core.errors import ResourceMissing
from capsule_services.backup.faults import BackupDamaged, PlaceRefused, PlaceUnavailable
from capsule_services.backup.making import make
from capsule_services.backup.manifest import load
from capsule_services.backup.places import open_place
from capsule_services.backup.s3 import S3Place
from capsule_services.backup.unpacking import check
from tests.services.test_backup import KEY, NOW, people, unseen


@attrs.define
class Store:
    """What a store answers with; each fault meets one request."""

    objects: dict[str, bytes] = attrs.Factory(dict)
    faults: list[str] = attrs.Factory(list)
    asked: list[str] = attrs.Factory(list)
    page: int = 2


def handler(store: Store) -> type[BaseHTTPRequestHandler]:  # noqa: C901  one class, of small methods
    class Answers(BaseHTTPRequestHandler):
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
            fault = store.faults.pop(0) if store.faults else ""
            if fault.isdigit():
                codes = {"403": "AccessDenied", "500": "InternalError", "503": "SlowDown"}
                self._answer(int(fault), f"<Error><Code>{codes[fault]}</Code></Error>".encode())
            return fault

        def do_PUT(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            if not self._fault():
                store.objects[unquote(urlsplit(self.path).path)] = data
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
            keys = sorted(path.removeprefix(f"/{bucket}/") for path in store.objects)
            found = [key for key in keys if key.startswith(prefix) and key > after]
            told = "".join(f"<Contents><Key>{escape(key)}</Key></Contents>" for key in found[: store.page])
            more = len(found) > store.page
            told += f"<NextContinuationToken>{found[store.page - 1]}</NextContinuationToken>" if more else ""
            return f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{told}</ListBucketResult>".encode()

    return Answers


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    made = Store()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(made))
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    for name, value in {"ACCESS_KEY_ID": "somebody", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "here"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / "none"))
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def place(store: Store) -> Iterator[S3Place]:  # noqa: ARG001  it must be there
    opened = open_place("s3://backups/deployments/acme")
    assert isinstance(opened, S3Place)
    yield opened
    opened.client.close()


def test_objects_come_back_and_are_listed_over_many_pages(place: S3Place, store: Store) -> None:
    names = [f"packs/{number:02}" for number in range(7)]
    for name in names:
        place.put(name, name.encode() * 100)
    place.put("manifests/x", b"")
    assert place.names("packs/") == names
    assert place.names("") == ["manifests/x", *names]
    assert [place.get(name) for name in names] == [name.encode() * 100 for name in names]
    assert all(path.startswith("/backups/deployments/acme/") for path in store.objects)
    place.remove("packs/00")
    place.remove("packs/00")
    assert place.names("packs/") == names[1:]
    with pytest.raises(ResourceMissing):
        place.get("packs/00")


@pytest.mark.parametrize("fault", ["500", "503"])
def test_a_store_that_stumbles_is_asked_again(place: S3Place, store: Store, fault: str) -> None:
    store.faults += [fault]
    place.put("packs/a", b"whole")
    store.faults += [fault]
    assert place.get("packs/a") == b"whole"
    assert store.asked == ["PUT", "PUT", "GET", "GET"]


def test_a_store_that_fails_and_one_that_refuses_are_told_apart(place: S3Place, store: Store) -> None:
    store.faults += ["500"] * 5
    with pytest.raises(PlaceUnavailable):
        place.put("packs/a", b"whole")
    store.faults += ["403"]
    with pytest.raises(PlaceRefused, match="AccessDenied"):
        place.names("")
    assert place.names("") == []


def test_an_object_that_comes_short_is_not_taken_for_whole(place: S3Place, store: Store) -> None:
    place.put("packs/a", b"whole" * 1000)
    store.faults += ["cut"]
    with pytest.raises(PlaceUnavailable):
        place.get("packs/a")
    assert place.get("packs/a") == b"whole" * 1000


def test_a_deployment_is_backed_up_there_and_what_is_altered_is_found(
    place: S3Place, store: Store, tmp_path: Path
) -> None:
    people(tmp_path / "deployment", 0, 30)
    made = make(tmp_path / "deployment", place, KEY, release="test", now=NOW, full=False, progress=unseen)
    check(place, load(place, made.name, KEY), KEY, unseen)
    assert make(tmp_path / "deployment", place, KEY, release="test", now=NOW, full=False, progress=unseen).written == 0
    (pack,) = (path for path in store.objects if "/packs/" in path)
    store.objects[pack] = store.objects[pack][:-1] + b"x"
    with pytest.raises(BackupDamaged):
        check(place, load(place, made.name, KEY), KEY, unseen)
