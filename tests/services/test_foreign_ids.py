"""Another tenant's id cannot be told from one that nobody has: not by a byte of the answer, nor by how long it takes.

Time is compared by rank: foreign and unknown ids are asked for in pairs, in random order, and how often the foreign one
took longer must look like the toss of a coin (the sign test). A slow machine makes both slow; it tosses no coin.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import attrs
import pytest
from hypothesis import settings

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.holder.v1 import holder_pb2
from capsule_core.errors import CapsuleError
from capsule_core.names import SubjectKey, TenantId
from capsule_services.runtime.faults import refusal
from capsule_services.runtime.holders.servicer import HolderServicer
from capsule_services.runtime.opening import open_holding
from tests.services.office import KINDS, Desk, Office, deleted, host, note, office, person, purged, service_desk

STRICT: Final = settings().max_examples >= 2_000
PAIRS: Final = 10_000 if STRICT else 1_000
BIAS: Final = 0.02 if STRICT else 0.07
"""So far from a half the share may be: four standard deviations of a fair coin that is tossed so often."""
TRIES: Final = 3
HOLDER: Final = holder_pb2.DESCRIPTOR.services_by_name["HolderService"]
PEOPLE: Final = 30


@attrs.frozen
class Neighbours:
    """A tenant that asks, and ids of two kinds: its neighbour's, in every state there is, and nobody's."""

    office: Office
    desk: Desk
    holder: Desk
    foreign: Sequence[str]
    unknown: Sequence[str]


@pytest.fixture(params=["files", "server"])
def neighbours(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Neighbours]:
    more: dict[str, Path] = {}
    if request.param == "server":
        more["database"] = tmp_path / "database.url"
        more["database"].write_text(request.getfixturevalue("database").url)
    opened = open_holding(host(tmp_path, **more), "contacts", KINDS)
    here = office(opened, tmp_path)
    desk, neighbour = here.desk("acme"), here.desk("zeta")
    for each in (desk, neighbour):
        kept = [person(each) for _ in range(PEOPLE)]
        note(each, kept[0])
        for contact in kept[:6]:
            deleted(each, contact)
        for contact in kept[6:9]:
            purged(each, contact)
    ids = [contact.name.rpartition("/")[2] for contact in kept]
    # As old as theirs, so that they would lie beside them.
    nobodys = [f"{name[:12]}{here.holding.new_id('c')[12:]}" for name in ids]
    holder = service_desk(HOLDER, HolderServicer(opened.holding, opened.signer, opened.paging), "privacy")
    yield Neighbours(here, desk, holder, ids, nobodys)
    opened.close()


Ask = Callable[[Neighbours, str], object]


def contact_of(here: Neighbours, name: str) -> str:
    return f"{here.desk.tenant}/contacts/{name}"


def entry_of(here: Neighbours, name: str) -> str:
    return f"{contact_of(here, name)}/entries/n{name[1:]}"


def hold_of(here: Neighbours, name: str) -> str:
    return f"{here.desk.tenant}/holds/h{name[1:]}"


def list_of(here: Neighbours, name: str) -> str:
    return f"{here.desk.tenant}/contactLists/l{name[1:]}"


def hold_on(here: Neighbours, target: str, **more: str) -> pb.PlaceHoldRequest:
    hold = pb.Hold(target=target, ground=pb.Hold.ARCHIVING, authority="the archivist", **more)
    return pb.PlaceHoldRequest(parent=here.desk.tenant, hold=hold)


def updated(message: Any, path: str) -> Any:
    message.update_mask.paths.append(path)
    return message


METHODS: dict[str, Ask] = {
    "GetContact": lambda here, name: here.desk.GetContact(pb.GetContactRequest(name=contact_of(here, name))),
    "UpdateContact": lambda here, name: here.desk.UpdateContact(
        updated(pb.UpdateContactRequest(contact=pb.Contact(name=contact_of(here, name))), "person.nickname")
    ),
    "DeleteContact": lambda here, name: here.desk.DeleteContact(pb.DeleteContactRequest(name=contact_of(here, name))),
    "UndeleteContact": lambda here, name: here.desk.UndeleteContact(
        pb.UndeleteContactRequest(name=contact_of(here, name))
    ),
    "PurgeContact": lambda here, name: here.desk.PurgeContact(
        pb.PurgeContactRequest(name=contact_of(here, name), confirm=True)
    ),
    "PrintContact": lambda here, name: here.desk.PrintContact(pb.PrintContactRequest(name=contact_of(here, name))),
    "GetPhoto": lambda here, name: here.desk.GetPhoto(pb.GetPhotoRequest(name=f"{contact_of(here, name)}/photo")),
    "CreateEntry": lambda here, name: here.desk.CreateEntry(
        pb.CreateEntryRequest(parent=contact_of(here, name), entry=pb.Entry(kind=pb.Entry.NOTE, body="Rang."))
    ),
    "ListEntries": lambda here, name: here.desk.ListEntries(pb.ListEntriesRequest(parent=contact_of(here, name))),
    "GetEntry": lambda here, name: here.desk.GetEntry(pb.GetEntryRequest(name=entry_of(here, name))),
    "UpdateEntry": lambda here, name: here.desk.UpdateEntry(
        updated(pb.UpdateEntryRequest(entry=pb.Entry(name=entry_of(here, name), body="Rang.")), "body")
    ),
    "DeleteEntry": lambda here, name: here.desk.DeleteEntry(pb.DeleteEntryRequest(name=entry_of(here, name))),
    "UndeleteEntry": lambda here, name: here.desk.UndeleteEntry(pb.UndeleteEntryRequest(name=entry_of(here, name))),
    "PlaceHold": lambda here, name: here.desk.PlaceHold(hold_on(here, contact_of(here, name))),
    "PlaceHold on an entry": lambda here, name: here.desk.PlaceHold(hold_on(here, entry_of(here, name), field="body")),
    "GetHold": lambda here, name: here.desk.GetHold(pb.GetHoldRequest(name=hold_of(here, name))),
    "ReleaseHold": lambda here, name: here.desk.ReleaseHold(pb.ReleaseHoldRequest(name=hold_of(here, name))),
    "GetContactList": lambda here, name: here.desk.GetContactList(pb.GetContactListRequest(name=list_of(here, name))),
    "TrashListedContacts": lambda here, name: here.desk.TrashListedContacts(
        pb.TrashListedContactsRequest(name=list_of(here, name))
    ),
    "ListListedContacts": lambda here, name: here.desk.ListListedContacts(
        pb.ListListedContactsRequest(parent=list_of(here, name))
    ),
}
"""Every method that takes a name, and refuses one that is nobody's."""

SILENT: dict[str, Ask] = {
    "Collect": lambda here, name: here.holder.Collect(
        holder_pb2.CollectRequest(parent=here.desk.tenant, subjects=[contact_of(here, name)])
    ),
    "Erase": lambda here, name: here.holder.Erase(
        holder_pb2.EraseRequest(erasure=f"{here.desk.tenant}/erasures/e{name[1:]}", subjects=[contact_of(here, name)])
    ),
    "ListHolds": lambda here, name: here.desk.ListHolds(
        pb.ListHoldsRequest(parent=here.desk.tenant, contact=contact_of(here, name))
    ),
    "ListContacts": lambda here, name: here.desk.ListContacts(
        pb.ListContactsRequest(parent=here.desk.tenant, owner=f"{here.desk.tenant}/users/{name}")
    ),
}
"""Methods that take a name and answer that there is nothing."""


def answer(here: Neighbours, ask: Ask, name: str) -> bytes:
    """Ask, and return what leaves on the wire, the id itself apart."""
    try:
        told = ask(here, name)
    except CapsuleError as error:
        status = refusal(error, domain="contacts.capsule")
        told_of = [str(status.code), status.details, *map(str, status.trailing_metadata)]
        return "\n".join(told_of).encode().replace(name.encode(), b"NAME").replace(name[1:].encode(), b"NAME")
    messages = told if isinstance(told, list) else [told]
    return b"\n".join(each.SerializeToString(deterministic=True) for each in messages).replace(name.encode(), b"NAME")


@pytest.mark.law("L1")
def test_a_foreign_id_gets_the_same_bytes_as_an_unknown_one_from_every_method_that_takes_a_name(
    neighbours: Neighbours,
) -> None:
    for method, ask in {**METHODS, **SILENT}.items():
        foreign = {answer(neighbours, ask, name) for name in neighbours.foreign}
        unknown = {answer(neighbours, ask, name) for name in neighbours.unknown}
        assert foreign == unknown, method
        assert len(foreign) == 1, f"{method}: whatever state it is in at its own tenant"


def test_the_bytes_would_differ_if_a_tenant_asked_for_its_own(neighbours: Neighbours) -> None:
    own = person(neighbours.desk).name.rpartition("/")[2]
    for method in ("GetContact", "DeleteContact"):
        assert answer(neighbours, METHODS[method], own) != answer(neighbours, METHODS[method], neighbours.unknown[0])


def seconds(ask: Callable[[], object]) -> float:
    began = time.perf_counter()
    with suppress(CapsuleError):
        ask()
    return time.perf_counter() - began


def took_longer(here: Neighbours, asks: Sequence[tuple[Ask, Ask]], pairs: int) -> float:
    """Return in which share of *pairs* the foreign id took longer; each pair is of one method, in random order."""
    chance, longer = random.Random(pairs), 0.0  # noqa: S311
    gc.collect()
    gc.disable()
    try:
        for number in range(pairs):
            foreign, unknown = asks[number % len(asks)]
            both = [(foreign, chance.choice(here.foreign)), (unknown, chance.choice(here.unknown))]
            first = chance.randrange(2)
            taken = [0.0, 0.0]
            for which in (first, 1 - first):
                ask, name = both[which]
                taken[which] = seconds(lambda ask=ask, name=name: ask(here, name))
            longer += 0.5 if taken[0] == taken[1] else float(taken[0] > taken[1])
    finally:
        gc.enable()
    return longer / pairs


def shares(here: Neighbours, asks: Sequence[tuple[Ask, Ask]]) -> Iterator[float]:
    took_longer(here, asks, 50)  # what is done for the first time takes longer, whoever asks
    for _ in range(TRIES):
        yield took_longer(here, asks, PAIRS)


@pytest.mark.law("L1")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("methods", [["GetContact"], [name for name in METHODS if name != "GetContact"]], ids=len)
def test_a_foreign_id_takes_as_long_as_an_unknown_one(neighbours: Neighbours, methods: list[str]) -> None:
    asks = [(METHODS[method], METHODS[method]) for method in methods]
    seen: list[float] = []
    for share in shares(neighbours, asks):
        seen.append(round(share, 3))
        if abs(share - 0.5) <= BIAS:
            return
    raise AssertionError(f"the foreign one took longer in {seen} of all pairs")


def nosy(here: Neighbours, name: str) -> None:
    """As GetContact, with one more question to the store."""
    here.office.holding.repository.store.subjects(TenantId("zeta"), [SubjectKey(name)])
    METHODS["GetContact"](here, name)


def slow(here: Neighbours, name: str) -> None:
    """As GetContact, thirty microseconds later."""
    until = time.perf_counter() + 30e-6
    while time.perf_counter() < until:
        pass
    METHODS["GetContact"](here, name)


@pytest.mark.parametrize("neighbours", ["files", "server"], indirect=True)
def test_one_more_question_to_the_store_would_be_seen(neighbours: Neighbours) -> None:
    assert any(share - 0.5 > BIAS for share in shares(neighbours, [(nosy, METHODS["GetContact"])]))


@pytest.mark.parametrize("neighbours", ["files"], indirect=True)
def test_thirty_microseconds_would_be_seen(neighbours: Neighbours) -> None:
    assert any(share - 0.5 > BIAS for share in shares(neighbours, [(slow, METHODS["GetContact"])]))
