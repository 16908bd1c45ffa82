"""The key ring: who is published is believed, who is withdrawn is not, and strangers do not make us ask.

What makes a token good or bad is tested over the wire, in test_runtime_server.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from joserfc.jwk import OKPKey

from capsule_core.errors import CapsuleError, PermissionDenied, Unauthenticated, Unavailable
from capsule_core.roles import Role
from capsule_services.runtime.tokens import BELIEVED, KeyRing, made_key, published, sign_token
from tests.services.chassis import KEY, anna, other_key
from tests.services.test_identity_users import switching_often

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


@attrs.define
class Identity:
    """The identity service as a key ring sees it, at a time that the test sets."""

    keys: bytes = attrs.field(factory=lambda: published(KEY))
    now: datetime = NOW
    asked: int = 0
    fails: type[CapsuleError] | None = None

    def fetch(self) -> bytes:
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        return self.keys

    def ring(self) -> KeyRing:
        return KeyRing(self.fetch, lambda: self.now)


def signed(key: OKPKey = KEY, now: datetime = NOW) -> str:
    return sign_token(anna(), key, now=now, lifetime=HOUR)


STRANGE = signed(made_key())


@pytest.mark.parametrize("role", Role)
def test_a_token_says_who_calls(role: Role) -> None:
    caller = anna(role=role)
    assert Identity().ring().verify(sign_token(caller, KEY, now=NOW, lifetime=HOUR)) == caller


def test_keys_are_fetched_once() -> None:
    identity = Identity()
    ring = identity.ring()
    for _ in range(3):
        ring.verify(signed())
    assert identity.asked == 1


def test_a_new_key_is_fetched_when_a_token_names_it() -> None:
    identity = Identity()
    ring = identity.ring()
    ring.verify(signed())
    identity.keys, identity.now = published(KEY, other_key()), NOW + timedelta(seconds=5)
    assert ring.verify(signed(other_key())) == anna()
    assert ring.verify(signed()) == anna()
    assert identity.asked == 2


def test_a_token_of_a_key_that_is_published_just_now_is_believed_at_once() -> None:
    identity = Identity()
    ring = identity.ring()
    ring.verify(signed())
    for key in (made_key() for _ in range(3)):
        identity.now += SECOND / 5
        ring.refresh()
        identity.keys = published(key)
        assert ring.verify(signed(key)) == anna()


def test_tokens_with_unknown_keys_do_not_make_us_ask_all_the_time() -> None:
    identity = Identity()
    ring = identity.ring()
    ring.verify(signed())
    identity.now += timedelta(minutes=1)
    for _ in range(10):
        with pytest.raises(Unauthenticated):
            ring.verify(signed(made_key()))
    assert identity.asked == 2


def test_a_token_is_good_until_it_expires_and_a_few_seconds_for_clocks_that_differ() -> None:
    identity = Identity()
    ring = identity.ring()
    token = signed()
    identity.now = NOW + HOUR + timedelta(seconds=4)
    assert ring.verify(token) == anna()
    identity.now = NOW + HOUR + timedelta(seconds=6)
    with pytest.raises(Unauthenticated):
        ring.verify(token)


def test_a_key_that_is_withdrawn_takes_its_tokens_along_and_no_others() -> None:
    identity = Identity(keys=published(KEY, other_key()))
    ring = identity.ring()
    good, bad = signed(other_key()), signed()
    for token in (good, bad):
        assert ring.verify(token) == anna()
    identity.keys = published(other_key())
    ring.refresh()
    for token in (bad, signed(now=NOW + SECOND)):
        with pytest.raises(Unauthenticated):
            ring.verify(token)
    assert ring.verify(good) == anna()


def test_a_token_of_a_withdrawn_key_is_refused_as_any_bad_one_is() -> None:
    identity = Identity()
    ring = identity.ring()
    ring.verify(signed())
    identity.keys = published(other_key())
    ring.refresh()
    told = set()
    for token in (signed(), signed(made_key()), "x.y.z", ""):
        with pytest.raises(Unauthenticated) as refused:
            ring.verify(token)
        told.add(repr(refused.value))
    assert len(told) == 1


def test_nobody_remembers_a_withdrawn_key_however_many_ask_meanwhile() -> None:
    identity = Identity()
    ring, bad, over = identity.ring(), signed(), threading.Event()

    def ask() -> None:
        while not over.is_set():
            with suppress(Unauthenticated):
                ring.verify(bad)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    with switching_often():
        for thread in threads:
            thread.start()
        try:
            for _ in range(100):
                identity.keys = published(KEY)
                ring.refresh()
                assert ring.verify(bad) == anna()
                identity.keys = published(other_key())
                ring.refresh()
                for _ in range(3):
                    with pytest.raises(Unauthenticated):
                        ring.verify(bad)
        finally:
            over.set()
            for thread in threads:
                thread.join()


def test_keys_that_nobody_confirms_are_believed_half_a_minute_and_then_nobody_is() -> None:
    identity = Identity()
    ring, token = identity.ring(), signed()
    ring.verify(token)
    identity.fails = Unavailable
    identity.now = NOW + BELIEVED - SECOND
    assert ring.verify(token) == anna()
    assert ring.verify(signed(now=identity.now)) == anna()
    identity.now = NOW + BELIEVED
    for each in (token, signed(now=identity.now), signed(other_key())):
        with pytest.raises(Unavailable):
            ring.verify(each)
    assert ring.age() == BELIEVED.total_seconds()
    identity.fails, identity.now = None, identity.now + SECOND
    assert ring.verify(token) == anna()
    assert ring.age() == 0


@pytest.mark.parametrize("fails", [Unavailable, PermissionDenied, CapsuleError])
def test_while_nobody_answers_a_key_that_is_not_known_is_neither_believed_nor_refused(
    fails: type[CapsuleError],
) -> None:
    identity = Identity()
    ring = identity.ring()
    ring.verify(signed())
    identity.fails, identity.now = fails, NOW + SECOND
    for _ in range(5):
        identity.now += SECOND / 10
        with pytest.raises(Unavailable):
            ring.verify(signed(other_key()))
        assert ring.verify(signed()) == anna()


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense", b"{}", b"[]", b'{"keys": []}', b'{"keys": [{"kty": "OKP"}]}', b"\xff"]
)
def test_an_answer_that_is_no_key_set_is_no_answer(answer: bytes) -> None:
    identity = Identity()
    ring = identity.ring()
    ring.verify(signed())
    identity.keys = answer
    with pytest.raises(Unavailable):
        ring.refresh()
    assert ring.verify(signed()) == anna()
    identity.now = NOW + BELIEVED
    with pytest.raises(Unavailable):
        ring.verify(signed())


def test_strangers_make_us_ask_five_times_a_second_at_most_and_those_whom_we_know_do_not_wait() -> None:
    identity = Identity()
    ring = identity.ring()
    ring.verify(signed())
    for step in range(1000):
        identity.now = NOW + step * SECOND / 100
        with pytest.raises(Unauthenticated):
            ring.verify(STRANGE)
        assert ring.verify(signed()) == anna()
    assert identity.asked <= 1 + 5 * 10


def test_a_call_that_goes_on_ends_with_its_key_and_not_with_its_token() -> None:
    identity = Identity(keys=published(KEY, other_key()))
    ring = identity.ring()
    token = signed()
    ring.verify(token)
    stand, other = ring.standing(token), ring.standing(signed(other_key()))
    identity.now = NOW + 2 * HOUR
    for still in (stand, other):
        still()
    identity.keys = published(other_key())
    ring.refresh()
    other()
    with pytest.raises(Unauthenticated):
        stand()


def test_without_keys_nobody_is_believed_and_nobody_is_refused() -> None:
    identity = Identity(fails=Unavailable)
    ring = identity.ring()
    for _ in range(2):
        with pytest.raises(Unavailable):
            ring.verify(signed())


def test_published_keys_keep_the_private_half_to_themselves() -> None:
    private = KEY.as_dict(private=True)["d"]
    assert isinstance(private, str)
    assert private.encode() not in published(KEY)
