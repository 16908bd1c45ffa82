"""What is held is not destroyed on any path, and goes by itself when it is released."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.custody import Custody
from capsule_core.errors import InvalidField, ResourceMissing, SubjectErased, SubjectHeld, VersionMismatch
from capsule_core.forecasts import explain
from capsule_core.holds import Extent, Ground, Hold
from capsule_core.journal import Marked, PageResealed, Written
from capsule_core.kept import Kept
from capsule_core.names import RecordId, SubjectKey
from capsule_core.policies import governed, parse_policy
from capsule_core.protection import EVERYBODY, refuse_guarded
from capsule_core.records import Mark, Where
from capsule_core.retaining import Retaining
from capsule_core.retention import NO_RULES, Keep
from capsule_core.uses import Use
from tests.core.desk import ACME, NOON, ZETA, Desk, asked, in_memory, invoice, new_id, note, person
from tests.core.siege import Traces, values_reachable_from

LATER = NOON + timedelta(minutes=1)
DUE = NOON + timedelta(days=31)


@attrs.frozen
class Interrupted:
    """A journal that something happens beside."""

    append: Any

    def settle(self) -> None:
        return


def hold(**on: Any) -> Hold:
    said = {"ground": Ground.LEGAL_CLAIMS, "authority": "county court, 12 C 34/26", "reason": "Jane v. Acme"}
    return Hold(id=new_id("h"), placed_at=NOON.isoformat(), placed_by="user/u1", **{**said, **on})


def place(desk: Desk, *, tenant: str = ACME, **on: Any) -> Kept[Hold]:
    act = desk.act(tenant, use=Use.ADMINISTER, verb="hold")
    return Custody(desk.repository).place(hold(**on), act=act)


def release(desk: Desk, held: Kept[Hold], *, tenant: str = ACME) -> Kept[Hold]:
    act = desk.act(tenant, now=LATER, use=Use.ADMINISTER, verb="release")
    return Custody(desk.repository).release(held.id, act=act)


def parted(desk: Desk, name: str):
    return desk.eraser.erase(desk.erasure(name, parts=True), now=NOON)


def told(receipt) -> list[tuple[str, str, int, Any]]:
    return [(each.what, each.ground, each.records, each.until) for each in receipt.statement.remaining]


@pytest.mark.law("L4")
def test_a_hold_on_the_tenant_guards_what_there_is_and_what_comes_later_on_every_path() -> None:
    desk = in_memory()
    (ann, bo) = desk.add(person("Ann"), person("Bo"))
    (loose,) = desk.add(note(bo.id))
    held = place(desk)
    assert held.content.extent is Extent.TENANT
    (cy,) = desk.add(person("Cy"))
    for name in (ann.id, cy.id):
        for parts in (False, True):
            with pytest.raises(SubjectHeld):
                desk.eraser.erase(desk.erasure(name, parts=parts), now=NOON)
        desk.trash(name)
    desk.trash(loose.id)
    assert desk.eraser.plan(desk.erasure(bo.id)).guarded == (SubjectKey(bo.id),)
    with pytest.raises(SubjectHeld):
        desk.eraser.run(desk.eraser.plan(desk.erasure(bo.id)), now=NOON)
    with pytest.raises(SubjectHeld):
        refuse_guarded(desk.store, ACME)
    swept = desk.sweep(now=DUE)
    assert (swept.records, swept.subjects, swept.guarded) == (0, 0, 2)
    assert [desk.get(each.id).content for each in (ann, loose, cy)] == [ann.content, loose.content, cy.content]
    release(desk, held)
    refuse_guarded(desk.store, ACME)
    swept = desk.sweep(now=DUE)
    assert (swept.records, swept.subjects, swept.guarded) == (3, 2, 0)


@pytest.mark.law("L1")
def test_a_hold_on_one_tenant_is_none_on_another() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"), tenant=ZETA)
    held = place(desk)
    with pytest.raises(ResourceMissing):
        release(desk, held, tenant=ZETA)
    with pytest.raises(ResourceMissing):
        place(desk, tenant=ZETA, subject=EVERYBODY[:-1])
    assert desk.erase(ann.id, tenant=ZETA) is not None


@pytest.mark.law("L4")
def test_everybody_cannot_be_erased_and_with_them_the_holds() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    place(desk, subject=ann.id)
    for parts in (False, True):
        with pytest.raises(SubjectHeld):
            desk.eraser.erase(desk.erasure(EVERYBODY, parts=parts), now=NOON)


@pytest.mark.law("L4")
def test_of_two_holds_on_the_same_person_each_keeps_them_until_its_own_release() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    first, second = place(desk, subject=ann.id), place(desk, subject=ann.id, ground=Ground.ARCHIVING)
    release(desk, first)
    with pytest.raises(SubjectHeld):
        parted(desk, ann.id)
    release(desk, second)
    assert told(parted(desk, ann.id)) == []


@pytest.mark.law("L4")
def test_a_hold_on_a_person_covers_what_is_kept_of_them_also_what_comes_later() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    held = place(desk, subject=ann.id)
    (bill,) = desk.add(invoice(ann.id))
    desk.trash(bill.id)
    assert desk.sweep(now=DUE).records == 0, "the invoice lies with the other half, which no hold names"
    release(desk, held)
    assert desk.sweep(now=DUE).records == 1


@pytest.mark.law("L4", "L6")
def test_partial_refusal_one_held_invoice_is_kept_with_its_ground_and_goes_by_itself_when_released() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann", about="Xanthippe's secret"))
    kept, gone = desk.add(note(ann.id, "the disputed call"), note(ann.id, "Xanthippe rang"))
    traces = Traces.of(desk, ann, "Xanthippe")
    claim, audit = place(desk, record=kept.id), place(desk, record=kept.id, ground=Ground.PUBLIC_HEALTH)
    assert claim.content.subject == ann.id
    receipt = parted(desk, ann.id)
    assert told(receipt) == [("entry", "hold (legal_claims and public_health)", 1, None)]
    for use in (Use.DISPLAY, Use.SEARCH, Use.EXPORT, Use.EDIT, Use.MARKETING):
        with pytest.raises(SubjectErased):
            desk.get(kept.id, use=use)
    for name in (ann.id, gone.id):
        with pytest.raises(ResourceMissing):
            desk.get(name, use=Use.LEGAL_CLAIM)
    del ann
    assert traces.left_among(values_reachable_from(desk)) == set()
    release(desk, claim)
    assert desk.sweep(now=LATER).receipts == ()
    release(desk, audit)
    (last,) = desk.sweep(now=LATER).receipts
    assert (last.statement.ground, last.statement.destructions[0].records) == ("obligation_ended", {"entry": 1})


@pytest.mark.law("L4", "L6")
def test_of_a_record_with_one_held_field_that_field_is_kept_and_no_other_personal_data() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann", email="ann@example.org", about="Xanthippe's secret"))
    (talk,) = desk.add(attrs.evolve(note(ann.id, "I never signed that"), subject_line="Xanthippe's private line"))
    traces = Traces.of(desk, ann, "Xanthippe")
    place(desk, record=talk.id, field="body")
    first, second = (place(desk, record=ann.id, field=each) for each in ("emails", "given_name"))
    receipt = parted(desk, ann.id)
    assert told(receipt) == [
        ("entry.body", "hold (legal_claims)", 1, None),
        ("person.emails+given_name", "hold (legal_claims)", 1, None),
    ]
    rest = desk.get(talk.id, use=Use.LEGAL_CLAIM).content
    assert (rest.body, rest.subject_line, rest.occurred_at) == ("I never signed that", "", talk.content.occurred_at)
    who = desk.get(ann.id, use=Use.LEGAL_CLAIM).content
    assert (who.given_name, who.emails, who.about) == ("Ann", ann.content.emails, "")
    del ann, talk
    assert traces.left_among(values_reachable_from(desk)) == set()
    for each in (first, second):
        release(desk, each)
    assert desk.sweep(now=LATER).receipts == (), "the other record is held still"


@pytest.mark.law("L4")
def test_a_record_that_is_not_valid_with_its_held_field_alone_is_kept_whole_and_the_receipt_says_so() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann", about="signed on Monday"))
    place(desk, record=ann.id, field="about")
    receipt = parted(desk, ann.id)
    because = "hold (legal_claims) of about; the record is not valid without the rest"
    assert told(receipt) == [("person", because, 1, None)]
    assert desk.get(ann.id, use=Use.LEGAL_CLAIM).content == ann.content


@pytest.mark.law("L4")
def test_a_field_that_is_held_within_a_held_record_narrows_nothing() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    (talk,) = desk.add(attrs.evolve(note(ann.id, "said so"), subject_line="re: contract"))
    place(desk, record=talk.id, field="body")
    place(desk, record=talk.id)
    assert told(parted(desk, ann.id)) == [("entry", "hold (legal_claims)", 1, None)]
    assert desk.get(talk.id, use=Use.LEGAL_CLAIM).content == talk.content


@pytest.mark.law("L4")
def test_a_hold_on_the_record_that_comes_while_it_is_being_narrowed_to_a_field_is_not_overlooked() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    (talk,) = desk.add(attrs.evolve(note(ann.id, "said so"), subject_line="re: contract"))
    place(desk, record=talk.id, field="body")
    append, waiting = desk.journal.append, ["one hold more"]

    def meanwhile(entries: Any) -> int:
        position = append(entries)
        if waiting and any(isinstance(entry, PageResealed) for entry in entries):
            waiting.pop()
            place(desk, record=talk.id)
        return position

    desk.vault._journal = Interrupted(meanwhile)
    with pytest.raises(VersionMismatch):
        parted(desk, ann.id)
    assert desk.get(talk.id).content == talk.content
    assert told(parted(desk, ann.id)) == [("entry", "hold (legal_claims)", 1, None)]


@pytest.mark.law("L4")
@pytest.mark.parametrize("on", ["tenant", "subject", "record"])
def test_what_is_held_between_the_finding_and_the_emptying_is_not_emptied_by_retention(on: str) -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann", about="signed on Monday"))
    rule = {"id": "r", "effect": "destroy", "field": "about", "since": "created", "period": "P1M"}
    policy = parse_policy(json.dumps({"rules": [{**rule, "kinds": ["person"]}]}), governed(desk.repository.kinds))
    held: list[Kept[Hold]] = []
    waiting = [{on: ann.id} if on != "tenant" else {}]

    def meanwhile(*_: Any) -> None:
        """What is due was opened, and is not emptied yet."""
        if waiting:
            held.append(place(desk, **waiting.pop()))

    desk.repository.used = meanwhile
    done = Retaining(desk.repository, desk.eraser, new_id).run(ACME, policy, now=DUE + timedelta(days=9))
    assert (done.depersonalised, desk.get(ann.id).content.about) == (0, "signed on Monday")
    release(desk, held[0])
    assert (
        Retaining(desk.repository, desk.eraser, new_id).run(ACME, policy, now=DUE + timedelta(days=9)).depersonalised
        == 1
    )


def test_why_something_is_still_here_names_the_hold_whomever_it_is_on() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    (sealed,) = desk.store.select(Where(tenant=ACME, ids=(ann.id,)), admits=Mark.NONE, limit=1).records
    holds = [place(desk), place(desk, subject=ann.id), place(desk, record=ann.id)]
    told = explain(desk.repository, sealed, NO_RULES, now=NOON)
    assert {reason.id for reason in told.guards} == {hold.id for hold in holds}
    assert isinstance(told.decision, Keep)


def test_what_is_not_there_or_has_no_such_field_cannot_be_held() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    held = place(desk, subject=ann.id)
    for on in ({"subject": "nobody"}, {"record": "nothing"}, {"record": held.id}, {"record": ann.id, "subject": "bo"}):
        with pytest.raises(ResourceMissing):
            place(desk, **on)
    for field in ("owner", "id", "shoe_size"):
        with pytest.raises(InvalidField):
            place(desk, record=ann.id, field=field)
    for on in ({"authority": " "}, {"authority": "a\nb"}, {"reason": "x" * 10_001}, {"field": "body"}):
        with pytest.raises(InvalidField):
            hold(**on)
    release(desk, held)
    desk.erase(ann.id)
    with pytest.raises(SubjectErased):
        place(desk, subject=ann.id)


def test_a_hold_is_one_act_with_one_leaf_and_in_the_journal_with_its_reason() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    before, position = desk.ledger.head().size, desk.journal.append(())
    held = place(desk, subject=ann.id)
    (leaf,) = desk.leaves()[before:]
    assert (leaf.act, leaf.records) == ("hold", 2)
    assert leaf.detail == {"hold": held.id, "extent": "subject", "ground": "legal_claims"}
    acts = [type(entry) for _, entry in desk.journal.since(position) if isinstance(entry, Written | Marked)]
    assert acts == [Written, Marked]


def test_a_released_hold_stays_on_record_without_its_text_and_is_released_once() -> None:
    desk = in_memory()
    custody = Custody(desk.repository)
    (ann,) = desk.add(person("Ann"))
    held, other = place(desk, subject=ann.id), place(desk)
    assert held.content.reason == "Jane v. Acme"
    ended = release(desk, held)
    assert (ended.content.reason, ended.content.released_by) == ("", "user/u1")
    assert ended.content.authority == held.content.authority
    leaves = len(desk.leaves())
    assert release(desk, held).content == ended.content
    assert len(desk.leaves()) == leaves
    asking = {"use": Use.ADMINISTER, "limit": 10}
    assert [each.id for each in custody.listing(ACME, **asking).records] == [other.id]
    assert {each.id for each in custody.listing(ACME, **asking, past=True).records} == {other.id, held.id}
    found = custody.listing(ACME, **asking, past=True, subject=SubjectKey(ann.id))
    assert [each.id for each in found.records] == [held.id]


@pytest.mark.law("L9")
def test_a_repeated_request_places_one_hold_and_releases_it_once() -> None:
    desk = in_memory()
    custody = Custody(desk.repository)
    act = desk.act(use=Use.ADMINISTER)
    first, again = (custody.place(hold(), act=act, request=asked("place")) for _ in range(2))
    assert first == again
    ended, repeated = (custody.release(first.id, act=act, request=asked("release")) for _ in range(2))
    assert ended == repeated
    assert desk.store.reasons(ACME, [EVERYBODY]) == []


@pytest.mark.law("L4")
@given(data=st.data())
def test_whatever_is_held_in_whatever_order_is_there_until_its_last_hold_is_released_and_gone_after_it(
    data: st.DataObject,
) -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    records = [ann, *desk.add(note(ann.id, "one"), note(ann.id, "two"), invoice(ann.id))]
    names = [each.id for each in records[1:3]]
    targets: list[dict[str, str]] = [{"record": name} for name in names]
    targets += [{"record": name, "field": "body"} for name in names]
    holds = [(place(desk, **on), on["record"]) for on in data.draw(st.lists(st.sampled_from(targets), max_size=4))]
    early = data.draw(st.integers(0, len(holds)))
    for held, _ in holds[:early]:
        release(desk, held)
    holds = holds[early:]
    parted(desk, ann.id)
    assert desk.get(records[3].id, use=Use.LEGAL_CLAIM).content == records[3].content
    while True:
        desk.sweep(now=LATER)
        standing = {name for _, name in holds}
        found = desk.store.read(ACME, [RecordId(name) for name in names], admits=~Mark.NONE)
        there = {name for name, record in zip(names, found, strict=True) if record is not None}
        assert there >= standing, "something was destroyed against a hold"
        assert there == standing, "what nothing holds any more stays because something else does"
        if not holds:
            break
        held, _ = holds.pop(data.draw(st.integers(0, len(holds) - 1)))
        release(desk, held)
