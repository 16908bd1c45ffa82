"""Makes the tokens that every service believes, and publishes the keys they are checked with."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import attrs

from capsule_services.identity.signing import LIFETIME, SigningKeys
from capsule_services.runtime.callers import UserCaller
from capsule_services.runtime.tokens import published, sign_token

__all__ = ["Issuer"]


@attrs.frozen
class Issuer:
    """Signs tokens with the *keys* there are at the moment, by the *wall* clock, which nobody moves."""

    keys: Callable[[], SigningKeys]
    wall: Callable[[], datetime]

    def token(self, caller: UserCaller, *, now: datetime) -> str:
        return sign_token(caller, self.keys().signing(now).key, now=now, lifetime=LIFETIME)

    def jwks(self) -> bytes:
        """Return the public keys that are believed as a JSON Web Key Set (RFC 7517)."""
        return published(*(each.key for each in self.keys().believed(self.wall())))
