"""Acts: one leaf each, one effect for one request, and none without a use that is allowed."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.contacts import Person
from capsule_core.errors import CapsuleError, RequestReused, SubjectErased, SubjectRestricted
from capsule_core.ledger import audit
from capsule_core.merkle import leaf_hash
from capsule_core.names import RecordId
from capsule_core.records import Act, Mark, Shelf, Where
from capsule_core.repository import Draft
from capsule_core.story import COMMIT, DELETE, FENCE
from capsule_core.testing.conformance.clauses import at_once
from capsule_core.uses import Use, admits
from tests.core.desk import ACME, NOON, USER, asked, in_memory, note, person
from tests.core.test_laws_trash import DAYS

WAYS = {
    "add": lambda desk, _: desk.add(person("New")),
    "note": lambda desk, name: desk.add(note(name), note(name)),
    "change": lambda desk, name: desk.rename(name, "changed"),
    "trash": lambda desk, name: desk.trash(name),
    "restore": lambda desk, name: desk.restore(name),
    "hold": lambda desk, name: desk.mark(name, Mark.HELD),
    "release": lambda desk, name: desk.mark(name, Mark.HELD, lift=True),
    "erase": lambda desk, name: desk.erase(name),
    "sweep": lambda desk, _: desk.sweep(now=NOON + DAYS),
}
SILENT_AGAIN = {"hold", "release", "erase", "sweep"}
"""Done twice they change nothing the second time, and say so without an error."""


@pytest.mark.law("L8")
@given(steps=st.lists(st.sampled_from(list(WAYS)), max_size=15))
def test_every_acknowledged_change_has_exactly_one_leaf_and_a_refused_one_has_none(steps: list[str]) -> None:
    desk = in_memory()
    (ann, _) = desk.add(person("Ann"), person("Bo"))
    noted = []
    for step in steps:
        before, kept = desk.ledger.head().size, _contents(desk)
        try:
            WAYS[step](desk, ann.id)
        except CapsuleError:
            assert desk.ledger.head().size == before, step
            continue
        acts = [leaf.act for leaf in desk.leaves()[before:]]
        if _contents(desk) == kept:
            assert step in SILENT_AGAIN
            assert acts == []
        elif step in {"erase", "sweep"}:
            assert acts == [FENCE, DELETE, COMMIT]
        else:
            assert acts == ["try"]
        noted = [leaf_hash(data) for data in desk.ledger.read(0, 1000)]
    assert audit(desk.ledger, recorded=noted) == desk.ledger.head()


def _contents(desk) -> tuple:
    store = desk.store
    return tuple(map(repr, (store._records, store._reasons, store._answers)))


@pytest.mark.law("L8")
def test_one_call_about_many_has_one_leaf_that_counts_them() -> None:
    desk = in_memory()
    people = [person(f"P{number}") for number in range(100)]
    desk.add(*people)
    (leaf,) = desk.leaves()
    assert (leaf.records, len(set(leaf.subjects))) == (100, 100)


@pytest.mark.law("L9")
@given(name=st.text(min_size=1, max_size=40), again=st.integers(1, 4))
def test_the_same_request_has_one_effect_and_one_answer(name: str, again: int) -> None:
    desk = in_memory()
    content = person("Ann")
    (kept,) = desk.add(content, request=asked(name))
    for _ in range(again):
        assert desk.repository.answered(ACME, asked(name)) == [kept]
        with pytest.raises(CapsuleError):
            desk.add(person("Twin"), request=asked(name))
    assert len(desk.repository.select(Where(tenant=ACME), use=Use.SEARCH, limit=9).records) == 1
    with pytest.raises(RequestReused):
        desk.repository.answered(ACME, asked(name, digest=b"another"))
    assert desk.repository.answered(ACME, attrs.evolve(asked(name), caller="user/u2")) is None


@pytest.mark.law("L9")
@pytest.mark.parametrize("name", [f"r{number}" for number in range(10)])
def test_one_request_sent_many_times_at_once_has_one_effect(name: str) -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))

    def send(_: int) -> object:
        request = asked(name)
        return desk.repository.answered(ACME, request) or desk.add(note(ann.id), request=request)

    results = at_once(send)
    done = [result for result in results if not isinstance(result, Exception)]
    assert done
    assert all(result == done[0] for result in done)
    assert all(isinstance(error, CapsuleError) for error in results if isinstance(error, Exception))
    everything = Where(tenant=ACME, roots=(ann.id,), shelf=Shelf.ANY, kinds=("entry",))
    assert len(desk.repository.select(everything, use=Use.DISPLAY, limit=9).records) == 1
    assert [leaf.records for leaf in desk.leaves()] == [1, 1]


@pytest.mark.law("L9")
def test_after_an_erasure_the_same_request_is_told_so_and_has_no_effect() -> None:
    desk = in_memory()
    content = person("Ann")
    desk.add(content, request=asked("r1"))
    desk.erase(content.id)
    with pytest.raises(SubjectErased):
        desk.repository.answered(ACME, asked("r1"))
    with pytest.raises(RequestReused):
        desk.repository.answered(ACME, asked("r1", digest=b"another"))
    with pytest.raises(SubjectErased):
        desk.add(content, request=asked("r1"))


@pytest.mark.law("L9")
def test_a_request_that_was_refused_is_not_remembered_as_done() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    desk.mark(ann.id, Mark.RESTRICTED)
    stale = desk.get(ann.id, use=Use.STORE)
    with pytest.raises(SubjectRestricted):
        desk.repository.trash(stale, "b1", act=desk.act(), request=asked("r1"))
    assert desk.repository.answered(ACME, asked("r1")) is None
    desk.mark(ann.id, Mark.RESTRICTED, lift=True)
    desk.repository.trash(stale, "b1", act=desk.act(), request=asked("r1"))
    assert desk.repository.answered(ACME, asked("r1")) is not None


@pytest.mark.law("L13")
@pytest.mark.parametrize("use", Use)
@pytest.mark.parametrize("mark", [Mark.NONE, Mark.RESTRICTED, Mark.OBJECTED, Mark.HELD])
def test_a_subject_is_touched_only_for_uses_that_its_marks_admit(use: Use, mark: Mark) -> None:
    desk = in_memory()
    (ann, bo) = desk.add(person("Ann"), person("Bo"))
    if mark:
        desk.mark(ann.id, mark)
    refused = (mark is Mark.RESTRICTED and use not in RESTRICTED_USES) or (
        mark is Mark.OBJECTED and use is Use.MARKETING
    )
    listed = desk.repository.select(Where(tenant=ACME), use=use, limit=9).records
    assert {kept.id for kept in listed} == ({bo.id} if refused else {ann.id, bo.id})
    stale = desk.get(ann.id, use=Use.STORE if mark is not Mark.OBJECTED else Use.DISPLAY)
    act = desk.act(use=use)
    for attempt in (
        lambda: desk.get(ann.id, use=use),
        lambda: desk.repository.change(stale, attrs.evolve(stale.content, about="changed"), act=act),
        lambda: desk.add(note(ann.id), use=use),
        lambda: desk.repository.trash(desk.get(ann.id, use=Use.SUBJECT_ACCESS), "b1", act=act),
    ):
        if refused:
            with pytest.raises(SubjectRestricted):
                attempt()
        else:
            attempt()
    assert desk.get(bo.id, use=use).content == bo.content


RESTRICTED_USES = {Use.STORE, Use.SUBJECT_ACCESS, Use.LEGAL_CLAIM, Use.ERASE}
"""GDPR Art. 18(2): while processing is restricted, storing, and what the subject or a court needs."""


@pytest.mark.law("L13")
@pytest.mark.parametrize("use", Use)
def test_no_use_admits_a_fenced_or_erased_subject(use: Use) -> None:
    assert not admits(use) & (Mark.FENCED | Mark.ERASED)


@pytest.mark.law("L13")
def test_an_act_without_a_declared_use_or_a_witness_changes_nothing() -> None:
    desk = in_memory()
    content = Person(id="c1", given_name="Ann")
    nameless = Act(tenant=ACME, actor=USER, verb="try", use="curiosity", at=NOON)
    with pytest.raises(ValueError, match="curiosity"):
        desk.repository.add([Draft(content)], act=nameless)
    with pytest.raises(RuntimeError, match="without a witness"):
        desk.store.write(desk.repository._sealed([Draft(content)], desk.act()), admits=Mark.NONE, act=desk.act())
    assert desk.repository.read(ACME, [RecordId("c1")], use=Use.DISPLAY) == [None]
    assert desk.leaves() == []
