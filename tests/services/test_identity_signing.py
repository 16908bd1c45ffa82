"""Signing keys: at every moment one signs, whatever it signed works to its end, and what is withdrawn never again."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.errors import InvalidField
from capsule_services.identity.signing import LEAD, LIFETIME, SigningKey, SigningKeys
from capsule_services.runtime.tokens import LEEWAY

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def key(number: int, made: datetime | None = NOW) -> SigningKey:
    return SigningKey.from_seed(bytes([number]) * 32, made)


FIRST = SigningKeys((key(0),))


def kids(keys: tuple[SigningKey, ...]) -> list[str]:
    return [each.kid for each in keys]


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[SigningKeys, set[str], datetime]]:
    """What happened to keys one after the other: the keys then, all that were withdrawn so far, and when."""
    keys, gone, now = FIRST, set[str](), NOW
    happened = [(keys, set(gone), now)]
    for number in range(1, draw(st.integers(1, 8)) + 1):
        now += draw(st.integers(0, 2_000)) * SECOND
        if draw(st.booleans()):
            keys = keys.rotated(key(number, now), now)
        else:
            chosen = draw(st.sets(st.sampled_from(kids(keys.keys)), min_size=1))
            gone |= chosen
            keys = keys.withdrawn(chosen, key(number, now), now)
        happened.append((keys, set(gone), now))
    return happened


@given(happened=histories(), later=st.integers(0, 10_000))
def test_at_every_moment_one_key_signs_and_it_is_published_and_not_withdrawn(happened: Any, later: int) -> None:
    for keys, gone, now in happened:
        for moment in (now, now + later * SECOND):
            signing = keys.signing(moment)
            assert signing in keys.believed(moment)
            assert gone.isdisjoint(kids(keys.believed(moment)))


@given(happened=histories())
def test_what_a_key_signed_is_believed_until_it_expires_unless_it_was_withdrawn(happened: Any) -> None:
    for number, (keys, _, now) in enumerate(happened):
        signing = keys.signing(now)
        for later, gone, then in happened[number:]:
            if then < now + LIFETIME + LEEWAY and signing.kid not in gone:
                assert signing.kid in kids(later.believed(then))


@given(happened=histories())
def test_whoever_signs_was_published_a_while_before_unless_nobody_else_was_left(happened: Any) -> None:
    for (before, _, _), (after, _, now) in pairwise(happened):
        signing = after.signing(now)
        assert signing.kid in kids(before.believed(now)) or not any(
            each.signs(now) for each in before.keys if each.kid in kids(after.keys)
        )


def test_a_new_key_is_published_at_once_and_signs_a_moment_later() -> None:
    keys = FIRST.rotated(key(1), NOW)
    assert kids(keys.believed(NOW)) == [key(0).kid, key(1).kid]
    assert keys.signing(NOW + LEAD - SECOND).kid == key(0).kid
    assert keys.signing(NOW + LEAD).kid == key(1).kid


def test_the_old_key_goes_when_nothing_it_signed_can_work_any_more() -> None:
    keys = FIRST.rotated(key(1), NOW)
    end = keys.keys[0].believed_until
    assert end is not None
    assert end >= NOW + LEAD + LIFETIME + LEEWAY
    assert kids(keys.believed(end - SECOND)) == [key(0).kid, key(1).kid]
    assert kids(keys.believed(end)) == [key(1).kid]
    assert kids(keys.rotated(key(2), end).keys) == [key(1).kid, key(2).kid]


def test_the_key_that_signs_is_withdrawn_and_another_signs_at_once() -> None:
    alone = FIRST.withdrawn([key(0).kid], key(1), NOW)
    assert kids(alone.believed(NOW)) == [key(1).kid]
    announced = FIRST.rotated(key(1), NOW).withdrawn([key(0).kid], key(2), NOW)
    assert kids(announced.keys) == [key(1).kid]
    assert announced.signing(NOW).kid == key(1).kid


def test_a_key_that_was_to_sign_is_withdrawn_and_the_one_before_goes_on() -> None:
    keys = FIRST.rotated(key(1), NOW).withdrawn([key(1).kid], key(2), NOW)
    assert kids(keys.keys) == [key(0).kid]
    assert keys.signing(NOW + LIFETIME).kid == key(0).kid


def test_a_former_key_never_signs_again() -> None:
    later = NOW + LEAD + SECOND
    keys = FIRST.rotated(key(1), NOW).withdrawn([key(1).kid], key(2), later)
    assert keys.signing(later).kid == key(2).kid
    assert kids(keys.believed(later)) == [key(0).kid, key(2).kid]


def test_a_name_that_no_key_has_is_refused_and_nothing_is_withdrawn() -> None:
    with pytest.raises(InvalidField, match="names no key"):
        FIRST.withdrawn([key(0).kid, key(1).kid], key(2), NOW)


@given(happened=histories())
def test_what_is_written_is_read_back(happened: Any) -> None:
    for keys, _, _ in happened:
        assert SigningKeys.from_bytes(keys.to_bytes()) == keys


def test_keys_are_in_order_also_if_the_clock_was_put_back() -> None:
    keys = FIRST.rotated(key(1), NOW).rotated(key(2), NOW - timedelta(hours=1))
    assert SigningKeys.from_bytes(keys.to_bytes()) == keys


def test_the_bare_key_of_earlier_versions_is_read() -> None:
    assert SigningKeys.from_bytes(bytes(32)) == SigningKeys((key(0, None),))


WHOLE = FIRST.rotated(key(1), NOW).rotated(key(2), NOW + SECOND).to_bytes()


@given(place=st.integers(0, len(WHOLE) - 1), cut=st.integers(0, 40), put=st.binary(max_size=4))
def test_damage_is_found_or_does_no_harm(place: int, cut: int, put: bytes) -> None:
    try:
        keys = SigningKeys.from_bytes(WHOLE[:place] + put + WHOLE[place + cut :])
    except ValueError:
        return
    assert keys.signing(NOW) in keys.believed(NOW)
    assert SigningKeys.from_bytes(keys.to_bytes()) == keys


def other(told: dict[str, Any], **changed: Any) -> bytes:
    return json.dumps({**told, **changed}).encode()


def test_files_that_are_none_are_refused() -> None:
    told = json.loads(WHOLE)
    first, second, last = told["keys"]
    for bad in (
        *(b"", b"{}", b"[]", b"null", b"1", b"\xff", b"[" * 200_000, bytes(31), bytes(33)),
        other(told, version=2),
        json.dumps({"keys": told["keys"]}).encode(),
        other(told, keys=[]),
        other(told, keys=[first, second]),
        other(told, keys=[last, first]),
        other(told, keys=[second, first, last]),
        other(told, keys=[{**last, "seed": "AAAA"}]),
        other(told, keys=[{**last, "seed": 1}]),
        other(told, keys=[{**last, "made": "2027-03-01T12:00:00"}]),
        other(told, keys=[{"seed": last["seed"]}]),
    ):
        with pytest.raises(ValueError):
            SigningKeys.from_bytes(bad)


def test_no_secret_is_shown() -> None:
    told = json.loads(WHOLE)
    assert not any(each["seed"] in repr(SigningKeys.from_bytes(WHOLE)) for each in told["keys"])
