"""User tokens: JSON Web Tokens (RFC 7519) signed with Ed25519 (RFC 9864), for one audience and a short time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import attrs
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey
from joserfc.jws import extract_compact

from capsule_core.errors import InvalidField, Unauthenticated
from capsule_core.names import tenant_id
from capsule_core.roles import Authority, Role
from capsule_services.runtime.callers import UserCaller

__all__ = ["KeyRing", "Verified", "made_key", "published", "sign_token", "verify_token"]

_ALGORITHMS: Final = ["Ed25519"]
_ISSUER: Final = "identity.capsule"
_AUDIENCE: Final = "capsule"
_LEEWAY: Final = timedelta(seconds=5)
_LONGEST: Final = 8192
_REFRESH: Final = timedelta(seconds=5)
_MOST_REMEMBERED: Final = 1024


@attrs.frozen
class Verified:
    """Who a token says is calling, and until when it may be believed."""

    caller: UserCaller
    until: datetime


def made_key() -> OKPKey:
    """Make a new signing key, named by its thumbprint (RFC 7638)."""
    key = OKPKey.generate_key("Ed25519")
    return OKPKey.import_key({**key.as_dict(private=True), "kid": key.thumbprint()})


def published(*keys: OKPKey) -> bytes:
    """Write the public half of *keys* as a JSON Web Key Set (RFC 7517)."""
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}, sort_keys=True).encode()


def sign_token(caller: UserCaller, key: OKPKey, *, now: datetime, lifetime: timedelta) -> str:
    """Sign who *caller* is; *now* is the wall clock's, also where the domain's clock is ahead."""
    claims = {
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "sub": caller.user,
        "tenant": caller.tenant,
        "role": caller.authority.role.value,
        "granted": sorted(caller.authority.granted),
        "sid": caller.session,
        "iat": int(now.timestamp()),
        "exp": int((now + lifetime).timestamp()),
    }
    return jwt.encode({"alg": _ALGORITHMS[0], "kid": key.kid}, claims, key, algorithms=_ALGORITHMS)


def verify_token(token: str, keys: KeySet, *, now: datetime) -> Verified:
    """Read who *token* says is calling.

    Raises:
        Unauthenticated: it is not one of ours, not for us, expired, or damaged; nobody is told which.
    """
    try:
        if len(token) > _LONGEST:
            raise Unauthenticated
        decoded = jwt.decode(token, keys, algorithms=_ALGORITHMS)
        _registry(now).validate(decoded.claims)
        return Verified(_caller(decoded.claims), datetime.fromtimestamp(decoded.claims["exp"], UTC) + _LEEWAY)
    except (JoseError, InvalidField, ValueError, TypeError, KeyError, OverflowError):
        raise Unauthenticated from None


def _registry(now: datetime) -> jwt.JWTClaimsRegistry:
    return jwt.JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=int(_LEEWAY.total_seconds()),
        iss={"essential": True, "value": _ISSUER},
        aud={"essential": True, "value": _AUDIENCE},
        iat={"essential": True},
        exp={"essential": True},
    )


def _caller(claims: dict[str, Any]) -> UserCaller:
    authority = Authority(Role(claims["role"]), frozenset(map(str, claims["granted"])))
    return UserCaller(
        tenant=tenant_id(claims["tenant"]), user=str(claims["sub"]), authority=authority, session=str(claims["sid"])
    )


@attrs.define
class KeyRing:
    """The public keys tokens are checked with: fetched when first needed, and when a token names a key not known yet.

    *fetch* gets the key set from the identity service, *now* is the wall clock. However many tokens name unknown keys,
    the service is asked once in five seconds. A token found good is remembered until it expires or keys change.
    """

    fetch: Callable[[], bytes]
    now: Callable[[], datetime]
    _keys: KeySet | None = attrs.field(default=None, init=False)
    _asked: datetime | None = attrs.field(default=None, init=False)
    _good: dict[str, Verified] = attrs.field(factory=dict, init=False, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def verify(self, token: str) -> UserCaller:
        """Read who *token* says is calling.

        Raises:
            Unauthenticated: it is not valid.
            Unavailable: the keys could not be fetched.
        """
        now, known = self.now(), self._good.get(token)
        if known is None or now >= known.until:
            known = verify_token(token, self._including(_key_named(token)), now=now)
            if len(self._good) >= _MOST_REMEMBERED:
                self._good.clear()
            self._good[token] = known
        return known.caller

    def _including(self, kid: str) -> KeySet:
        keys = self._keys
        if keys is not None and _holds(keys, kid):
            return keys
        with self._lock:
            if self._keys is None or (not _holds(self._keys, kid) and self._may_ask()):
                self._asked = self.now()
                self._keys = KeySet.import_key_set(json.loads(self.fetch()))
                self._good.clear()
            return self._keys

    def _may_ask(self) -> bool:
        return self._asked is None or abs(self.now() - self._asked) >= _REFRESH


def _key_named(token: str) -> str:
    try:
        if len(token) > _LONGEST:
            raise Unauthenticated
        return str(extract_compact(token.encode()).headers()["kid"])
    except (JoseError, ValueError, KeyError):
        raise Unauthenticated from None


def _holds(keys: KeySet, kid: str) -> bool:
    return any(key.kid == kid for key in keys.keys)
