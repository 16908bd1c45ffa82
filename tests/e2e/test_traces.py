"""Two people live through a whole deployment and are erased; then every byte of everything it wrote is looked through.

Their words are short, and on the server nothing is compressed: what is not found is not there.
"""

from __future__ import annotations

import base64
import copy
import json
import secrets
import select
import shutil
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from fnmatch import fnmatch
from functools import partial
from pathlib import Path
from typing import Any, Final

import attrs
import grpc
import pytest

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.ledger.v1 import ledger_pb2
from capsule_api.privacy.v1 import privacy_pb2
from capsule_core.receipts import verify
from capsule_services.demo.company import Desk, refused, request_id, send_file, sign_in, sign_up, throw_away
from capsule_services.runtime.clock import advance
from capsule_services.runtime.deployment import Deployment, Options, running
from capsule_services.runtime.layout import ORDER
from tests.e2e.grounds import Files, OnServer, ground
from tests.e2e.planted import Planted
from tests.e2e.test_backups import capsule
from tests.e2e.traces import Scan, Secrets, scan
from tests.services.worker import free_port

PURGED: Final = ("Qyvrin", "Zoxbeld", "qv7zo@xelb.example", "7911123457", "Wumblefrax", "Plondrist", "Krelvost")
SWEPT: Final = ("Jhoxlar", "Wibzunt", "jw4bi@krozz.example", "7911654329", "Thrangobix", "Skaldrupe", "Blenvorg")
LIVING: Final = ("Ordalfin", "Penquith", "op9pe@thwix.example", "7911777213", "Grumbolane", "Tassifond", "Dremplune")
"""Given and family name, e-mail, phone, note, title, and what is said about them."""

ERASED: Final = (*PURGED, *SWEPT)
EXPORTS: Final = (pb.ExportContactsRequest.JSON, pb.ExportContactsRequest.CSV, pb.ExportContactsRequest.VCARD)


def card(words: tuple[str, ...], photo: bytes) -> str:
    given, family, email, phone, *_, about = words
    lines = (
        *("BEGIN:VCARD", "VERSION:3.0", f"N:{family};{given};;;", f"FN:{given} {family}", f"EMAIL:{email}"),
        *(f"TEL:+44{phone}", f"NOTE:{about}", f"PHOTO;ENCODING=b;TYPE=JPEG:{base64.b64encode(photo).decode()}"),
        *("END:VCARD", ""),
    )
    return "\r\n".join(lines)


@attrs.define
class Life:
    """What happened in the deployment, and what was found when everything was looked through."""

    ground: Files | OnServer
    temporary: Path
    told: Path
    photos: Mapping[tuple[str, ...], bytes]
    people: list[Secrets] = attrs.field(factory=list)
    living: Secrets = attrs.field(init=False)
    exported: bytes = b""
    before: Scan = attrs.field(init=False)
    after: Scan = attrs.field(init=False)
    later: Scan = attrs.field(init=False)
    unlogged: set[str] = attrs.field(factory=set)

    @property
    def words(self) -> list[str | bytes]:
        pieces = [photo[at : at + 16] for photo in self.photos.values() for at in range(4, len(photo) - 16, 300)]
        return [*ERASED, *LIVING, *pieces]

    def keep(self, name: str, content: str | bytes) -> None:
        """Keep what the services told somebody who may be told nothing of anybody."""
        (self.told / f"{len(list(self.told.iterdir()))}-{name}").write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )

    def places(self) -> Mapping[str, Path]:
        here = {"deployment": self.ground.folder, "temporary": self.temporary, "told": self.told}
        return {**here, **self.ground.places()}

    def looked_through(self) -> Scan:
        self.ground.settle()
        folder, backed_up = self.ground.folder, self.ground.backed_up()
        services: list[tuple[Path, Path | None]] = [(folder / name, None) for name in ORDER]
        return scan(self.places(), self.words, self.people, self.living, [*services, *backed_up.items()])


pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module", params=["files", "server"])
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    folder = tmp_path_factory.mktemp("traces")
    for name in ("temporary", "told"):
        (folder / name).mkdir()
    with ground(request.param, folder) as found, pytest.MonkeyPatch.context() as patch:
        for variable in ("TMPDIR", "SQLITE_TMPDIR"):
            patch.setenv(variable, str(folder / "temporary"))
        photos = {
            each: b"\xff\xd8\xff\xe0" + secrets.token_bytes(900) + b"\xff\xd9" for each in (PURGED, SWEPT, LIVING)
        }
        lived = Life(found, folder / "temporary", folder / "told", photos)
        found.prepare()
        with running(found.folder, Options(dev=True).numbered(free_port())) as deployment:
            found.begin()
            _live(lived, deployment)
        found.stop()
        lived.later = lived.looked_through()
        yield lived


def _live(life: Life, deployment: Deployment) -> None:
    tenant, _ = sign_up(deployment, "Acme", "Anna", "anna@example.org")
    anna = sign_in(deployment, tenant, "anna@example.org")
    names = {words: _write(life, anna, words) for words in (PURGED, SWEPT, LIVING)}
    _use(life, anna, names)
    life.ground.back_up()
    service = life.ground.folder / "contacts"
    *life.people, life.living = [Secrets.of(service, *_parts(names[words])) for words in (PURGED, SWEPT, LIVING)]
    life.before = life.looked_through()
    throw_away(anna, names[SWEPT])
    _purge(life, anna, names[PURGED], deployment)
    life.people.append(Secrets.of(service, *_parts(names[SWEPT])))  # whose page lies under another key since
    advance(deployment.clock_file, timedelta(days=31))
    _swept(life, anna)
    _tell(life, anna, deployment)
    life.after = life.looked_through()
    life.ground.back_up()
    if isinstance(life.ground, OnServer):
        life.unlogged = life.ground.unlogged()


def _parts(name: str) -> tuple[str, str]:
    _, tenant, _, contact = name.split("/")
    return tenant, contact


def _write(life: Life, desk: Desk, words: tuple[str, ...]) -> str:
    """Import somebody with a photo; edit them, and write a note, each twice under the same request id."""
    send_file(
        desk,
        card(words, life.photos[words]).encode(),
        pb.ImportContactsRequest.VCARD,
        tags=["people"],
        named=request_id(),
    )
    (found,) = _search(desk, email=words[2])
    changed = pb.Contact(name=found.name, person=pb.Person(job_title=words[5]))
    edit = pb.UpdateContactRequest(contact=changed, request_id=request_id())
    edit.update_mask.paths.append("person.job_title")
    entry = pb.Entry(kind=pb.Entry.NOTE, subject_line=words[4], body=f"{words[4]} and {words[0]} {words[1]}")
    note = pb.CreateEntryRequest(parent=found.name, entry=entry, request_id=request_id())
    for _ in range(2):
        assert desk.contacts.UpdateContact(edit).person.job_title == words[5]
        assert words[4] in desk.contacts.CreateEntry(note).body
    return found.name


def _search(desk: Desk, **by: str) -> list[pb.Contact]:
    return list(desk.contacts.SearchContacts(pb.SearchContactsRequest(parent=desk.tenant, **by)).contacts)  # type: ignore[arg-type]


def _use(life: Life, desk: Desk, names: Mapping[tuple[str, ...], str]) -> None:
    """Do with them whatever can be done, and give none of it up."""
    stub = desk.contacts
    for words, name in names.items():
        assert stub.GetContact(pb.GetContactRequest(name=name)).has_photo
        assert stub.GetPhoto(pb.GetPhotoRequest(name=f"{name}/photo")).content == life.photos[words]
        assert [each.name for each in _search(desk, name_prefix=words[1][:5])] == [name]
        assert [each.name for each in _search(desk, phone=f"0{words[3]}")] == [name]
        assert len(stub.ListEntries(pb.ListEntriesRequest(parent=name)).entries) == 1
        stub.ExplainContact(pb.ExplainContactRequest(name=name))
        hold = pb.Hold(target=name, ground=pb.Hold.LEGAL_CLAIMS, authority="Counsel", reason="A claim.")
        placed = stub.PlaceHold(pb.PlaceHoldRequest(parent=desk.tenant, hold=hold, request_id=request_id()))
        stub.ReleaseHold(pb.ReleaseHoldRequest(name=placed.name, request_id=request_id()))
        throw_away(desk, name)
        stub.UndeleteContact(pb.UndeleteContactRequest(name=name, request_id=request_id()))
    assert len(stub.ListContacts(pb.ListContactsRequest(parent=desk.tenant, tag="people")).contacts) == len(names)
    together = stub.TrashContacts(pb.TrashContactsRequest(parent=desk.tenant, names=list(names.values())))
    stub.UndeleteBatch(pb.UndeleteBatchRequest(parent=desk.tenant, batch=together.batch))
    for kind in EXPORTS:
        asked = pb.ExportContactsRequest(parent=desk.tenant, format=kind)
        life.exported += b"".join(piece.data for piece in stub.ExportContacts(asked))
    printed = pb.PrintContactRequest(name=names[PURGED])
    life.exported += b"".join(piece.data for piece in stub.PrintContact(printed))


def _purge(life: Life, desk: Desk, name: str, deployment: Deployment) -> None:
    throw_away(desk, name)
    request = pb.PurgeContactRequest(name=name, confirm=True, suppress=True, request_id=request_id())
    answer = desk.contacts.PurgeContact(request)
    assert desk.contacts.PurgeContact(request).receipt == answer.receipt
    life.keep("receipt", answer.receipt)
    verify(answer.receipt, (deployment.folder / "contacts" / "receipts.pub").read_text())
    _done(life, desk, answer.erasure)
    entry = pb.CreateEntryRequest(
        parent=name, entry=pb.Entry(kind=pb.Entry.NOTE, body="Late."), request_id=request_id()
    )
    with refused("SUBJECT_ERASED", "a late note"):
        desk.contacts.CreateEntry(entry)
    again = send_file(
        desk, card(PURGED, life.photos[PURGED]).encode(), pb.ImportContactsRequest.VCARD, tags=[], named=request_id()
    )
    assert [row.reason for row in again.refused_rows] == ["IDENTIFIER_SUPPRESSED"]


def _swept(life: Life, desk: Desk) -> None:
    """Wait until the sweep has erased the other one, everywhere."""

    def all_done() -> list[Any]:
        listed = desk.privacy.ListErasures(privacy_pb2.ListErasuresRequest(parent=desk.tenant)).erasures
        return list(listed) if len(listed) == 2 and all(each.state == each.DONE for each in listed) else []

    for each in _until(all_done):
        _done(life, desk, each.name)


def _done(life: Life, desk: Desk, erasure: str) -> None:
    """Wait until every holder has confirmed, and keep the receipt of the deployment."""

    def document() -> bytes:
        with suppress(grpc.RpcError):
            told = desk.privacy.GetErasure(privacy_pb2.GetErasureRequest(name=erasure))
            if told.state == told.DONE:
                return desk.privacy.GetReceipt(privacy_pb2.GetReceiptRequest(name=f"{erasure}/receipt")).document
        return b""

    life.keep("receipt", _until(document))


def _until(look: Callable[[], Any]) -> Any:
    for _ in range(600):
        if found := look():
            return found
        select.select([], [], [], 0.05)
    raise AssertionError("it does not come")


def _tell(life: Life, desk: Desk, deployment: Deployment) -> None:
    """Ask for whatever the services tell anybody who may know of nobody."""
    for address in deployment.connection()["metrics"].values():  # type: ignore[attr-defined]
        life.keep("metrics", urllib.request.urlopen(address, timeout=10).read())  # noqa: S310  our own
    advance(deployment.clock_file, timedelta(hours=1))  # by then both logs are signed
    for log in ("changes", "reads"):
        life.keep("checkpoint", _until(partial(_checkpoint, desk, f"{desk.tenant}/logs/{log}")))
    life.keep("doctor", json.dumps(capsule("doctor", "--data", deployment.folder, "--json")))


def _checkpoint(desk: Desk, log: str) -> str:
    with suppress(grpc.RpcError):
        return str(desk.ledger.GetCheckpoint(ledger_pb2.GetCheckpointRequest(name=log)).note)
    return ""


def test_before_they_are_erased_whoever_has_the_keys_reads_them_and_the_search_says_where(life: Life) -> None:
    assert set(ERASED) | set(LIVING) <= set(life.before.read)
    for words in (PURGED, LIVING):
        assert [word for word in words if word.encode() not in life.exported] == []
    found = life.before.found
    assert found["page key, wrapped"] == {f"deployment/contacts/{at}keystore.db" for at in ("", "mirror/")}
    assert set(found) <= {"page key, wrapped", "sealed", "token", "living"}
    sealed = {"deployment", "unpacked", "whole"} if isinstance(life.ground, Files) else {"server", "archive", "base"}
    assert life.before.places("sealed") >= sealed


@pytest.mark.law("L6")
def test_after_an_acknowledged_erasure_no_byte_anywhere_has_a_word_or_a_key_of_them(life: Life) -> None:
    for scanned in (life.after, life.later):
        left = {what: paths for what, paths in scanned.found.items() if what not in {"sealed", "token", "living"}}
        assert left == {}


@pytest.mark.law("L6")
def test_what_they_were_found_by_is_gone_from_files_and_on_a_server_was_never_copied_anywhere(life: Life) -> None:
    found = {what: set(life.later.found.get(what, ())) for what in ("token", "living")}
    assert found["living"], "of the others it is found"
    if isinstance(life.ground, Files):
        assert found == {"token": set(), "living": {"deployment/contacts/data.db"}}
    else:
        assert found["token"] | found["living"] <= {f"server/{path}" for path in life.unlogged}


@pytest.mark.law("L6")
def test_what_is_sealed_stays_in_backups_and_opens_with_no_key_that_is_left(life: Life) -> None:
    for scanned in (life.after, life.later):
        assert set(scanned.read) & set(ERASED) == set()
        assert set(LIVING) <= set(scanned.read)
    old = {"unpacked", "whole"} if isinstance(life.ground, Files) else {"archive", "base"}
    assert life.later.places("sealed") >= old


def test_the_same_search_finds_in_each_place_what_is_put_there(life: Life, tmp_path: Path) -> None:
    person = life.people[0]
    planted = Planted(PURGED[0].encode(), person.row.id + person.row.wrapped, person.page_key, person.key)
    life = copy.copy(life)
    if isinstance(life.ground, Files):
        shutil.copytree(life.ground.folder, tmp_path / "deployment")
        life.ground = Files(tmp_path / "deployment", tmp_path / "beside")
    for name in ("temporary", "told"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(planted.blob)
    life.temporary, life.told = tmp_path / "temporary", tmp_path / "told"
    with planted.everywhere(life.ground) as expected:
        life.ground.back_up()
        found = life.looked_through()
    for what in ("word", "page key, wrapped", "page key", "key"):
        missing = [each for each in expected if not any(fnmatch(path, each) for path in found.found.get(what, ()))]
        assert missing == [], f"{what} was put there, and is not found"
    assert set(PURGED) <= set(found.read), "with the key that is back, whatever was kept of them can be read again"
