"""Streams of records: a hundred a message, nothing before its leaf, flat memory, and on again after a lost line."""

from __future__ import annotations

import base64
import contextlib
import gc
import re
import tracemalloc
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.contacts.v1 import contacts_pb2_grpc
from capsule_api.holder.v1 import holder_pb2
from capsule_core import codec
from capsule_core.contacts import Entry, Person, Photo
from capsule_core.errors import InvalidField, PageTokenInvalid
from capsule_core.ledger import Leaf
from capsule_core.names import RecordId, TenantId
from capsule_core.records import Shelf, Where
from capsule_core.repository import A_MESSAGE, Draft
from capsule_core.uses import Use
from capsule_core.witness import subject_commitments
from capsule_services.contacts.presence import photo_id
from capsule_services.runtime.callers import Authenticator, ServiceCaller
from capsule_services.runtime.calls import CURRENT, Call
from capsule_services.runtime.certificates import CLIENT, prepared
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.holders import convert
from capsule_services.runtime.holders.servicer import HolderServicer
from capsule_services.runtime.packing import packed
from capsule_services.runtime.server import Served, opened
from capsule_services.runtime.tokens import KeyRing, published
from tests.services.chassis import KEY, anna, token, wall
from tests.services.office import (
    CONTACTS,
    Desk,
    Office,
    deleted,
    office,
    opened_on,
    person,
    service_desk,
    somebody,
)

FILES = (pb.ExportContactsRequest.JSON, pb.ExportContactsRequest.CSV, pb.ExportContactsRequest.VCARD)
RECORDS = pb.ExportContactsRequest.RECORDS
HOLDER = holder_pb2.DESCRIPTOR.services_by_name["HolderService"]


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    held = opened_on(request.param, folder)
    yield office(held, folder)
    held.close()


@pytest.fixture(scope="module")
def book(here: Office) -> Desk:
    """A book of 23 contacts, some with a history and a photo."""
    desk = here.desk()
    fill(here, desk, 23)
    return desk


def fill(here: Office, desk: Desk, count: int, *, about: str = "", photo: str = "", photos: int = 3) -> None:
    """Keep contacts with a note or two; the first ones have a photo."""
    drafts = []
    for number in range(count):
        name = here.holding.new_id("c")
        drafts.append(Draft(Person(id=name, given_name=f"Ada{number}", about=about)))
        for nth in range(number % 3):
            at = f"2026-05-04T09:3{nth}:00Z"
            made = Entry(id=here.holding.new_id("n"), contact=name, channel="note", occurred_at=at, body="Rang.")
            drafts.append(Draft(made, root=RecordId(name)))
        if number < photos:
            made_of = Photo(id=photo_id(name), contact=name, media_type="image/png", data=photo or "iVBORw0KGgo=")
            drafts.append(Draft(made_of, root=RecordId(name)))
    call = Call(
        method="/capsule_api.contacts.v1.ContactsService/ImportContacts",
        permission="p",
        use=Use.IMPORT,
        caller=desk.caller,
        tenant=tenant_of(desk),
    )
    for start in range(0, len(drafts), 200):
        here.holding.repository.add(drafts[start : start + 200], act=here.holding.act(call))


def tenant_of(desk: Desk) -> TenantId:
    return TenantId(desk.tenant.removeprefix("tenants/"))


def asked(desk: Desk, format_: Any, **fields: Any) -> pb.ExportContactsRequest:
    return pb.ExportContactsRequest(parent=desk.tenant, format=format_, **fields)


def flowing(desk: Desk, request: Any, use: Use = Use.EXPORT) -> Iterator[Any]:
    """Call a stream as the chassis does, and take its messages one by one."""
    method = f"/{desk.service.full_name}/{'Collect' if use is Use.SUBJECT_ACCESS else 'ExportContacts'}"
    tenant = TenantId(request.parent.removeprefix("tenants/"))
    CURRENT.set(Call(method=method, permission="p", use=use, caller=desk.caller, tenant=tenant))
    return iter(getattr(desk.servicer, method.rpartition("/")[2])(request, None))


def resumed(desk: Desk, request: Any, sizes: Sequence[int], use: Use = Use.EXPORT) -> list[Any]:
    """Lose the line again and again; keep what came up to the last message with a token, and go on from there."""
    kept: list[Any] = []
    for size in sizes:
        messages = list(flowing(desk, request, use))
        part = messages[:size]
        while part and not part[-1].next_page_token:
            part.pop()
        kept += part
        if part:
            request.page_token = part[-1].next_page_token
    return kept + list(flowing(desk, request, use))


sizes = st.lists(st.integers(0, 5), max_size=4)


@given(format_=st.sampled_from(FILES), sizes=sizes, page=st.integers(1, 9))
@settings(max_examples=25)
def test_a_file_whose_line_was_lost_goes_on_without_loss_or_repetition(
    book: Desk, format_: Any, sizes: list[int], page: int
) -> None:
    whole = b"".join(message.data for message in flowing(book, asked(book, format_)))
    parts = resumed(book, asked(book, format_, page_size=page), sizes)
    assert b"".join(message.data for message in parts) == whole


@given(sizes=sizes, page=st.integers(1, 9))
@settings(max_examples=10)
def test_records_whose_line_was_lost_go_on_without_loss_or_repetition(book: Desk, sizes: list[int], page: int) -> None:
    whole = [record.content for message in flowing(book, asked(book, RECORDS)) for record in message.records]
    parts = resumed(book, asked(book, RECORDS, page_size=page), sizes)
    assert sorted(record.content for message in parts for record in message.records) == sorted(whole)
    assert len(whole) == 23 + 22 + 3


def test_what_is_kept_and_thrown_away_meanwhile_moves_nobody(here: Office) -> None:
    desk = here.desk()
    names = [person(desk, f"Ada{number}").name for number in range(9) if here.advance(timedelta(seconds=1))]
    stream = flowing(desk, asked(desk, RECORDS, page_size=2))
    first = next(stream)
    gone = desk.GetContact(pb.GetContactRequest(name=names[8])), desk.GetContact(pb.GetContactRequest(name=names[3]))
    for each in gone:
        deleted(desk, each)
    person(desk, "Zoe")
    request = asked(desk, RECORDS, page_size=2, page_token=first.next_page_token)
    rest = [record.name for message in flowing(desk, request) for record in message.records]
    assert [record.name for record in first.records] + rest == [names[n] for n in (8, 7, 6, 5, 4, 2, 1, 0)]


def test_a_token_is_for_the_same_caller_tenant_method_and_format_only(here: Office, book: Desk) -> None:
    token = next(flowing(book, asked(book, RECORDS, page_size=5))).next_page_token
    assert token
    assert list(flowing(book, asked(book, RECORDS, page_size=7, page_token=token)))
    other = attrs.evolve(book, caller=somebody(tenant_of(book), user="u2"))
    for desk, request in (
        (book, asked(book, pb.ExportContactsRequest.JSON, page_token=token)),
        (other, asked(other, RECORDS, page_token=token)),
        (here.desk(), asked(here.desk(), RECORDS, page_token=token)),
        (book, asked(book, RECORDS, page_token=token[:-2] + "AA")),
        (book, asked(book, RECORDS, page_token="x")),
    ):
        with pytest.raises(PageTokenInvalid):
            list(flowing(desk, request))
    with pytest.raises(PageTokenInvalid):
        book.ListContacts(pb.ListContactsRequest(parent=book.tenant, page_token=token))
    with pytest.raises(InvalidField, match="page_size"):
        list(flowing(book, asked(book, RECORDS, page_size=-1)))


def test_records_leave_as_they_were_sealed(here: Office, book: Desk) -> None:
    kinds, kept = here.holding.repository.kinds, {}
    for page in here.holding.repository.stream(Where(tenant=tenant_of(book)), use=Use.EXPORT):
        kept |= {data: record for record, data in zip(page.records, page.contents, strict=True)}
    sent = [record for message in flowing(book, asked(book, RECORDS)) for record in message.records]
    assert {record.content for record in sent} == set(kept)
    for record in sent:
        sealed = kept[record.content]
        assert record.name == f"{book.tenant}/contacts/{sealed.root}"
        assert record.kind == sealed.kind
        assert record.create_time.ToMicroseconds() == record.update_time.ToMicroseconds() > 0
        value = codec.decode(record.content, kinds[record.kind], 1)
        assert codec.encode(value) == record.content


def test_a_hundred_records_go_in_a_message_and_an_empty_book_in_one_without_any(here: Office) -> None:
    desk = here.desk()
    assert [len(message.records) for message in flowing(desk, asked(desk, RECORDS))] == [0]
    fill(here, desk, 250, photos=0)
    every = [message.records for message in flowing(desk, asked(desk, RECORDS))]
    assert max(map(len, every)) == A_MESSAGE
    contacts = [len({record.name for record in records if record.kind == "person"}) for records in every]
    assert sum(contacts) == 250
    parts = 3  # a hundred contacts and what hangs on them each; only the last message of one is not full
    assert len(every) <= sum(map(len, every)) // A_MESSAGE + parts
    assert [len(message.records) for message in flowing(desk, asked(desk, RECORDS, page_size=1000))] == [
        *map(len, every)
    ]


@pytest.mark.parametrize("format_", [*FILES, RECORDS])
def test_nobody_leaves_before_the_leaf_that_says_so(here: Office, format_: Any) -> None:
    desk = here.desk()
    fill(here, desk, 30)
    where = Where(tenant=tenant_of(desk), kinds=("person",))
    everybody = here.holding.repository.select(where, use=Use.EXPORT, limit=99).records
    seen = b""
    for message in flowing(desk, asked(desk, format_, page_size=4)):
        told = {subject for leaf in leaves_of(here, desk) for subject in leaf.subjects}
        seen += message.data + b"".join(record.content + b"," for record in message.records)
        slots = {
            kept.subject: kept.slot for kept in everybody if re.search(rf"{kept.content.given_name}\b".encode(), seen)
        }
        assert slots
        assert set(subject_commitments(here.holding.vault, tenant_of(desk), slots)) <= told
    assert len(slots) == 30
    counted = sum(leaf.records for leaf in leaves_of(here, desk))
    assert counted == {RECORDS: 63, FILES[0]: 63, FILES[1]: 30, FILES[2]: 33}[format_]


def leaves_of(here: Office, desk: Desk) -> list[Leaf]:
    leaves = map(Leaf.decode, here.holding.reads.ledger.read(0, 1 << 20))
    return [leaf for leaf in leaves if leaf.tenant == tenant_of(desk)]


def test_no_more_is_opened_than_somebody_takes(here: Office) -> None:
    desk = here.desk()
    fill(here, desk, 900, photos=0)
    before = opened_so_far(here, desk)
    stream = flowing(desk, asked(desk, RECORDS))
    assert opened_so_far(here, desk) == before
    next(stream)
    assert opened_so_far(here, desk) <= 300


def opened_so_far(here: Office, desk: Desk) -> int:
    return sum(leaf.records for leaf in leaves_of(here, desk))


@pytest.mark.parametrize("format_", [FILES[0], RECORDS])
def test_memory_stays_flat_whatever_lies_in_the_book(tmp_path: Path, format_: Any) -> None:
    opened_here = opened_on("sqlite", tmp_path)
    there = office(opened_here, tmp_path)
    desk = there.desk()
    photo = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(1_900_000)).decode()
    fill(there, desk, 400, about="x" * 50_000, photo=photo, photos=16)
    gc.collect()
    tracemalloc.start()
    try:
        size = sum(message.ByteSize() for message in flowing(desk, asked(desk, format_)))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        opened_here.close()
    assert size > 50 * 2**20
    assert most < 32 * 2**20


def test_a_reader_who_stops_reading_stops_the_writer(tmp_path: Path) -> None:
    opened_here = opened_on("sqlite", tmp_path)
    there = office(opened_here, tmp_path)
    desk = there.desk("acme")
    fill(there, desk, 900, about="x" * 40_000, photos=0)
    with calling(there, tmp_path) as stub:
        stream = stub.ExportContacts(asked(desk, RECORDS))
        taken = len(next(stream).records)
        seen, now = -1, opened_so_far(there, desk)
        while seen != now:
            for _ in range(10):  # a stretch of work, in which a writer that waits for nobody would get on
                stub.ListContacts(pb.ListContactsRequest(parent=desk.tenant, tag="nobody"))
            seen, now = now, opened_so_far(there, desk)
        assert now < 900
        assert taken + sum(len(message.records) for message in stream) == 900 + 900
    opened_here.close()


@contextlib.contextmanager
def calling(there: Office, folder: Path) -> Iterator[contacts_pb2_grpc.ContactsServiceStub]:
    """Serve an office on the loopback, and call it as the user of the chassis's tests."""
    credentials = prepared(folder / "tls", ["contacts"], now=wall())
    served = Served(CONTACTS, contacts_pb2_grpc.add_ContactsServiceServicer_to_server, there.servicer)
    ring = KeyRing(lambda: published(KEY), wall)
    with opened(
        served,
        domain="contacts.capsule",
        listen="127.0.0.1:0",
        credential=credentials["contacts"],
        authenticator=Authenticator(verify=ring.verify, peers=frozenset({"contacts"})),
        observe=lambda _: None,
    ) as server:
        server.ready()
        address, credential = server.address, credentials[CLIENT]
        signed = token(anna())
        with open_channel(address, service="contacts", credential=credential, token=signed) as channel:
            yield contacts_pb2_grpc.ContactsServiceStub(channel)


@pytest.fixture(scope="module")
def holder(here: Office) -> Desk:
    opened_here = here.opened
    servicer = HolderServicer(here.holding, opened_here.signer, opened_here.paging)
    return service_desk(HOLDER, servicer, "privacy")


def everything(here: Office, desk: Desk) -> list[str]:
    where = Where(tenant=tenant_of(desk), shelf=Shelf.ANY, kinds=("person",))
    found = here.holding.repository.select(where, use=Use.SUBJECT_ACCESS, limit=1000).records
    return [f"{desk.tenant}/subjects/{kept.subject}" for kept in found]


def collected(holder: Desk, request: Any) -> list[Any]:
    return list(convert.collected_from(flowing(holder, request, Use.SUBJECT_ACCESS)))


@given(sizes=sizes, page=st.integers(0, 9))
@settings(max_examples=15)
def test_what_is_collected_goes_on_without_loss_or_repetition_as_well(
    here: Office, book: Desk, holder: Desk, sizes: list[int], page: int
) -> None:
    request = holder_pb2.CollectRequest(parent=book.tenant, subjects=everything(here, book))
    whole = collected(holder, request)
    request.page_size = page
    again = list(convert.collected_from(resumed(holder, request, sizes, Use.SUBJECT_ACCESS)))
    assert again == whole
    assert len(whole) == 23 + 22 + 3


def test_whoever_does_not_ask_for_more_collects_one_record_a_message(here: Office, book: Desk, holder: Desk) -> None:
    request = holder_pb2.CollectRequest(parent=book.tenant, subjects=everything(here, book))
    alone = list(flowing(holder, request, Use.SUBJECT_ACCESS))
    assert len(alone) == 48
    assert all(message.HasField("record") and not message.records for message in alone)
    request.page_size = 1000
    together = list(flowing(holder, request, Use.SUBJECT_ACCESS))
    assert len(together) <= 3
    assert [record for message in together for record in message.records] == [message.record for message in alone]


def test_a_token_of_a_collection_is_for_the_same_holder_caller_and_subjects_only(
    here: Office, book: Desk, holder: Desk
) -> None:
    subjects = everything(here, book)
    request = holder_pb2.CollectRequest(parent=book.tenant, subjects=subjects, page_size=5)
    tokens = [message.next_page_token for message in flowing(holder, request, Use.SUBJECT_ACCESS)]
    request.page_token = next(filter(None, tokens))
    assert list(flowing(holder, request, Use.SUBJECT_ACCESS))
    with pytest.raises(PageTokenInvalid):
        list(flowing(attrs.evolve(holder, caller=ServiceCaller("identity")), request, Use.SUBJECT_ACCESS))
    del request.subjects[0]
    with pytest.raises(PageTokenInvalid):
        list(flowing(holder, request, Use.SUBJECT_ACCESS))


@given(st.lists(st.integers(0, 3 << 19), max_size=300), st.integers(1, 100))
def test_what_is_packed_is_all_of_it_in_order_and_no_load_is_more_than_may_be(weights: list[int], most: int) -> None:
    loads = list(packed(weights, int, most=most))
    assert [weight for load in loads for weight in load] == weights
    assert all(1 <= len(load) <= most for load in loads)
    assert all(len(load) == 1 or sum(load) <= 1 << 20 for load in loads)
    joined = pairwise(loads)
    assert all(len(load) == most or sum(load) + following[0] > 1 << 20 for load, following in joined)
