"""The keys that tokens are signed with: one signs, the one before is believed as long as anything it signed may work.

Keys sign one after the other: each until its end, the last until further notice. A new key is published a while before
it signs, so that every service knows it by then. A key that is withdrawn is believed no more, and neither is any token
it ever signed.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from capsule_core.errors import InvalidField
from capsule_services.runtime.tokens import LEEWAY

__all__ = ["LEAD", "LIFETIME", "SEED_BYTES", "SigningKey", "SigningKeys", "key_from_seed"]

LIFETIME: Final = timedelta(minutes=10)
"""How long a token works, and a session lasts without signing in anew."""

LEAD: Final = timedelta(seconds=10)
"""How long a new key is published before it signs."""

SEED_BYTES: Final = 32

_LONGEST: Final = timedelta(hours=1)
"""How long a call lasts at most that began with a token."""

_VERSION: Final = 1


@attrs.frozen
class SigningKey:
    """A key that signs *until* its end, or for good; *made* is None if nobody wrote down when."""

    key: OKPKey = attrs.field(repr=False)
    made: datetime | None = None
    until: datetime | None = None

    @classmethod
    def from_seed(cls, seed: bytes, made: datetime | None = None, until: datetime | None = None) -> SigningKey:
        """Make it of 32 secret bytes; ValueError if they are not so many."""
        return cls(key_from_seed(seed), made, until)

    @property
    def kid(self) -> str:
        """Its name in tokens and in the published set."""
        return str(self.key.kid)

    def signs(self, now: datetime) -> bool:
        """Tell whether its end has not come."""
        return self.until is None or now < self.until

    @property
    def believed_until(self) -> datetime | None:
        """When the last token that it signed has expired, and the last call with it is over; None while it signs."""
        return None if self.until is None else self.until + LIFETIME + LEEWAY + _LONGEST

    def is_believed(self, now: datetime) -> bool:
        """Tell whether it is published, for what it signed may still work."""
        return self.believed_until is None or now < self.believed_until


@attrs.frozen
class SigningKeys:
    """Keys in the order in which they sign; at least one, and the last one has no end."""

    keys: tuple[SigningKey, ...]

    def signing(self, now: datetime) -> SigningKey:
        """Return the key that signs."""
        return next(each for each in self.keys if each.signs(now))

    def believed(self, now: datetime) -> tuple[SigningKey, ...]:
        """Return the keys to publish: who signs, who will, and who did as long as a token of theirs may work."""
        return tuple(each for each in self.keys if each.is_believed(now))

    def rotated(self, fresh: SigningKey, now: datetime) -> SigningKeys:
        """Let *fresh* sign in a moment, when every service knows it."""
        *before, last = self.believed(now)
        until = max([now + LEAD, *(each.until for each in before if each.until is not None)])
        return SigningKeys((*before, attrs.evolve(last, until=until), fresh))

    def withdrawn(self, kids: Collection[str], fresh: SigningKey, now: datetime) -> SigningKeys:
        """Take the keys with these names out at once; *fresh* signs from now on if nobody else is left to.

        Raises:
            InvalidField: there is no key of one of the names.
        """
        if unknown := set(kids) - {each.kid for each in self.keys}:
            raise InvalidField("KID", f"names no key that is believed: {min(unknown)}")
        left = tuple(each for each in self.believed(now) if each.kid not in kids)
        if not any(each.signs(now) for each in left):
            return SigningKeys((*left, fresh))
        return SigningKeys((*left[:-1], attrs.evolve(left[-1], until=None)))

    def to_bytes(self) -> bytes:
        """Write the keys, secrets included, as JSON."""
        told = [
            {"seed": each.key.as_dict(private=True)["d"], "made": _time(each.made), "until": _time(each.until)}
            for each in self.keys
        ]
        return json.dumps({"version": _VERSION, "keys": told}, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> SigningKeys:
        """Read what :meth:`to_bytes` wrote, or the bare 32 bytes of the only key, as they were kept before.

        Raises:
            ValueError: it is something else.
        """
        if len(data) == SEED_BYTES:
            return cls((SigningKey.from_seed(data),))
        try:
            read = json.loads(data)
            version, keys = read["version"], tuple(_key(each) for each in read["keys"])
        except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
            raise ValueError from error
        ends = [each.until for each in keys]
        if version != _VERSION or not keys or ends.pop() is not None or ends != sorted(filter(None, ends)):
            raise ValueError
        return cls(keys)


def key_from_seed(seed: bytes) -> OKPKey:
    """Make the Ed25519 key that 32 secret bytes stand for, named by its thumbprint (RFC 8037, RFC 7638).

    Raises:
        ValueError: they are not 32.
    """
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "d": _written(seed), "x": _written(public)})
    return OKPKey.import_key({**key.as_dict(private=True), "kid": key.thumbprint()})


def _key(told: Mapping[str, Any]) -> SigningKey:
    made, until = told["made"], told["until"]
    return SigningKey.from_seed(_read(told["seed"]), made and _moment(made), until and _moment(until))


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.utcoffset() is None:
        raise ValueError
    return moment.astimezone(UTC)


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _written(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _read(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
