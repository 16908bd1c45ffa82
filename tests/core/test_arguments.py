"""The front door: whatever is not what a method says it takes is refused by its name, before anything is done."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import attrs
import pytest

from capsule_core.arguments import LONGEST_TEXT
from capsule_core.errors import CapsuleError, InvalidField
from capsule_core.holds import Ground
from capsule_core.kept import Kept
from capsule_core.moments import Event
from capsule_core.names import ActorRef, SubjectRef, TenantId
from capsule_core.personal import Category, Exact, Form, Personal, Plain, Words, kind
from capsule_core.privacy import Privacy
from capsule_core.receipts import verify

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
ME = ActorRef("robot", "x")
WHO = SubjectRef(TenantId("acme"), "customer", "c-1")


@attrs.frozen
class Line:
    number: str
    label: str = ""


@kind("ticket", subject="customer")
@attrs.frozen
class Ticket:
    id: str
    customer: str
    text: Annotated[str, Personal(Category.COMMUNICATION, purpose="support", search=Words())] = ""
    sender: Annotated[str, Personal(Category.CONTACT, purpose="support", search=Exact(Form.EMAIL))] = ""
    lines: Annotated[tuple[Line, ...], Personal(Category.CONTACT, purpose="support")] = ()
    alias: Annotated[str | None, Personal(Category.OTHER, purpose="support")] = None
    stars: Annotated[int, Plain("how many stars")] = 0


@kind("other", subject="customer")
@attrs.frozen
class Other:
    id: str
    customer: str


@attrs.frozen
class Door:
    p: Privacy
    kept: Kept[Any]
    trashed: Kept[Any]


@pytest.fixture(scope="module")
def door() -> Door:
    p = Privacy.in_memory(kinds=[Ticket])
    kept = p.save("acme", Ticket("t-1", "c-1", "the heating rattles"), by=ME, now=NOW)
    trashed = p.trash(p.save("acme", Ticket("t-2", "c-1"), by=ME, now=NOW), by=ME, now=NOW)
    return Door(p, kept, trashed)


def bad(value: Any) -> Any:
    return value


def save(door: Door, *, tenant: Any = "acme", by: Any = ME, now: Any = NOW, use: Any = None, **fields: Any) -> object:
    content = attrs.evolve(Ticket("t-9", "c-9"), **fields)
    return door.p.save(tenant, content, by=by, now=now, **({"use": use} if use else {}))


CALLS: dict[str, tuple[str, Callable[[Door], object]]] = {
    "now none": ("now", lambda d: save(d, now=None)),
    "now text": ("now", lambda d: save(d, now="2026")),
    "now naive": ("now", lambda d: save(d, now=datetime(2026, 3, 1))),  # noqa: DTZ001
    "by text": ("by", lambda d: save(d, by="me")),
    "by none": ("by", lambda d: save(d, by=None)),
    "by nobody": ("by.id", lambda d: save(d, by=ActorRef("user", ""))),
    "by a number": ("by.kind", lambda d: save(d, by=ActorRef(bad(7), "x"))),
    "tenant none": ("tenant", lambda d: save(d, tenant=None)),
    "use text": ("use", lambda d: save(d, use="edit")),
    "no id": ("id", lambda d: save(d, id="")),
    "id number": ("id", lambda d: save(d, id=5)),
    "subject none": ("customer", lambda d: save(d, customer=None)),
    "no subject": ("customer", lambda d: save(d, customer="")),
    "text number": ("text", lambda d: save(d, text=7)),
    "text none": ("text", lambda d: save(d, text=None)),
    "text half": ("text", lambda d: save(d, text="\ud800")),
    "text nul": ("text", lambda d: save(d, text="a\0b")),
    "text large": ("text", lambda d: save(d, text="x" * (LONGEST_TEXT + 1))),
    "alias half": ("alias", lambda d: save(d, alias="\udfff")),
    "part number": ("lines[1].label", lambda d: save(d, lines=(Line("1"), Line("2", label=bad(3))))),
    "part nul": ("lines[0].number", lambda d: save(d, lines=(Line("\0"),))),
    "foreign kind": ("model", lambda d: d.p.save("acme", Other("o", "c"), by=ME, now=NOW)),
    "get id": ("own_id", lambda d: d.p.get(Ticket, "acme", bad(None))),
    "get model": ("model", lambda d: d.p.get(bad("ticket"), "acme", "t-1")),
    "get tenant": ("tenant", lambda d: d.p.get(Ticket, bad(None), "t-1")),
    "find equal": ("equal", lambda d: d.p.find(Ticket, "acme", equal=bad("x"))),
    "find pair": ("equal[1]", lambda d: d.p.find(Ticket, "acme", equal=bad(("sender", 7)))),
    "find pair half": ("equal[1]", lambda d: d.p.find(Ticket, "acme", equal=("sender", "\ud800"))),
    "find words": ("words", lambda d: d.p.find(Ticket, "acme", words=bad(7))),
    "find empty": ("words", lambda d: d.p.find(Ticket, "acme", words="")),
    "find blank": ("words", lambda d: d.p.find(Ticket, "acme", words=" \n")),
    "find signs": ("words", lambda d: d.p.find(Ticket, "acme", words="!!!")),
    "find none": ("limit", lambda d: d.p.find(Ticket, "acme", limit=0)),
    "find all": ("limit", lambda d: d.p.find(Ticket, "acme", limit=bad(None))),
    "trash": ("kept", lambda d: d.p.trash(bad("t-1"), by=ME, now=NOW)),
    "trash now": ("now", lambda d: d.p.trash(d.kept, by=ME, now=bad(None))),
    "restore": ("kept", lambda d: d.p.restore(bad(None), by=ME, now=NOW)),
    "restore by": ("by", lambda d: d.p.restore(d.trashed, by=bad("me"), now=NOW)),
    "sweep": ("now", lambda d: d.p.sweep(now=bad("2026"))),
    "reasons": ("who", lambda d: d.p.reasons(bad("c-1"))),
    "discharge": ("who", lambda d: d.p.discharge(bad(None), by=ME, now=NOW)),
    "readmit form": ("form", lambda d: d.p.readmit("acme", bad("email"), "x@y.cc", evidence="e", by=ME, now=NOW)),
    "readmit value": ("value", lambda d: d.p.readmit("acme", Form.EMAIL, bad(7), evidence="e", by=ME, now=NOW)),
    "subject tenant": ("tenant", lambda _: SubjectRef(bad(None), "customer", "c-1")),
    "plan text": ("who", lambda d: d.p.erase.plan(bad("c1"), by=ME, now=NOW)),
    "plan nobody": ("who.id", lambda d: d.p.erase.plan(SubjectRef(TenantId("acme"), "customer", ""), by=ME, now=NOW)),
    "plan now": ("now", lambda d: d.p.erase.plan(WHO, by=ME, now=bad(None))),
    "plan by": ("by", lambda d: d.p.erase.plan(WHO, by=bad(None), now=NOW)),
    "run": ("plan", lambda d: d.p.erase.run(bad(None), now=NOW)),
    "run now": ("now", lambda d: d.p.erase.run(d.p.erase.plan(WHO, by=ME, now=NOW), now=bad("2026"))),
    "hold on": ("on", lambda d: d.p.holds.place(bad(7), ground=Ground.ARCHIVING, authority="a", by=ME, now=NOW)),
    "hold ground": ("ground", lambda d: d.p.holds.place(WHO, ground=bad("x"), authority="a", by=ME, now=NOW)),
    "hold authority": (
        "authority",
        lambda d: d.p.holds.place(WHO, ground=Ground.ARCHIVING, authority=bad(7), by=ME, now=NOW),
    ),
    "hold reason": (
        "reason",
        lambda d: d.p.holds.place(WHO, ground=Ground.ARCHIVING, authority="a", reason=bad(7), by=ME, now=NOW),
    ),
    "hold now": ("now", lambda d: d.p.holds.place(WHO, ground=Ground.ARCHIVING, authority="a", by=ME, now=bad(None))),
    "release": ("hold", lambda d: d.p.holds.release(bad("h1"), by=ME, now=NOW)),
    "standing": ("tenant", lambda d: d.p.holds.standing(bad(None))),
    "policy": ("policy", lambda d: d.p.retention.set("acme", bad(None), by=ME, now=NOW)),
    "policy by": ("by", lambda d: d.p.retention.set("acme", "{}", by=bad("me"), now=NOW)),
    "explain": ("kept", lambda d: d.p.retention.explain(bad("t-1"), now=NOW)),
    "forecast": ("now", lambda d: d.p.retention.forecast("acme", now=bad(None))),
    "forecast weeks": ("weeks", lambda d: d.p.retention.forecast("acme", now=NOW, weeks=bad("12"))),
    "simulate": ("policy", lambda d: d.p.retention.simulate("acme", bad(7), now=NOW)),
    "happened": ("event", lambda d: d.p.retention.happened(WHO, bad("x"), at=NOW)),
    "happened at": ("at", lambda d: d.p.retention.happened(WHO, Event.CONTACTED, at=bad("x"))),
    "retention": ("now", lambda d: d.p.retention.run(now=bad(None))),
    "verify text": ("receipt", lambda d: verify(bad("a string"), d.p.public_key)),
    "verify none": ("receipt", lambda d: verify(bad(None), d.p.public_key)),
    "verify key": ("key", lambda _: verify(b"", bad(None))),
    "verify bytes": ("key", lambda _: verify(b"", bad(b"key"))),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_wrong_argument_is_refused_by_its_name_and_nothing_is_done(door: Door, call: str) -> None:
    field, act = CALLS[call]
    store = door.p.repository.store
    before = dict(store._records)  # type: ignore[attr-defined]
    with pytest.raises(InvalidField) as refused:
        act(door)
    assert refused.value.field == field
    assert isinstance(refused.value, CapsuleError)
    assert store._records == before  # type: ignore[attr-defined]


def test_what_is_right_is_taken(door: Door) -> None:
    kept = save(door, text="e\u0301 \U0001f600\n\t" + "x" * 100_000, lines=(Line("1"),), alias="Joe", stars=5)
    assert isinstance(kept, Kept)
    assert door.p.get(Ticket, "acme", "t-9").content == kept.content
    assert len(door.p.find(Ticket, "acme").records) >= 2
    assert door.p.find(Ticket, "acme", words="heat", limit=1).records[0].content.id == "t-1"
