"""Whose data an operation may touch follows from its use; nothing reaches the fenced, and the gravest reason speaks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.errors import SubjectErased, SubjectHeld, SubjectRestricted
from capsule_core.records import Mark
from capsule_core.uses import Use, admits, refusal

MARKS = [Mark.HELD, Mark.OBLIGED, Mark.RESTRICTED, Mark.OBJECTED, Mark.FENCED, Mark.ERASED]
marks = st.sets(st.sampled_from(MARKS), min_size=1).map(lambda some: Mark(sum(some)))


@pytest.mark.law("L5")
@pytest.mark.parametrize("use", list(Use))
def test_no_use_admits_the_fenced_or_the_erased(use: Use) -> None:
    assert not admits(use) & (Mark.FENCED | Mark.ERASED)


@pytest.mark.law("L13")
@pytest.mark.parametrize("use", list(Use))
def test_the_restricted_are_kept_given_access_defended_and_erased_and_nothing_else(use: Use) -> None:
    allowed = {Use.STORE, Use.SUBJECT_ACCESS, Use.LEGAL_CLAIM, Use.ERASE}
    assert bool(admits(use) & Mark.RESTRICTED) == (use in allowed)


@pytest.mark.parametrize("use", list(Use))
def test_an_objection_stops_marketing_and_a_hold_stops_no_use(use: Use) -> None:
    assert bool(admits(use) & Mark.OBJECTED) == (use is not Use.MARKETING)
    assert admits(use) & Mark.HELD
    assert admits(use) & Mark.OBLIGED


@given(marks, st.sampled_from(list(Use)))
def test_the_gravest_reason_speaks(carried: Mark, use: Use) -> None:
    told = refusal(carried, use)
    if carried & (Mark.FENCED | Mark.ERASED):
        assert isinstance(told, SubjectErased)
    elif carried & (Mark.RESTRICTED | Mark.OBJECTED):
        assert isinstance(told, SubjectRestricted)
        assert told.use == use.value
    else:
        assert isinstance(told, SubjectHeld)
