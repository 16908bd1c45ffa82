"""Erasure: after the fence no write succeeds, and after the receipt nothing readable is left."""

from __future__ import annotations

import pytest

from capsule_core.errors import CapsuleError
from capsule_core.records import Mark
from tests.core.desk import NOON, in_memory, note, person
from tests.core.siege import Traces, besiege, values_reachable_from

SEEDS = range(20)


@pytest.mark.law("L5")
@pytest.mark.parametrize("seed", SEEDS)
def test_after_the_fence_no_write_for_the_subject_succeeds_on_any_path(seed: int) -> None:
    besiege(in_memory(), seed)


@pytest.mark.law("L5")
def test_nobody_who_saw_the_record_before_can_bring_it_back() -> None:
    desk = in_memory()
    ann, bo = desk.add(person("Ann"), person("Bo"))
    stale = desk.get(ann.id)
    desk.erase(ann.id)
    for attempt in (
        lambda: desk.rename(ann.id, "x"),
        lambda: desk.repository.change(stale, stale.content, act=desk.act()),
        lambda: desk.repository.trash(stale, "b1", act=desk.act()),
        lambda: desk.add(ann.content),
        lambda: desk.get(ann.id),
    ):
        with pytest.raises(CapsuleError) as refusal:
            attempt()
        assert refusal.value.reason in {"SUBJECT_ERASED", "NOT_FOUND", "ETAG_MISMATCH"}
    assert desk.get(bo.id).content == bo.content


@pytest.mark.law("L6")
def test_after_a_receipt_no_plaintext_key_or_token_can_be_reached_from_the_stores() -> None:
    desk = in_memory()
    ann, bo = desk.add(person("Ann", email="ann@example.org", about="Xanthippe's secret"), person("Bo"))
    traces = Traces.of(desk, ann, "Xanthippe")
    assert {"key", "token", "body"} <= traces.left_among(values_reachable_from(desk)), "the walk finds nothing at all"
    receipt = desk.erase(ann.id)
    assert receipt is not None
    del ann
    assert traces.left_among(values_reachable_from(desk)) == set()
    assert desk.get(bo.id).content.given_name == "Bo"


@pytest.mark.law("L5")
def test_a_fence_that_waits_for_its_erasure_survives_a_restart_and_keeps_writers_out() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann"))
    desk.mark(ann.id, Mark.FENCED)
    assert desk.eraser.resume(now=NOON) == []
    with pytest.raises(CapsuleError):
        desk.add(note(ann.id))
    assert desk.erase(ann.id, id="why") is not None, "the erasure in whose name it was fenced"


@pytest.mark.law("L6")
def test_erasing_again_destroys_nothing_more_and_says_the_same() -> None:
    desk = in_memory()
    (ann,) = desk.add(person())
    first = desk.erase(ann.id, id="e1")
    size = desk.ledger.head().size
    assert desk.erase(ann.id, id="e1", now=NOON) == first
    assert desk.ledger.head().size == size
