"""Connections to services: mutual TLS, a deadline on every call, a token if there is one, and retries by gRPC alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import attrs
import grpc

from capsule_core.errors import Unavailable
from capsule_services.runtime.proofs import Proof, Proving

__all__ = ["Peers", "address_of", "open_channel", "publish_address", "with_token", "withdraw_address"]

_DEADLINE: Final = 30.0
_STREAM_DEADLINE: Final = 3600.0
_LARGEST: Final = 4 << 20
_RETRIES: Final = {
    "methodConfig": [
        {
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "1s",
                "backoffMultiplier": 3,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}


def open_channel(address: str, *, service: str, credential: Proving, token: str = "") -> grpc.Channel:
    """Connect to *service* at *address*; whoever answers must prove to be that service, wherever it is."""
    return _opened(address, service, credential.read(), token)


def _opened(address: str, service: str, proof: Proof, token: str = "") -> grpc.Channel:
    secured = grpc.ssl_channel_credentials(proof.authority, proof.key, proof.certificate)
    options = [
        ("grpc.ssl_target_name_override", service),
        ("grpc.enable_retries", 1),
        ("grpc.service_config", json.dumps(_RETRIES)),
        ("grpc.max_receive_message_length", _LARGEST),
        ("grpc.enable_http_proxy", 0),
    ]
    return with_token(grpc.secure_channel(address, secured, options), token)


def with_token(channel: grpc.Channel, token: str) -> grpc.Channel:
    """Send *token* with every call over *channel*, and give each a deadline unless it has its own.

    It is 30 seconds, and an hour where a stream goes in or out.
    """
    return grpc.intercept_channel(channel, _Defaults(token))


@attrs.frozen
class _Connected:
    address: str
    proof: Proof
    channel: grpc.Channel


@attrs.define
class Peers:
    """The other services as one service reaches them; each is looked up when it is called, for it may have moved."""

    addresses: Path
    credential: Proving
    traced: Callable[[grpc.Channel], grpc.Channel] = lambda channel: channel
    _channels: dict[str, _Connected] = attrs.field(factory=dict, init=False, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def channel(self, service: str) -> grpc.Channel:
        """Return a connection to *service*, a new one if its address or our certificate has changed.

        Raises:
            Unavailable: it does not run.
        """
        address, proof = address_of(self.addresses, service), self.credential.read()
        with self._lock:
            known = self._channels.get(service)
            if known is None or (known.address, known.proof) != (address, proof):
                # Whoever calls over the former one keeps it until they are answered; then it closes by itself.
                known = _Connected(address, proof, self.traced(_opened(address, service, proof)))
                self._channels[service] = known
            return known.channel

    def close(self) -> None:
        """Close all connections."""
        while self._channels:
            self._channels.popitem()[1].channel.close()


def publish_address(folder: Path, service: str, address: str) -> None:
    """Let the other services know where *service* listens."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = folder / f".{service}.new"
    fresh.write_text(address, encoding="ascii")
    fresh.replace(folder / service)


def withdraw_address(folder: Path, service: str) -> None:
    """Let the other services know that *service* is gone."""
    (folder / service).unlink(missing_ok=True)


def address_of(folder: Path, service: str) -> str:
    """Return where *service* listens.

    Raises:
        Unavailable: it does not run.
    """
    try:
        return (folder / service).read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise Unavailable from None


@attrs.frozen(kw_only=True)
class _Details(grpc.ClientCallDetails):
    method: str
    timeout: float | None
    metadata: Any
    credentials: grpc.CallCredentials | None
    wait_for_ready: bool | None
    compression: Any


@attrs.frozen
class _Defaults(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
    grpc.StreamStreamClientInterceptor,
):
    token: str = attrs.field(repr=False)

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._with_defaults(client_call_details, _DEADLINE), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(self._with_defaults(client_call_details, _STREAM_DEADLINE), request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(self._with_defaults(client_call_details, _STREAM_DEADLINE), request_iterator)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(self._with_defaults(client_call_details, _STREAM_DEADLINE), request_iterator)

    def _with_defaults(self, details: Any, deadline: float) -> _Details:
        token = [("authorization", f"Bearer {self.token}")] if self.token else []
        return _Details(
            method=details.method,
            timeout=deadline if details.timeout is None else details.timeout,
            metadata=[*(details.metadata or ()), *token],
            credentials=details.credentials,
            wait_for_ready=details.wait_for_ready,
            compression=details.compression,
        )
