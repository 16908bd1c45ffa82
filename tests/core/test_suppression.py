"""Nobody comes back: in any spelling, on any way in, unless they want to; and nothing readable is kept of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core import story
from capsule_core.answers import Request
from capsule_core.blind import suppression
from capsule_core.contacts import Email, Organisation, Phone
from capsule_core.errors import CapsuleError, IdentifierSuppressed, InvalidField, RequestReused, ResourceMissing
from capsule_core.journal import Suppressed
from capsule_core.names import ActorRef, SubjectRef
from capsule_core.personal import Category, Exact, Form, Personal, kind
from capsule_core.privacy import Privacy
from capsule_core.readmission import LONGEST_EVIDENCE, attests, readmit
from capsule_core.repository import Draft
from capsule_core.suppression import spelling
from capsule_core.testing import strategies as the
from capsule_core.uses import Use
from tests.core.comeback import (
    ERASED,
    PHONE,
    PHONE_SPELLINGS,
    SPELLINGS,
    WAYS,
    besiege_the_door,
    reached,
    thrown_away,
)
from tests.core.desk import ACME, NOON, ZETA, Desk, asked, in_memory, note, person
from tests.core.siege import values_reachable_from
from tests.core.test_laws_trash import DAYS

SEEDS = range(12)


def erased_jane(desk: Desk) -> None:
    (jane,) = desk.add(reached(email=ERASED, phone=PHONE, name="Jane"))
    desk.forget(jane.id)


def readmitted(
    desk: Desk,
    form: Form = Form.EMAIL,
    value: str = ERASED,
    *,
    evidence: str = "letter 7",
    request: Request | None = None,
) -> None:
    act = desk.act(use=Use.ADMINISTER, verb="readmit")
    readmit(desk.store, desk.repository.identifiers, form, value, evidence=evidence, act=act, request=request)


def refused(desk: Desk, **how: str) -> str:
    """Return the field for which a contact who is reached so is refused."""
    with pytest.raises(IdentifierSuppressed) as refusal:
        desk.add(reached(**how))
    return refusal.value.field


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("email", SPELLINGS)
def test_twelve_spellings_of_an_erased_address_are_refused_on_every_way_in(way: str, email: str) -> None:
    desk = in_memory()
    thrown = thrown_away(desk, email)
    erased_jane(desk)
    before, size = desk.store._records.copy(), desk.ledger.head().size
    with pytest.raises(IdentifierSuppressed) as refusal:
        WAYS[way](desk, email, ACME, thrown)
    assert refusal.value.field == "emails[0].address"
    made = 1 if way == "update" else 0  # the contact that was to get the address
    assert desk.ledger.head().size == size + made, "a refusal leaves no leaf"
    assert len(desk.store._records) == len(before) + made, "a refusal keeps nothing, not even the rows beside it"


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("email", SPELLINGS)
def test_another_tenant_accepts_the_same_address(way: str, email: str) -> None:
    desk = in_memory()
    erased_jane(desk)
    WAYS[way](desk, email, ZETA, None)


def test_there_are_twelve_spellings_and_they_are_one_mailbox() -> None:
    assert len(set(SPELLINGS)) == 12
    assert {spelling(Form.EMAIL, each) for each in SPELLINGS} == {"janedoe@gmail.com"}


@given(address=the.email_addresses(), data=st.data())
def test_however_an_address_is_written_it_is_suppressed_as_one(address: str, data: st.DataObject) -> None:
    local, _, domain = address.rpartition("@")
    swapped = "".join(data.draw(st.sampled_from((sign, sign.upper(), sign.lower()))) for sign in local)
    tag = data.draw(st.sampled_from(("", "+", "+shop", "+a+b"))) if not local.startswith("+") else ""
    try:
        written = data.draw(st.sampled_from((domain, domain.upper(), domain.encode("idna").decode(), f"{domain}.")))
    except UnicodeError:
        written = domain
    assert spelling(Form.EMAIL, f"{swapped}{tag}@{written}") == spelling(Form.EMAIL, address)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ann@example.org", "bo@example.org"),
        ("a.nn@example.org", "ann@example.org"),  # dots mean something where nobody is known to ignore them
        ("ann@example.org", "ann@example.com"),
        ("+@example.org", "+x@example.org"),
    ],
)
def test_people_are_not_taken_for_one_another(one: str, other: str) -> None:
    assert spelling(Form.EMAIL, one) != spelling(Form.EMAIL, other)


@pytest.mark.parametrize("phone", PHONE_SPELLINGS)
def test_a_phone_number_is_refused_in_any_format(phone: str) -> None:
    desk = in_memory()
    erased_jane(desk)
    assert refused(desk, phone=phone) == "phones[0].number"
    desk.add(reached(phone="+44 20 7946 0959"))


def test_a_national_number_is_the_same_number_where_it_is_at_home() -> None:
    assert spelling(Form.PHONE, "020 7946 0958", region="GB") == spelling(Form.PHONE, PHONE)


def test_everything_they_were_known_by_is_suppressed_also_in_the_trash_and_in_organisations() -> None:
    desk = in_memory()
    (firm,) = desk.add(
        Organisation(id="c" + "f" * 26, name="Firm", emails=(Email("a@firm.example"), Email("b@firm.example")))
    )
    desk.trash(firm.id)
    desk.forget(firm.id)
    assert refused(desk, email="A@firm.example") == "emails[0].address"
    assert refused(desk, email="b+x@FIRM.example") == "emails[0].address"


def test_the_refusal_names_the_first_field_that_is_suppressed() -> None:
    desk = in_memory()
    erased_jane(desk)
    emails, phones = (Email("new@example.org"), Email("jane.doe@gmail.com")), (Phone(PHONE),)
    with pytest.raises(IdentifierSuppressed) as refusal:
        desk.add(attrs.evolve(person(), emails=emails, phones=phones))
    assert refusal.value.field == "emails[1].address"
    assert "gmail" not in str(refusal.value)
    contents = [person(), attrs.evolve(person(), emails=emails), attrs.evolve(person(), phones=phones)]
    identifiers = desk.repository.identifiers
    assert identifiers.suppressed(desk.store, ACME, contents) == [None, "emails[1].address", "phones[0].number"]


def test_who_has_the_identifier_already_keeps_it_and_can_be_corrected() -> None:
    """Two people share a number; one asks to be erased: the other is not locked out of their own record."""
    desk = in_memory()
    (other,) = desk.add(reached(phone=PHONE, name="Joe"))
    erased_jane(desk)
    renamed = desk.rename(other.id, "moved house")
    moved = attrs.evolve(renamed.content, phones=(Phone("+44 20 7946 0000"), Phone("+442079460958")))
    kept = desk.repository.change(renamed, moved, act=desk.act())
    without = desk.repository.change(kept, attrs.evolve(moved, phones=()), act=desk.act())
    with pytest.raises(IdentifierSuppressed):
        desk.repository.change(without, moved, act=desk.act())


@pytest.mark.parametrize("way", ["sweep", "purge"])
def test_a_tenant_that_destroys_its_own_data_may_meet_the_person_again(way: str) -> None:
    desk = in_memory()
    (jane,) = desk.add(reached(email=ERASED))
    desk.trash(jane.id)
    if way == "sweep":
        assert desk.sweep(now=NOON + DAYS).subjects == 1
    else:
        desk.eraser.erase(attrs.evolve(desk.erasure(jane.id), ground="purge"), now=NOON)
    desk.add(reached(email=ERASED))


def test_their_own_new_consent_lets_them_in_again_and_is_on_record() -> None:
    desk = in_memory()
    erased_jane(desk)
    readmitted(desk, value="j.anedoe@googlemail.com", evidence="signed form 2026-118")
    desk.add(reached(email=ERASED))
    assert refused(desk, phone=PHONE) == "phones[0].number", "a consent is for what it names"
    *_, leaf = (leaf for leaf in desk.leaves() if leaf.act == "readmit")
    keys = desk.vault.tenant(ACME)
    assert attests(keys, leaf, "signed form 2026-118")
    assert not attests(keys, leaf, "signed form 2026-119")
    assert not attests(desk.vault.tenant(ZETA), leaf, "signed form 2026-118")
    assert "2026-118" not in leaf.encode().decode()
    told = [entry for _, entry in desk.journal.since(0) if isinstance(entry, Suppressed)]
    hashed = suppression(keys, "email", "janedoe@gmail.com")
    assert [(entry.lift, hashed in entry.hashes) for entry in told] == [(False, True), (True, True)]
    assert told[-1].hashes == (hashed,)


def test_what_is_not_suppressed_or_not_founded_is_not_lifted() -> None:
    desk = in_memory()
    erased_jane(desk)
    size = desk.ledger.head().size
    for form, value, evidence, error in (
        (Form.EMAIL, "bo@example.org", "letter", ResourceMissing),
        (Form.EMAIL, "nonsense", "letter", InvalidField),
        (Form.PHONE, "1", "letter", InvalidField),
        (Form.EMAIL, ERASED, " \n", InvalidField),
        (Form.EMAIL, ERASED, "x" * (LONGEST_EVIDENCE + 1), InvalidField),
    ):
        with pytest.raises(error):
            readmitted(desk, form, value, evidence=evidence)
    assert desk.ledger.head().size == size
    assert refused(desk, email=ERASED)


@pytest.mark.law("L9")
def test_a_readmission_asked_again_under_its_request_id_has_one_effect() -> None:
    desk = in_memory()
    erased_jane(desk)
    readmitted(desk, request=asked("lift"))
    (again,) = desk.add(reached(email=ERASED))
    desk.forget(again.id)
    readmitted(desk, request=asked("lift"))
    assert refused(desk, email=ERASED), "the answer came again, not its effect"
    with pytest.raises(RequestReused):
        readmitted(desk, request=asked("lift", digest=b"another"))


def test_the_erasure_says_that_it_suppressed_how_many_and_never_what() -> None:
    desk = in_memory()
    (jane, joe) = desk.add(reached(email=ERASED, phone=PHONE, name="Jane"), reached(email="joe@example.org"))
    desk.add(note(jane.id))
    receipt = desk.forget(jane.id, joe.id)
    told = [leaf for leaf in desk.leaves() if leaf.act == story.SUPPRESS]
    assert [leaf.detail for leaf in told] == [{"erasure": receipt.statement.erasure, "identifiers": "3"}]
    assert [leaf.subjects for leaf in told] == [()]
    assert [each.what for each in receipt.statement.remaining] == ["keyed hashes of identifiers"]
    acts = [leaf.act for leaf in desk.leaves() if leaf.act.startswith("erasure.")]
    assert acts == [story.FENCE, story.SUPPRESS, story.DELETE, story.COMMIT]


@pytest.mark.law("L6")
def test_nothing_readable_of_what_is_suppressed_can_be_reached_from_the_stores() -> None:
    desk = in_memory()
    erased_jane(desk)
    readmitted(desk, evidence="the letter of Jane Doe")
    readmitted(desk, Form.PHONE, PHONE, evidence="the letter of Jane Doe")
    erased_jane(desk)
    spellings = [each.casefold() for each in (*SPELLINGS, *PHONE_SPELLINGS, "janedoe", "2079460958", "jane doe")]
    found = values_reachable_from(desk.store, desk.ledger, desk.journal)
    texts = [each.casefold() if isinstance(each, str) else bytes(each) for each in found if not isinstance(each, int)]
    assert any(isinstance(text, bytes) and len(text) == 16 for text in texts), "the walk finds nothing at all"
    assert [
        each
        for each in spellings
        if any((each in text) if isinstance(text, str) else (each.encode() in text.lower()) for text in texts)
    ] == []


def test_two_tenants_cannot_compare_what_they_remember() -> None:
    desk = in_memory()
    ours, theirs = (suppression(desk.vault.tenant(each), "email", "janedoe@gmail.com") for each in (ACME, ZETA))
    assert ours != theirs
    assert len(ours) >= 16


@pytest.mark.parametrize("seed", SEEDS)
def test_no_writer_slips_in_between_in_any_spelling_and_way(seed: int) -> None:
    besiege_the_door(in_memory(), seed)


class Interrupted(BaseException):
    """Nothing catches it, as nothing catches a crash."""


@pytest.mark.parametrize("port", ["store.suppress", "vault.shred", "store.destroy", "after the shred"])
def test_an_erasure_that_was_interrupted_suppresses_when_it_is_resumed(
    port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = in_memory()
    (jane,) = desk.add(reached(email=ERASED))
    target, _, method = port.partition(".") if "." in port else ("vault", "", "remaining")

    def crash(*_: object, **__: object) -> None:
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(type(getattr(desk, target)), method, crash)
        with pytest.raises(Interrupted):
            desk.forget(jane.id, id="e1")
    (receipt,) = desk.eraser.resume(now=NOON)
    assert receipt == desk.forget(jane.id, id="e1")
    assert refused(desk, email=ERASED)
    assert [leaf.act for leaf in desk.leaves()].count(story.SUPPRESS) == 1


def test_what_a_hold_keeps_of_them_does_not_let_them_back_in() -> None:
    desk = in_memory()
    (jane,) = desk.add(reached(email=ERASED))
    desk.add(note(jane.id))
    desk.hold(jane)
    desk.forget(jane.id, parts=True)
    assert desk.get(jane.id, use=Use.LEGAL_CLAIM).content == jane.content, "it is what is kept that names her"
    assert refused(desk, email=ERASED)


def test_a_record_that_does_not_open_any_more_does_not_keep_its_person_from_being_erased() -> None:
    desk = in_memory()
    (jane,) = desk.add(reached(email=ERASED))
    sealed = desk.store._records[ACME, jane.id]
    desk.store._records[ACME, jane.id] = attrs.evolve(sealed, blob=sealed.blob[:-1] + b"!")
    desk.forget(jane.id)
    desk.add(reached(email=ERASED))


@kind("ticket", subject="customer")
@attrs.frozen
class Ticket:
    id: str
    customer: str
    sender: Annotated[str, Personal(Category.CONTACT, purpose="support", search=Exact(Form.EMAIL))] = ""
    mobile: Annotated[str, Personal(Category.CONTACT, purpose="support", search=Exact(Form.PHONE))] = ""
    order: Annotated[str, Personal(Category.OTHER, purpose="support", search=Exact())] = ""


def test_the_facade_keeps_it_with_nothing_configured() -> None:
    agent = ActorRef("user", "u1")
    p = Privacy.in_memory(kinds=[Ticket])
    p.save("acme", Ticket("t1", "c-42", sender="jane@example.org", order="A17"), by=agent, now=NOON)
    p.save("acme", Ticket("t2", "c-42", mobile=PHONE), by=agent, now=NOON)
    p.erase.run(p.erase.plan(SubjectRef("acme", "customer", "c-42"), by=agent, now=NOON), now=NOON)
    for back, field in (
        (Ticket("t3", "c-43", sender="JANE+x@example.org"), "sender"),
        (Ticket("t3", "c-43", mobile="+442079460958"), "mobile"),
    ):
        with pytest.raises(IdentifierSuppressed) as refusal:
            p.save("acme", back, by=agent, now=NOON)
        assert refusal.value.field == field
        p.save("zeta", back, by=agent, now=NOON)
    p.save("acme", Ticket("t4", "c-44", order="A17"), by=agent, now=NOON)  # an order is nobody's name
    p.readmit("acme", Form.EMAIL, "jane@example.org", evidence="web form, 3 May", by=agent, now=NOON)
    p.save("acme", Ticket("t5", "c-45", sender="jane@example.org"), by=agent, now=NOON + timedelta(days=1))


def test_an_erasure_on_another_ground_lets_them_come_back() -> None:
    agent = ActorRef("user", "u1")
    p = Privacy.in_memory(kinds=[Ticket])
    p.save("acme", Ticket("t1", "c-42", sender="jane@example.org"), by=agent, now=NOON)
    plan = p.erase.plan(SubjectRef("acme", "customer", "c-42"), by=agent, now=NOON, ground="purge")
    p.erase.run(plan, now=NOON)
    p.save("acme", Ticket("t2", "c-43", sender="jane@example.org"), by=agent, now=NOON)


def test_what_is_known_of_the_erased_is_told_before_what_they_were_known_by() -> None:
    """A stale form of the erased person herself is told SUBJECT_ERASED, as ever."""
    desk = in_memory()
    (jane,) = desk.add(reached(email=ERASED))
    desk.forget(jane.id)
    with pytest.raises(CapsuleError) as refusal:
        desk.repository.add([Draft(jane.content, over=jane)], act=desk.act())
    assert refusal.value.reason == "SUBJECT_ERASED"


WRITTEN = [
    ("sender", "mailto:x@example.org"),
    ("sender", "<x@example.org>"),
    ("sender", "X Y <x@example.org>"),
    ("sender", '"x"@example.org'),
    ("sender", "x(comment)@example.org"),
    ("sender", "x\u200b@example.org"),
    ("sender", "x @example.org"),
    ("mobile", "0044 20 7946 0000"),
    ("mobile", "tel:+44-20-7946-0000"),
]
NATIONAL = [("mobile", "442079460000"), ("mobile", "020 7946 0000")]
NEITHER = [
    ("sender", "x@example.org, y@example.org"),
    ("sender", "y@example.org <x@example.org>"),
    ("sender", "not an address"),
    ("mobile", "abc"),
    ("mobile", "+442079460000, +442079460001"),
]


def without_x(region: str | None) -> Privacy:
    """Open a library from which somebody was erased who was known by an address and a number."""
    p, agent = Privacy.in_memory(kinds=[Ticket], region=region), ActorRef("user", "u1")
    p.save("acme", Ticket("t1", "c-1", sender="x@example.org", mobile="+442079460000"), by=agent, now=NOON)
    p.erase.run(p.erase.plan(SubjectRef("acme", "customer", "c-1"), by=agent, now=NOON), now=NOON)
    return p


@pytest.mark.parametrize("region", [None, "GB", "US"])
@pytest.mark.parametrize(("field", "value"), [*WRITTEN, *NATIONAL, *NEITHER])
def test_nobody_comes_back_however_it_is_written_whether_it_is_understood_or_not(
    field: str, value: str, region: str | None
) -> None:
    p, back = without_x(region), attrs.evolve(Ticket("t2", "c-2"), **{field: value})
    if region == "US" and value == "020 7946 0000":
        return  # there it is another number
    understood = (field, value) in WRITTEN or (region is not None and (field, value) in NATIONAL)
    with pytest.raises(IdentifierSuppressed if understood else InvalidField) as refusal:
        p.save("acme", back, by=ActorRef("user", "u1"), now=NOON)
    assert refusal.value.field == field
    assert value not in str(refusal.value)
    if understood:
        p.save("zeta", back, by=ActorRef("user", "u1"), now=NOON)
        assert p.find(Ticket, "zeta", equal=(field, value)).records[0].content == back


@pytest.mark.parametrize("way", ["create", "import", "update"])
def test_what_is_no_number_is_refused_on_every_way_in(way: str) -> None:
    desk = in_memory()

    def come(number: str) -> None:
        person_with = reached(phone=number)
        over = desk.add(attrs.evolve(person_with, phones=()))[0] if way == "update" else None
        desk.repository.add(
            [Draft(person_with, over=over)], act=desk.act(use=Use.IMPORT if way == "import" else Use.EDIT)
        )

    with pytest.raises(InvalidField, match=r"phones\[0\]\.number"):
        come("ask at the desk")
    come("+44 20 7946 0958")


def test_what_was_kept_before_it_had_to_be_a_number_is_read_and_corrected(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = in_memory()
    with monkeypatch.context() as before:
        before.setattr("capsule_core.suppression.identifier_problem", lambda *_, **__: None)
        (kept,) = desk.add(reached(phone="ask at the desk"))
    assert desk.get(kept.id).content == kept.content
    changed = desk.rename(kept.id, "a note")
    with pytest.raises(InvalidField):
        desk.repository.change(changed, attrs.evolve(changed.content, phones=(Phone("ask elsewhere"),)), act=desk.act())
