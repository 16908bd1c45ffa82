"""The story, step by step. Each step acts as a person would, checks what came of it, and says what it checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

import attrs

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.identity.v1 import identity_pb2
from capsule_services import sample
from capsule_services.demo.company import (
    Desk,
    expect,
    invite,
    named_request,
    refused,
    request_id,
    send_file,
    sign_in,
    sign_up,
    throw_away,
)
from capsule_services.runtime.deployment import Deployment
from capsule_sql.remains import Copied

__all__ = [
    "COMPANY",
    "WORK",
    "Memory",
    "Step",
    "arrive",
    "come_late",
    "delete",
    "edit",
    "find_member",
    "find_people",
    "found_company",
    "import_again",
    "import_books",
    "list_people",
    "purge",
    "refuse_card",
    "refuse_purge",
    "restore",
    "write_history",
]

COMPANY: Final = "Larkspur & Daughters"
_LAYOUTS: Final[dict[sample.File, pb.ImportContactsRequest.Layout.ValueType]] = {
    sample.GOOGLE: pb.ImportContactsRequest.GOOGLE_CSV,
    sample.OUTLOOK: pb.ImportContactsRequest.OUTLOOK_CSV,
    sample.FRIENDS_V3: pb.ImportContactsRequest.VCARD,
    sample.CONTACTS_V4: pb.ImportContactsRequest.VCARD,
}
_BEGINNINGS: Final = ("trươ", "慕", "Жур", "Ψαρ", "남궁", "القم", "אלמ", "गंगो", "จันท")
_TAG: Final = "sample"


@attrs.define
class Memory:
    """What the story has come to so far."""

    deployment: Deployment
    artefacts: Path
    copy_out: Callable[[Path], Copied]
    chief: Desk = attrs.field(init=False)
    administrator: Desk = attrs.field(init=False)
    standard: Desk = attrs.field(init=False)
    leaver: Desk = attrs.field(init=False)
    left: pb.Contact = attrs.field(init=False)
    people: dict[str, pb.Contact] = attrs.Factory(dict)
    receipts: dict[str, Path] = attrs.Factory(dict)
    erasures: dict[str, str] = attrs.Factory(dict)
    notes: tuple[str, ...] = ()

    def keep(self, file: str, content: bytes) -> Path:
        """Put a file among what the story leaves behind."""
        path = self.artefacts / file
        path.write_bytes(content)
        return path


Step = tuple[str, Callable[[Memory], str]]
"""What a step is called, and what plays it and says what it checked."""


def found_company(memory: Memory) -> str:
    tenant, accepted = sign_up(memory.deployment, COMPANY, "Ada Larkspur", "ada@larkspur.example")
    expect(accepted >= 1, "which documents were accepted is kept")
    memory.chief = sign_in(memory.deployment, tenant, "ada@larkspur.example")
    for person, email, role in (
        ("Basil Larkspur", "basil@larkspur.example", identity_pb2.ADMINISTRATOR),
        ("Clover Larkspur", "clover@larkspur.example", identity_pb2.STANDARD),
    ):
        invite(memory.deployment, memory.chief, person, email, role)
    return f"{accepted} documents accepted; super administrator, administrator and standard user"


def arrive(memory: Memory) -> str:
    tenant = memory.chief.tenant
    memory.administrator = sign_in(memory.deployment, tenant, "basil@larkspur.example")
    memory.standard = sign_in(memory.deployment, tenant, "clover@larkspur.example")
    with refused("UNAUTHENTICATED", "a wrong address does not sign in"):
        sign_in(memory.deployment, tenant, "nobody@larkspur.example")
    return "three people have a token of their own; a stranger gets none"


def import_books(memory: Memory) -> str:
    created = refused_rows = 0
    for file, layout in _LAYOUTS.items():
        report = send_file(memory.administrator, sample.read(file), layout, tags=[_TAG], named=_sending(file))
        wrong = {row.row: row.reason for row in report.refused_rows}
        known = sample.broken_in(file)
        expect(wrong.keys() == known.keys(), f"{file}: exactly the rows {sorted(known)} are refused, not {wrong}")
        expect(report.created == sample.RECORDS[file] - len(known), f"{file}: every other row is kept")
        created, refused_rows = created + report.created, refused_rows + report.refused
    return f"{created} contacts from 4 files; {refused_rows} broken rows refused with number and reason"


def import_again(memory: Memory) -> str:
    created = applied = 0
    for file, layout in _LAYOUTS.items():
        report = send_file(memory.administrator, sample.read(file), layout, tags=[_TAG], named=_sending(file))
        created, applied = created + report.created, applied + report.already_applied
    expect(created == 0, "a file that is sent twice is applied once")
    return f"all four files sent again: 0 created, {applied} recognised"


def find_people(memory: Memory) -> str:
    desk, home = memory.standard, sample.member("purged")
    for member in sample.CAST:
        seen = memory.people[member.role] = find_member(desk, email=member.email.upper())
        prefix = f"{member.family_name[:6]} {member.given_name[:4]}".lower()
        expect(find_member(desk, name_prefix=prefix).name == seen.name, "found by beginnings of names")
        expect(find_member(desk, phone=member.typed_phone).name == seen.name, "found by phone, as it was typed")
    spellings = (home.phone, home.phone.replace("+", "00"), f"({home.typed_phone[:5]}) {home.typed_phone[6:]}")
    for spelling in spellings:
        expect(find_member(desk, phone=spelling).emails[0].address == home.email, "found by phone in any spelling")
    scripts = [prefix for prefix in _BEGINNINGS if _found(desk, name_prefix=prefix)]
    expect(len(scripts) == len(_BEGINNINGS), "beginnings of names are found in any script")
    return f"by e-mail, by phone in {1 + len(spellings)} spellings, by beginnings of names such as {', '.join(scripts)}"


def list_people(memory: Memory) -> str:
    stub, tenant = memory.standard.contacts, memory.standard.tenant
    listed, token = 0, ""
    while True:
        page = stub.ListContacts(pb.ListContactsRequest(parent=tenant, tag=_TAG, page_size=500, page_token=token))
        listed, token = listed + len(page.contacts), page.next_page_token
        if not token:
            break
    owned = stub.ListContacts(pb.ListContactsRequest(parent=tenant, owner=memory.administrator.user, page_size=5))
    expect(len(owned.contacts) == 5, "contacts are listed by owner")
    nobody = stub.ListContacts(pb.ListContactsRequest(parent=tenant, owner=memory.standard.user))
    expect(not nobody.contacts, "an owner without contacts has an empty list")
    expect(listed > 2000, "contacts are listed by tag, page by page")
    return f"{listed} by tag in pages of 500, and by owner"


def edit(memory: Memory) -> str:
    stub, seen = memory.standard.contacts, memory.people["living"]
    changed = pb.Contact(name=seen.name, etag=seen.etag, person=pb.Person(job_title="Dulcivarist"))
    request = pb.UpdateContactRequest(contact=changed, request_id=request_id())
    request.update_mask.paths.append("person.job_title")
    fresh = stub.UpdateContact(request)
    expect(fresh.person.job_title == "Dulcivarist" and fresh.etag != seen.etag, "an edit is kept under a new etag")
    request.request_id = request_id()
    with refused("ETAG_MISMATCH", "an edit of what somebody else has changed"):
        stub.UpdateContact(request)
    memory.people["living"] = fresh
    return "kept with the right etag, refused with a stale one"


def write_history(memory: Memory) -> str:
    memory.notes = (
        "Asked for the brindlewhist catalogue.",
        "Rang about the snorkelberry order.",
        "Thanks for the quibblefern sample!",
    )
    kinds = (pb.Entry.NOTE, pb.Entry.CALL, pb.Entry.EMAIL)
    for role in ("purged", "living"):
        for kind, text in zip(kinds, memory.notes, strict=True):
            entry = pb.Entry(kind=kind, body=text if role == "purged" else f"For {role}: all is well.")
            parent = memory.people[role].name
            memory.standard.contacts.CreateEntry(
                pb.CreateEntryRequest(parent=parent, entry=entry, request_id=request_id())
            )
    entries = _history(memory.standard, memory.people["purged"].name)
    expect(len(entries) == 3, "the history has what was written")
    return "a note, a call and an e-mail each for two people"


def refuse_card(memory: Memory) -> str:
    entry = pb.Entry(kind=pb.Entry.NOTE, body="Pays with 4111 1111 1111 1111, says it is fine.")
    request = pb.CreateEntryRequest(parent=memory.people["living"].name, entry=entry, request_id=request_id())
    with refused("CARD_NUMBER", "a card number in a note"):
        memory.standard.contacts.CreateEntry(request)
    return "a note with a card number is refused"


def delete(memory: Memory) -> str:
    seen = memory.people["purged"]
    gone = throw_away(memory.standard, seen.name)
    expect(gone.state == pb.Contact.DELETED, "what is deleted is in the trash")
    kept = gone.purge_time.ToDatetime() - gone.delete_time.ToDatetime()
    expect(kept.total_seconds() == 30 * 24 * 3600, "it says when it is destroyed: in exactly 30 x 24 hours")
    expect(not _found(memory.standard, email=sample.member("purged").email), "it is gone from search")
    listed = memory.standard.contacts.ListContacts(
        pb.ListContactsRequest(parent=memory.standard.tenant, page_size=1000)
    )
    expect(all(each.name != seen.name for each in listed.contacts), "it is gone from lists")
    return f"gone from lists and search; destroyed at {gone.purge_time.ToJsonString()} unless it is taken back"


def restore(memory: Memory) -> str:
    seen = memory.people["purged"]
    request = pb.UndeleteContactRequest(name=seen.name, request_id=request_id())
    back = memory.standard.contacts.UndeleteContact(request)
    expect(back == seen, "what is restored is the same, field for field")
    bodies = sorted(entry.body for entry in _history(memory.standard, seen.name))
    expect(bodies == sorted(memory.notes), "its history is back with it")
    photo = pb.GetPhotoRequest(name=f"{seen.name}/photo")
    expect(not seen.has_photo or memory.standard.contacts.GetPhoto(photo).content, "its photo is back with it")
    return "the same bytes, the history included"


def refuse_purge(memory: Memory) -> str:
    name = memory.people["purged"].name
    throw_away(memory.standard, name)
    for desk, who in ((memory.standard, "a standard user"), (memory.administrator, "an administrator")):
        with refused("PERMISSION_DENIED", f"{who} who purges"):
            desk.contacts.PurgeContact(pb.PurgeContactRequest(name=name, confirm=True, request_id=request_id()))
    with refused("CONFIRMATION_REQUIRED", "a super administrator who does not confirm"):
        memory.chief.contacts.PurgeContact(pb.PurgeContactRequest(name=name, request_id=request_id()))
    return "not by a standard user, not by an administrator, not without the confirmation"


def purge(memory: Memory) -> str:
    name, named = memory.people["purged"].name, request_id()
    request = pb.PurgeContactRequest(name=name, confirm=True, request_id=named)
    answer = memory.chief.contacts.PurgeContact(request)
    expect(memory.chief.contacts.PurgeContact(request).receipt == answer.receipt, "asked again, it gives its receipt")
    memory.erasures["purged"] = answer.erasure
    memory.receipts["purged"] = memory.keep("receipt-purged.jws", answer.receipt)
    with refused("NOT_FOUND", "reading what was destroyed"):
        memory.chief.contacts.GetEntry(pb.GetEntryRequest(name=f"{name}/entries/n0"))
    return "destroyed, with a receipt; asked again under the same request id, it gives the same one"


def come_late(memory: Memory) -> str:
    stale = memory.people["purged"]
    form = pb.UpdateContactRequest(
        contact=pb.Contact(name=stale.name, person=pb.Person(nickname="Zeph")), request_id=request_id()
    )
    form.update_mask.paths.append("person.nickname")
    with refused("SUBJECT_ERASED", "a form that was opened before and is saved now"):
        memory.standard.contacts.UpdateContact(form)
    note = pb.CreateEntryRequest(
        parent=stale.name, entry=pb.Entry(kind=pb.Entry.NOTE, body="One more thing."), request_id=request_id()
    )
    with refused("SUBJECT_ERASED", "a note for somebody who was erased"):
        memory.standard.contacts.CreateEntry(note)
    google = send_file(
        memory.administrator,
        sample.read(sample.GOOGLE),
        pb.ImportContactsRequest.GOOGLE_CSV,
        tags=[_TAG],
        named=_sending(sample.GOOGLE),
    )
    reasons = [row.reason for row in google.refused_rows]
    expect(google.created == 0 and "SUBJECT_ERASED" in reasons, "the import, sent again, does not bring them back")
    return "a stale form, a late note and a repeated import all get SUBJECT_ERASED"


def _sending(file: str) -> str:
    return named_request(sha256(file.encode()).digest())


def _found(desk: Desk, **by: str) -> Sequence[pb.Contact]:
    return desk.contacts.SearchContacts(pb.SearchContactsRequest(parent=desk.tenant, **by)).contacts  # type: ignore[arg-type]


def find_member(desk: Desk, **by: str) -> pb.Contact:
    """Find the one contact that answers to an e-mail address, a phone number or the beginning of a name."""
    found = _found(desk, **by)
    expect(len(found) == 1, f"exactly one contact is found by {', '.join(by)}, not {len(found)}")
    return found[0]


def _history(desk: Desk, contact: str) -> Sequence[pb.Entry]:
    return desk.contacts.ListEntries(pb.ListEntriesRequest(parent=contact)).entries


WORK: Final[Sequence[Step]] = (
    ("sign up a company, accept its documents, invite colleagues", found_company),
    ("sign in", arrive),
    ("import four address books", import_books),
    ("import them again", import_again),
    ("find people", find_people),
    ("list people", list_people),
    ("edit somebody", edit),
    ("write their history", write_history),
    ("refuse a card number", refuse_card),
    ("delete somebody", delete),
    ("take them back", restore),
    ("refuse to purge", refuse_purge),
    ("purge, with the confirmation", purge),
    ("refuse whoever comes late", come_late),
)
