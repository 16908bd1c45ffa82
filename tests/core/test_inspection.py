"""Whatever is done to a log: the first wrong leaf is found against a checkpoint, and no more is said than is known."""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.checkpoints import Checkpoint, Signer, sign_checkpoint
from capsule_core.inspection import Wrong, inspect
from capsule_core.merkle import BLOCK, Frontier
from tests.core.tampering import LEAVES, NOTES, Found, first_wrong

SIGNER = Signer.from_seed("contacts", bytes(range(32)))
OTHER = Signer.from_seed("contacts", bytes(32))
LONGEST = 3 * BLOCK + 77
HONEST = [b"leaf %d" % number for number in range(LONGEST)]
GROWING = [Frontier()]
for _data in HONEST:
    GROWING.append(GROWING[-1].append([_data]))
NEAR_A_BLOCK = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 1, 2 * BLOCK, 3 * BLOCK]

places = st.integers(0, LONGEST - 1) | st.sampled_from(NEAR_A_BLOCK)


def checkpoint(size: int) -> Checkpoint:
    return Checkpoint("contacts", size, GROWING[size].root())


def note(size: int, signer: Signer = SIGNER) -> str:
    return sign_checkpoint(checkpoint(size), signer)


@pytest.mark.law("L8")
@given(
    length=st.integers(1, LONGEST),
    share=st.integers(0, 100),
    at=places,
    done=st.tuples(st.sampled_from(sorted(LEAVES)), st.sampled_from(sorted(NOTES))),
    known=st.lists(st.integers(0, LONGEST), max_size=4),
)
def test_the_first_wrong_leaf_is_found_against_a_checkpoint_whatever_was_done(
    length: int, share: int, at: int, done: tuple[str, str], known: list[int]
) -> None:
    honest, size = HONEST[:length], max(1, length * share // 100)
    found = Found.of(honest)
    LEAVES[done[0]](found, at % length)
    NOTES[done[1]](found)
    sizes = sorted({each % size for each in known})
    told = inspect(found, checkpoint(size), notes=[note(each) for each in sizes], verifier=SIGNER.verifier)
    wrong = first_wrong(found, honest)
    if wrong >= size:
        assert told.fault is None or told.fault.wrong is Wrong.NOTES or not told.fault.proven
        assert told.fault is None or told.fault.wrong is Wrong.NOTES or told.fault.first >= size
        return
    assert told.fault is not None
    assert told.fault.proven
    assert told.fault.first <= wrong <= told.fault.last
    edges = [*sizes, size]
    place = bisect_right(edges, wrong)
    assert told.fault.first >= max([0, *edges[:place]]), "as far as older checkpoints go, it is narrowed down"
    assert told.fault.last < edges[place] or told.fault.last == wrong
    if told.fault.wrong is not Wrong.CHANGED:
        assert told.fault.last not in found.leaves


@pytest.mark.law("L8")
@pytest.mark.parametrize("how", LEAVES)
@given(at=places)
def test_with_its_notes_untouched_the_first_wrong_leaf_is_one_of_half_a_block(how: str, at: int) -> None:
    found = Found.of(HONEST)
    LEAVES[how](found, at)
    wrong = first_wrong(found, HONEST)
    against = checkpoint(LONGEST)
    fault = inspect(found, against).fault
    if wrong == LONGEST:
        assert how in {"move", "swap"}
        return
    assert fault is not None
    assert fault.proven
    assert fault.first <= wrong <= fault.last
    assert fault.first // BLOCK == wrong // BLOCK
    assert fault.last - fault.first < BLOCK // 2


@given(size=st.integers(1, LONGEST))
def test_an_honest_log_is_whole_against_every_checkpoint_and_by_itself(size: int) -> None:
    found = Found.of(HONEST)
    assert inspect(found, checkpoint(size)).fault is None
    assert inspect(found).fault is None
    assert inspect(Found.of(HONEST[:size])).size == size


def test_an_empty_log_is_whole() -> None:
    assert inspect(Found.of([])).fault is None
    assert inspect(Found.of([]), checkpoint(0)).fault is None


@given(at=places, how=st.sampled_from(sorted(LEAVES)))
def test_without_a_checkpoint_it_is_compared_with_its_own_notes_and_nothing_is_proven(at: int, how: str) -> None:
    found = Found.of(HONEST)
    LEAVES[how](found, at)
    fault, wrong = inspect(found).fault, first_wrong(found, HONEST)
    if wrong == LONGEST:
        return
    assert fault is not None
    assert not fault.proven
    assert fault.first <= wrong <= fault.last


@pytest.mark.law("L8")
@given(at=places, how=st.sampled_from(sorted(set(LEAVES) - {"take_out"})))
def test_who_rewrites_the_notes_too_is_found_by_a_checkpoint_and_by_nothing_else(at: int, how: str) -> None:
    found = Found.of(HONEST)
    LEAVES[how](found, at)
    NOTES["rewrite"](found)
    assert inspect(found).fault is None, "it agrees with itself: that proves little"
    fault = inspect(found, checkpoint(LONGEST)).fault
    assert (fault is None) == (first_wrong(found, HONEST) == LONGEST)


@given(size=st.sampled_from([BLOCK, 2 * BLOCK, 3 * BLOCK, LONGEST]), byte=st.integers(0, 8 + 31), gone=st.booleans())
def test_a_note_that_was_altered_is_told_from_a_leaf_that_was(size: int, byte: int, gone: bool) -> None:
    found = Found.of(HONEST)
    encoded = bytearray(found.frontiers.pop(size))
    encoded[byte] ^= 1
    if not gone:
        found.frontiers[size] = bytes(encoded)
    fault = inspect(found, checkpoint(LONGEST)).fault
    assert fault is not None
    assert fault.wrong is Wrong.NOTES
    assert fault.first <= size


def test_leaves_that_nobody_appended_are_seen_behind_the_end() -> None:
    found = Found.of(HONEST)
    found.leaves[LONGEST] = b"never happened"
    fault = inspect(found, checkpoint(LONGEST)).fault
    assert fault is not None
    assert (fault.wrong, fault.first, fault.proven) == (Wrong.NOTES, LONGEST, False)


def test_what_grew_behind_the_checkpoint_is_only_vouched_for_by_the_log_itself() -> None:
    found = Found.of(HONEST)
    LEAVES["edit"](found, 3 * BLOCK + 5)
    fault = inspect(found, checkpoint(2 * BLOCK + 9)).fault
    assert fault is not None
    assert (fault.wrong, fault.proven) == (Wrong.CHANGED, False)
    assert fault.first <= 3 * BLOCK + 5 <= fault.last


def test_older_checkpoints_that_somebody_else_signed_narrow_nothing_down() -> None:
    found = Found.of(HONEST)
    LEAVES["edit"](found, 100)
    NOTES["rewrite"](found)
    lies = [
        sign_checkpoint(Checkpoint("contacts", size, Frontier().append(found.read(0, size)).root()), OTHER)
        for size in (200, 300)
    ]
    fault = inspect(found, checkpoint(LONGEST), notes=[note(50), *lies, note(600)], verifier=SIGNER.verifier).fault
    assert fault is not None
    assert (fault.first, fault.last) == (50, 599)


def test_where_notes_cannot_be_believed_they_are_named_as_a_suspicion_only() -> None:
    found = Found.of(HONEST)
    LEAVES["edit"](found, 100)
    LEAVES["edit"](found, 2 * BLOCK + 100)
    honest = found.frontiers[3 * BLOCK]
    NOTES["rewrite"](found)
    found.frontiers[3 * BLOCK] = honest
    fault = inspect(found, checkpoint(LONGEST)).fault
    assert fault is not None
    assert (fault.first, fault.last, fault.proven) == (0, LONGEST - 1, True)
    assert fault.suspected is not None
    assert fault.suspected[0] // BLOCK == 2


def test_whoever_watches_is_told_of_each_leaf_once() -> None:
    seen: list[tuple[int, int]] = []
    data = [b"%d" % number for number in range(20 * BLOCK)]
    inspect(Found.of(data), told=lambda start, leaves: seen.append((start, len(leaves))))
    assert all(start + count == following for (start, count), (following, _) in pairwise(seen))
    assert sum(count for _, count in seen) == len(data)
