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

from capsule_core.errors import CapsuleError, InvalidField, Unauthenticated, Unavailable
from capsule_core.names import tenant_id
from capsule_core.roles import Authority, Role
from capsule_services.runtime.callers import UserCaller

__all__ = ["BELIEVED", "LEEWAY", "KeyRing", "Verified", "made_key", "published", "sign_token", "verify_token"]

_ALGORITHMS: Final = ["Ed25519"]
_ISSUER: Final = "identity.capsule"
_AUDIENCE: Final = "capsule"
_LONGEST: Final = 8192
_PAUSE: Final = timedelta(milliseconds=200)
_MOST_REMEMBERED: Final = 1024

LEEWAY: Final = timedelta(seconds=5)
"""How far clocks may differ: so much longer a token works."""

BELIEVED: Final = timedelta(seconds=30)
"""How long keys are believed that the identity service does not confirm."""


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
        return Verified(_caller(decoded.claims), datetime.fromtimestamp(decoded.claims["exp"], UTC) + LEEWAY)
    except (JoseError, InvalidField, ValueError, TypeError, KeyError, OverflowError):
        raise Unauthenticated from None


def _registry(now: datetime) -> jwt.JWTClaimsRegistry:
    return jwt.JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=int(LEEWAY.total_seconds()),
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


@attrs.frozen
class _Known:
    """Keys as they were published, and the tokens that were found good by them: who takes the keys out, takes both."""

    published: bytes
    keys: KeySet
    good: dict[str, Verified] = attrs.field(factory=dict, repr=False)


@attrs.define(eq=False)
class KeyRing:
    """The public keys tokens are checked with, as the identity service published them not long ago.

    *fetch* gets the key set from it, *now* is the wall clock. Whoever has a key ring refreshes it several times a
    second, so that a key that is withdrawn is not believed much longer; keys that nobody confirmed for so long as
    *believed* says are not believed at all. A token with a key that is not known makes it ask at once, and however many
    there are, five times a second at most.
    """

    fetch: Callable[[], bytes]
    now: Callable[[], datetime]
    believed: timedelta = BELIEVED
    _begun: datetime = attrs.field(init=False)
    _known: _Known | None = attrs.field(default=None, init=False, repr=False)
    _wanted: datetime | None = attrs.field(default=None, init=False)
    _asked: datetime | None = attrs.field(default=None, init=False)
    _confirmed: datetime | None = attrs.field(default=None, init=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._begun = self.now()

    def verify(self, token: str) -> UserCaller:
        """Read who *token* says is calling.

        Raises:
            Unauthenticated: it is not valid.
            Unavailable: nobody can tell, for the keys could not be fetched.
        """
        now, known = self.now(), self._known
        if known is None or not self.is_confirmed(now):
            known = self._including(_key_named(token), now)
        found = known.good.get(token)
        if found is None or now >= found.until:
            known = self._including(_key_named(token), now)
            found = verify_token(token, known.keys, now=now)
            if len(known.good) >= _MOST_REMEMBERED:
                known.good.clear()
            known.good[token] = found
        return found.caller

    def standing(self, token: str) -> Callable[[], None]:
        """Return what tells again and again whether the key of a *token* that was good is believed yet.

        It raises Unauthenticated once it is not, and Unavailable while nobody can tell.
        """
        kid = _key_named(token)

        def stand() -> None:
            if not _holds(self._including(kid, self.now()).keys, kid):
                raise Unauthenticated

        return stand

    def is_confirmed(self, now: datetime) -> bool:
        """Tell whether the keys may be believed."""
        return self._confirmed is not None and abs(now - self._confirmed) < self.believed

    def age(self) -> float:
        """Return how many seconds ago the keys were confirmed, or asked for the first time if they never were."""
        return abs(self.now() - (self._confirmed or self._begun)).total_seconds()

    def refresh(self) -> None:
        """Ask which keys are published now; what is not among them is believed no more.

        Raises:
            Unavailable: nobody answered.
        """
        with self._lock:
            self._ask(self.now())

    def _including(self, kid: str, now: datetime) -> _Known:
        known = self._with(kid, now)
        if known is not None:
            return known
        with self._lock:
            if self._with(kid, now) is None and self._may_ask(now):
                self._wanted = now
                self._ask(now)
            known = self._known
            # Whether a key that is not known was published since, nobody can tell while nobody answers.
            is_told = self._confirmed == self._asked or self._with(kid, now) is not None
            if known is None or not self.is_confirmed(now) or not is_told:
                raise Unavailable
            return known

    def _with(self, kid: str, now: datetime) -> _Known | None:
        known = self._known
        return known if known is not None and self.is_confirmed(now) and _holds(known.keys, kid) else None

    def _may_ask(self, now: datetime) -> bool:
        return self._wanted is None or abs(now - self._wanted) >= _PAUSE

    def _ask(self, now: datetime) -> None:
        self._asked = now
        try:
            published = self.fetch()
            if self._known is None or published != self._known.published:
                self._known = _Known(published, KeySet.import_key_set(json.loads(published)))
        except (CapsuleError, JoseError, ValueError, KeyError, TypeError, RecursionError):
            raise Unavailable from None
        self._confirmed = now


def _key_named(token: str) -> str:
    try:
        if len(token) > _LONGEST:
            raise Unauthenticated
        return str(extract_compact(token.encode()).headers()["kid"])
    except (JoseError, ValueError, KeyError):
        raise Unauthenticated from None


def _holds(keys: KeySet, kid: str) -> bool:
    return any(key.kid == kid for key in keys.keys)
