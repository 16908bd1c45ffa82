"""The end of the story: time passes, the rest is exported, and what was destroyed is proved and looked for."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from datetime import UTC, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeVar

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.ledger.v1 import ledger_pb2
from capsule_api.privacy.v1 import privacy_pb2
from capsule_core.checkpoints import Checkpoint, Verifier, open_checkpoint, parse_verifier
from capsule_core.errors import CapsuleError
from capsule_core.merkle import verify_consistency
from capsule_core.receipts import Receipt, verify
from capsule_services import sample
from capsule_services.demo.company import CheckFailed, expect, request_id, throw_away
from capsule_services.demo.forensics import search
from capsule_services.demo.leaving import WORDS, leave_and_come_back, see_it_go
from capsule_services.demo.story import Memory, Step
from capsule_services.runtime.clock import advance
from capsule_services.runtime.layout import ORDER

__all__ = ["PROOF", "let_time_pass", "look_for_them", "print_and_export", "verify_receipts"]

T = TypeVar("T")
_PATIENCE: Final = 20.0
_FORMATS: Final = (
    ("contacts.json", pb.ExportContactsRequest.JSON),
    ("contacts.csv", pb.ExportContactsRequest.CSV),
    ("contacts.vcf", pb.ExportContactsRequest.VCARD),
)


def let_time_pass(memory: Memory) -> str:
    first = throw_away(memory.chief, memory.people["swept"].name)
    advance(memory.deployment.clock_file, timedelta(hours=1))
    second = throw_away(memory.chief, memory.people["kept"].name)
    apart = second.purge_time.ToDatetime() - first.purge_time.ToDatetime()
    expect(apart >= timedelta(hours=1), "the second is thrown away an hour later")
    due = first.purge_time.ToDatetime(tzinfo=UTC)
    advance(memory.deployment.clock_file, due - memory.deployment.clock.now())
    erasure = _until("the sweep destroys what is due", lambda: _swept(memory))
    receipt = _everywhere(memory, erasure.name)
    statement = Receipt.decode(receipt).statement
    expect(statement.fenced_at >= due, "nothing is destroyed a microsecond early")
    still = memory.chief.contacts.GetContact(pb.GetContactRequest(name=second.name))
    expect(still.state == pb.Contact.DELETED, "what was thrown away an hour later is still there")
    restored = pb.UndeleteContactRequest(name=second.name, request_id=request_id())
    expect(memory.chief.contacts.UndeleteContact(restored).state == pb.Contact.ACTIVE, "and can be taken back")
    memory.receipts["swept"] = memory.keep("receipt-swept.jws", receipt)
    return "30 days on: one is destroyed by the sweep, one thrown away an hour later is not, and is taken back"


def print_and_export(memory: Memory) -> str:
    stub, tenant = memory.chief.contacts, memory.chief.tenant
    printed = b"".join(p.data for p in stub.PrintContact(pb.PrintContactRequest(name=memory.people["living"].name)))
    living = sample.member("living")
    expect(living.family_name.encode() in printed and b"all is well" in printed, "the summary has the whole history")
    memory.keep("summary.html", printed)
    sizes = []
    for file, format_ in _FORMATS:
        request = pb.ExportContactsRequest(parent=tenant, format=format_)
        content = b"".join(piece.data for piece in stub.ExportContacts(request))
        expect(living.email.encode() in content, f"{file} has the living")
        expect(sample.member("purged").email.encode() not in content, f"{file} has nobody who was erased")
        memory.keep(file, content)
        sizes.append(f"{file} {len(content) // 1024} KiB")
    exported = json.loads((memory.artefacts / "contacts.json").read_bytes())
    return f"print summary; {', '.join(sizes)}; {len(exported['contacts'])} contacts"


def verify_receipts(memory: Memory) -> str:
    memory.receipts["everywhere"] = memory.keep(
        "receipt-purged-everywhere.jws", _everywhere(memory, memory.erasures["purged"])
    )
    keys = {name: (memory.deployment.folder / name / "receipts.pub").read_text().strip() for name in ORDER}
    for name in ORDER:
        memory.keep(f"{name}.pub", keys[name].encode())
    for path in memory.receipts.values():
        document = path.read_bytes()
        statement = verify(document, keys[Receipt.decode(document).key])
        expect(statement.subjects, "a receipt says whom it is about")
        _refuse_flipped(document, keys[statement.service])
    everywhere = verify(memory.receipts["everywhere"].read_bytes(), keys["privacy"])
    expect(everywhere.scope == "everywhere", "only the privacy service says everywhere")
    holders = ", ".join(f"{part.holder}: {part.outcome.value}" for part in everywhere.destructions)
    grown = _only_grew(memory, parse_verifier(keys["contacts"]))
    return f"{len(memory.receipts)} receipts hold, every flipped bit is found; everywhere means {holders}; {grown}"


def _only_grew(memory: Memory, verifier: Verifier) -> str:
    """Compare the checkpoint of a receipt with one of today, by a proof that the service has to make."""
    old = open_checkpoint(Receipt.decode(memory.receipts["purged"].read_bytes()).checkpoint, verifier)
    ledger, name = memory.chief.ledger, f"{memory.chief.tenant}/logs/changes"

    def newer() -> Checkpoint | None:
        note = ledger.GetCheckpoint(ledger_pb2.GetCheckpointRequest(name=name)).note
        signed = open_checkpoint(note, verifier)
        return signed if signed.size > old.size else None

    new = _until("the log is signed again when it has grown", newer)
    asked = ledger_pb2.GetConsistencyProofRequest(name=name, first=old.size, second=new.size)
    verify_consistency(old.size, new.size, ledger.GetConsistencyProof(asked).hashes, old.root, new.root)
    return f"the log only grew, from {old.size} to {new.size} leaves"


def look_for_them(memory: Memory) -> str:
    folder = memory.deployment.folder
    erased = [*sample.member("purged").tokens, *sample.member("swept").tokens, "brindlewhist", "snorkelberry"]
    erased += ["quibblefern", *WORDS]
    words = [*sample.member("living").tokens, *sample.member("kept").tokens]
    with TemporaryDirectory(prefix="capsule-demo-server-") as there:
        server = memory.copy_out(Path(there))
        found = [each for place in (folder, Path(there)) for each in search(place, [*erased, *words])]
        expect(not found, f"nothing of the erased is left, nothing of the living can be read: {_named(found)}")
        exported = search(memory.artefacts, [*erased, *words])
        left = [each for each in exported if each.word in erased]
        expect(not left, f"nothing of the erased is in the exports: {_named(left)}")
        expect(exported, "the search finds what is there to be found: the living in the exports")
        size = sum(path.stat().st_size for place in (folder, Path(there)) for path in _files(place)) / (1 << 20)
    told = [f"{len(_files(folder))} files"]
    if server.tables:
        told += [f"every row of {server.tables} tables", f"{server.files} files of the server"]
    apart = f"; apart from the server's: {server.unseen}" if server.unseen else ""
    how = "raw, base64, hexadecimal, compressed"
    return f"{' and '.join(told)}, {size:.1f} MiB, {how}: nothing of the erased anywhere{apart}"


def _swept(memory: Memory) -> privacy_pb2.Erasure | None:
    listed = memory.chief.privacy.ListErasures(privacy_pb2.ListErasuresRequest(parent=memory.chief.tenant))
    others = (each for each in listed.erasures if each.name != memory.erasures["purged"])
    return next((each for each in others if each.state == privacy_pb2.Erasure.DONE), None)


def _everywhere(memory: Memory, erasure: str) -> bytes:
    def done() -> bool:
        told = memory.chief.privacy.GetErasure(privacy_pb2.GetErasureRequest(name=erasure))
        return told.state == privacy_pb2.Erasure.DONE

    _until("every holder confirms", done)
    return memory.chief.privacy.GetReceipt(privacy_pb2.GetReceiptRequest(name=f"{erasure}/receipt")).document


def _until(promise: str, look: Callable[[], T | None]) -> T:
    """Look again and again until there is something to see."""
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        try:
            if found := look():
                return found
        except Exception as error:
            if not _is_not_yet(error):
                raise
        time.sleep(0.05)
    raise CheckFailed(promise)


def _is_not_yet(error: Exception) -> bool:
    code = getattr(error, "code", None)
    return code is not None and code().name in {"NOT_FOUND", "UNAVAILABLE"}


def _refuse_flipped(document: bytes, key: str) -> None:
    """Flip one bit at a time, in a place of each part of the receipt: none may pass."""
    for place in range(0, len(document), max(1, len(document) // 64)):
        flipped = bytearray(document)
        flipped[place] ^= 1
        try:
            verify(bytes(flipped), key)
        except CapsuleError:
            continue
        raise CheckFailed("a flipped bit is found")


def _files(place: Path) -> list[Path]:
    return [path for path in place.rglob("*") if path.is_file()]


def _named(found: Sequence[object]) -> str:
    return "; ".join(str(each) for each in found[:5])


PROOF: Final[Sequence[Step]] = (
    ("close another account, and reopen it", leave_and_come_back),
    ("let 30 days pass", let_time_pass),
    ("print and export the rest", print_and_export),
    ("verify the receipts offline", verify_receipts),
    ("see the account go that was closed again", see_it_go),
    ("look for the erased in every file", look_for_them),
)
