"""What a hold or an obligation keeps outlives its person, out of ordinary reach, and no longer than it must."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest

from capsule_core.errors import CapsuleError, PlanStale, ResourceMissing, SubjectErased, SubjectHeld
from capsule_core.holder import Order, RecordHolder
from capsule_core.journal import PageResealed, Written
from capsule_core.keeping import obligations
from capsule_core.names import RecordId, SubjectKey
from capsule_core.receipts import Outcome
from capsule_core.records import Mark
from capsule_core.uses import Use
from capsule_core.witness import bears_witness
from tests.core.desk import ACME, NOON, USER, Desk, in_memory, invoice, new_id, note, person
from tests.core.siege import Traces, values_reachable_from

LATER = NOON + timedelta(minutes=1)


def parted(desk: Desk, name: str):
    return desk.eraser.erase(desk.erasure(name, parts=True), now=NOON)


def discharge(desk: Desk, name: str) -> None:
    ended = obligations(desk.store, ACME, SubjectKey(name))
    act = desk.act(use=Use.ADMINISTER)
    desk.store.mark(ended, lift=True, act=attrs.evolve(act, witness=bears_witness(desk.vault, act)))


def told(receipt) -> list[tuple[str, str, int]]:
    return [(each.what, each.ground, each.records) for each in receipt.statement.remaining]


@pytest.mark.law("L4", "L6")
def test_an_erasure_destroys_all_but_what_is_held_and_says_what_is_kept_and_why() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann", about="Xanthippe's secret"))
    held, gone = desk.add(note(ann.id, "the disputed call"), note(ann.id, "Xanthippe rang"))
    desk.hold(held)
    traces = Traces.of(desk, ann, "Xanthippe")
    receipt = parted(desk, ann.id)
    assert told(receipt) == [("entry", "hold", 1)]
    assert receipt.statement.destructions[0].records == {"person": 1, "entry": 1}
    assert receipt.statement.subjects == (SubjectKey(ann.id),)
    assert desk.get(held.id, use=Use.LEGAL_CLAIM).content.body == "the disputed call"
    for name in (ann.id, gone.id):
        with pytest.raises(ResourceMissing):
            desk.get(name, use=Use.LEGAL_CLAIM)
    del ann
    assert traces.left_among(values_reachable_from(desk)) == set(), "the ordinary key is dead, whatever is kept"


@pytest.mark.law("L4")
def test_what_is_kept_goes_by_itself_when_the_last_hold_is_released_and_not_before() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    (held,) = desk.add(note(ann.id))
    desk.hold(held, why="claim")
    desk.hold(held, why="audit")
    parted(desk, ann.id)
    desk.hold(held, why="claim", lift=True)
    assert desk.sweep(now=LATER).receipts == ()
    desk.hold(held, why="audit", lift=True)
    (receipt,) = desk.sweep(now=LATER).receipts
    assert (receipt.statement.ground, receipt.statement.subjects) == ("obligation_ended", (SubjectKey(ann.id),))
    assert receipt.statement.destructions[0].records == {"entry": 1}
    with pytest.raises(ResourceMissing):
        desk.get(held.id, use=Use.LEGAL_CLAIM)
    assert desk.sweep(now=LATER).receipts == ()


@pytest.mark.law("L4")
@pytest.mark.parametrize("ground", ["request", "trash_expired"])
def test_a_record_of_an_obliged_kind_outlives_its_person_whatever_ends_them(ground: str) -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    (bill,) = desk.add(invoice(ann.id))
    if ground == "request":
        receipt = parted(desk, ann.id)
    else:
        desk.trash(ann.id)
        (receipt,) = desk.sweep(now=NOON + timedelta(days=31)).receipts
    assert told(receipt) == [("invoice", "obligation", 1)]
    assert desk.get(bill.id, use=Use.SUBJECT_ACCESS).content.amount == "12.50 EUR"
    discharge(desk, ann.id)
    (last,) = desk.sweep(now=NOON + timedelta(days=32)).receipts
    assert last.statement.destructions[0].records == {"invoice": 1}


@pytest.mark.law("L5")
@pytest.mark.parametrize("use", [use for use in Use if use not in {Use.SUBJECT_ACCESS, Use.LEGAL_CLAIM, Use.ERASE}])
def test_what_is_kept_can_be_used_for_nothing_else(use: Use) -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    held, bill = desk.add(note(ann.id), invoice(ann.id))
    desk.hold(held)
    parted(desk, ann.id)
    for name in (held.id, bill.id):
        with pytest.raises(SubjectErased):
            desk.get(name, use=use)


@pytest.mark.law("L5")
def test_nothing_is_written_for_somebody_of_whom_something_is_kept_in_either_half() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    (bill,) = desk.add(invoice(ann.id))
    parted(desk, ann.id)
    for use in Use:
        for content in (note(ann.id), invoice(ann.id), bill.content, person("Ann", id=ann.id)):
            with pytest.raises(CapsuleError) as refusal:
                desk.add(content, use=use)
            assert refusal.value.reason in {"SUBJECT_ERASED", "ETAG_MISMATCH"}


@pytest.mark.law("L5")
def test_the_first_record_of_an_obliged_kind_comes_too_late_after_an_erasure() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    assert told(parted(desk, ann.id)) == []
    with pytest.raises(SubjectErased):
        desk.add(invoice(ann.id))


@pytest.mark.law("L4", "L5")
def test_somebody_with_nothing_but_what_must_be_kept_is_out_of_reach_at_once_and_gone_in_the_end() -> None:
    desk = in_memory()
    who = new_id("c")
    (bill,) = desk.add(invoice(who))
    with pytest.raises(SubjectHeld):
        parted(desk, who)
    with pytest.raises(SubjectErased):
        desk.get(bill.id)
    with pytest.raises(SubjectErased):
        desk.add(person("Ann", id=who))
    discharge(desk, who)
    assert [each.statement.ground for each in desk.sweep(now=LATER).receipts] == ["obligation_ended"]


@pytest.mark.law("L4")
def test_a_hold_on_the_whole_person_keeps_all_of_it_where_it_is() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    (other,) = desk.add(note(ann.id))
    desk.mark(ann.id, Mark.HELD)
    with pytest.raises(SubjectHeld):
        parted(desk, ann.id)
    assert desk.get(other.id).content == other.content


@pytest.mark.law("L4")
def test_without_parting_one_held_record_keeps_the_whole_person() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    (held,) = desk.add(note(ann.id))
    desk.hold(held)
    with pytest.raises(SubjectHeld):
        desk.erase(ann.id)
    assert desk.get(held.id).content == held.content


def test_a_plan_tells_what_would_go_and_what_would_be_kept_and_a_new_hold_makes_it_stale() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    held, free, _ = desk.add(note(ann.id), note(ann.id), invoice(ann.id))
    desk.hold(held)
    plan = desk.eraser.plan(desk.erasure(ann.id, parts=True))
    assert (plan.records, plan.kept, plan.guarded) == ({"person": 1, "entry": 1}, {"entry": 1, "invoice": 1}, ())
    desk.hold(free, why="another")
    with pytest.raises(PlanStale):
        desk.eraser.run(plan, now=NOON)
    plan = desk.eraser.plan(desk.erasure(ann.id, parts=True))
    assert told(desk.eraser.run(plan, now=NOON)) == [("entry", "hold", 2), ("invoice", "obligation", 1)]


@pytest.mark.law("L7")
def test_what_is_kept_is_in_the_journal_with_its_page_before_the_old_key_dies() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    (held,) = desk.add(note(ann.id))
    desk.hold(held)
    parted(desk, ann.id)
    entries = [entry for _, entry in desk.journal.since(0)]
    (written,) = [entry.record for entry in entries if isinstance(entry, Written)]
    found = desk.store.read(ACME, [RecordId(held.id)], admits=~Mark.NONE)[0]
    assert attrs.evolve(written, marks=found.marks) == found
    journaled = [entry.page.number if isinstance(entry, PageResealed) else None for entry in entries]
    assert journaled.index(written.slot.page) < entries.index(Written(written)) < len(entries) - 1


def test_a_holder_finds_what_is_kept_and_tells_it_from_what_should_be_gone() -> None:
    desk = in_memory()
    holder = RecordHolder("contacts", desk.repository, desk.eraser, lambda: new_id("e"))
    (ann,) = desk.add(person("Ann"))
    (bill,) = desk.add(invoice(ann.id))
    who = [SubjectKey(ann.id)]
    assert {(each.kind, each.kept) for each in holder.collect(ACME, who)} == {("person", False), ("invoice", False)}
    done = holder.erase(desk.erasure(ann.id, parts=True), now=NOON)
    assert done.outcome is Outcome.ERASED
    assert [(each.subject, each.id, each.kept) for each in holder.collect(ACME, who)] == [(ann.id, bill.id, True)]
    held = holder.apply(ACME, who, Order.HOLD, reason="claim", by=USER, now=NOON)
    assert (held.applied, held.unknown) == (tuple(who), ())
    discharge(desk, ann.id)
    assert holder.sweep(ACME, now=LATER).receipts == (), "a hold that came after the erasure keeps it too"
    holder.apply(ACME, who, Order.RELEASE, reason="claim", by=USER, now=NOON)
    assert len(holder.sweep(ACME, now=LATER).receipts) == 1
    assert list(holder.collect(ACME, who)) == []
