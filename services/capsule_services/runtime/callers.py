"""Who calls: a user with a token, a service with its certificate, or anyone.

Every connection is mutual TLS 1.3. gRPC for Python can require a client's certificate or not ask for one, nothing in
between, so people's clients bring one too: the certificate ``client`` of the local authority. It opens the door and
says nothing about who comes in; that is what the token is for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

import attrs
import grpc

from capsule_core.errors import Unauthenticated
from capsule_core.names import ActorRef, TenantId
from capsule_core.roles import Authority

__all__ = [
    "Anonymous",
    "Authenticator",
    "Caller",
    "ServiceCaller",
    "UserCaller",
    "any_key",
    "any_session",
    "any_tenant",
]

_BEARER: Final = "Bearer "


@attrs.frozen(kw_only=True)
class UserCaller:
    """A user, as their token says; *session* ends when they sign out."""

    tenant: TenantId
    user: str
    authority: Authority
    session: str

    @property
    def actor(self) -> ActorRef:
        return ActorRef("user", self.user)


@attrs.frozen
class ServiceCaller:
    """A service of this deployment, known by the name in its certificate."""

    name: str

    @property
    def actor(self) -> ActorRef:
        return ActorRef("service", self.name)


@attrs.frozen
class Anonymous:
    """Anyone who could connect."""

    @property
    def actor(self) -> ActorRef:
        return ActorRef("anyone", "anyone")


Caller = UserCaller | ServiceCaller | Anonymous


def any_session(_: UserCaller) -> bool:
    """Take a token's session as open: what a service does that keeps no sessions; tokens are short-lived."""
    return True


def any_tenant(caller: UserCaller) -> UserCaller:
    """Take a caller as their token says: what a service does that hears of no closings."""
    return caller


def any_key(_: str) -> Callable[[], None]:
    """Take a token's key as believed to the end of the call."""
    return lambda: None


@attrs.frozen(kw_only=True)
class Authenticator:
    """Tells who calls, from what the connection and the metadata prove.

    *verify* reads a token, *peers* are the services known here, *is_open* says whether a session still is. What
    *standing* makes for a token raises from when its key is withdrawn. *bounded* leaves a caller whose tenant is closed
    what they may do then, or raises.
    """

    verify: Callable[[str], UserCaller]
    peers: frozenset[str]
    is_open: Callable[[UserCaller], bool] = any_session
    standing: Callable[[str], Callable[[], None]] = any_key
    bounded: Callable[[UserCaller], UserCaller] = any_tenant

    def peer(self, context: grpc.ServicerContext) -> ServiceCaller | Anonymous:
        """Return the service at the other end of the connection.

        Raises:
            Unauthenticated: the connection is older than TLS 1.3, or there is no certificate.
        """
        proved = cast(Mapping[str, Sequence[bytes]], context.auth_context())
        if list(proved.get("ssl_tls_version", ())) != [b"TLSv1.3"]:
            raise Unauthenticated
        names = {name.decode("utf-8", "replace") for name in proved.get("x509_subject_alternative_name", ())}
        if not names:
            raise Unauthenticated
        known = names & self.peers
        return ServiceCaller(known.pop()) if len(known) == 1 else Anonymous()

    def user(self, context: grpc.ServicerContext) -> UserCaller:
        """Return the user whose token came along.

        Raises:
            Unauthenticated: no token came, or more than one, or it is not valid, or its session is over, or its tenant
                closed to its user.
        """
        caller = self.verify(_token(context))
        if not self.is_open(caller):
            raise Unauthenticated
        return self.bounded(caller)

    def stands(self, context: grpc.ServicerContext) -> Callable[[], None]:
        """Return what raises :class:`Unauthenticated` once the user who calls is believed no more."""
        return self.standing(_token(context))


def _token(context: grpc.ServicerContext) -> str:
    sent = [value for key, value in context.invocation_metadata() if key == "authorization"]
    if len(sent) != 1 or not isinstance(sent[0], str) or not sent[0].startswith(_BEARER):
        raise Unauthenticated
    return sent[0].removeprefix(_BEARER)
