"""The key ring: keys are fetched when needed, again when a new one appears, and never at the will of strangers.

What makes a token good or bad is tested over the wire, in test_runtime_server.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from joserfc.jwk import OKPKey

from capsule_core.errors import Unauthenticated, Unavailable
from capsule_core.roles import Role
from capsule_services.runtime.tokens import KeyRing, made_key, published, sign_token
from tests.services.chassis import KEY, anna, other_key

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@attrs.define
class Identity:
    """The identity service as a key ring sees it, at a time that the test sets."""

    keys: bytes = attrs.field(factory=lambda: published(KEY))
    now: datetime = NOW
    asked: int = 0

    def fetch(self) -> bytes:
        self.asked += 1
        return self.keys

    def ring(self) -> KeyRing:
        return KeyRing(self.fetch, lambda: self.now)


def signed(key: OKPKey = KEY, now: datetime = NOW) -> str:
    return sign_token(anna(), key, now=now, lifetime=HOUR)


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


def test_a_key_that_is_withdrawn_takes_its_tokens_along() -> None:
    identity = Identity()
    ring = identity.ring()
    ring.verify(signed())
    identity.keys, identity.now = published(other_key()), NOW + timedelta(seconds=5)
    ring.verify(signed(other_key()))
    with pytest.raises(Unauthenticated):
        ring.verify(signed())


def test_without_keys_nobody_is_believed_and_nobody_is_refused() -> None:
    def fetch() -> bytes:
        raise Unavailable

    with pytest.raises(Unavailable):
        KeyRing(fetch, lambda: NOW).verify(signed())


def test_published_keys_keep_the_private_half_to_themselves() -> None:
    private = KEY.as_dict(private=True)["d"]
    assert isinstance(private, str)
    assert private.encode() not in published(KEY)
