"""Makes the tokens that every service believes, and publishes the key they are checked with."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import attrs
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc.jwk import OKPKey

from capsule_services.runtime.callers import UserCaller
from capsule_services.runtime.tokens import published, sign_token

__all__ = ["LIFETIME", "Issuer", "key_from_seed"]

LIFETIME: Final = timedelta(minutes=10)
"""How long a token works, and a session lasts without signing in anew."""


@attrs.frozen
class Issuer:
    """Signs tokens with *key* by the *wall* clock, which nobody moves."""

    key: OKPKey = attrs.field(repr=False)
    wall: Callable[[], datetime]

    def token(self, caller: UserCaller, *, now: datetime) -> str:
        return sign_token(caller, self.key, now=now, lifetime=LIFETIME)

    def jwks(self) -> bytes:
        """Return the public key as a JSON Web Key Set (RFC 7517)."""
        return published(self.key)


def key_from_seed(seed: bytes) -> OKPKey:
    """Make the signing key that 32 secret bytes stand for, named by its thumbprint (RFC 7638)."""
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "d": _written(seed), "x": _written(public)})
    return OKPKey.import_key({**key.as_dict(private=True), "kid": key.thumbprint()})


def _written(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
