"""Lists in pages (AIP-158): a token says where to go on, and holds only for the arguments it was made for.

It grants nothing: whoever brings it is asked for the permission like anyone else.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from datetime import datetime
from typing import Any, Final

import attrs
from google.protobuf.message import Message

from capsule_core.errors import InvalidField, PageTokenInvalid
from capsule_core.names import from_micros, micros, record_id
from capsule_core.records import Cursor
from capsule_services.runtime.calls import Call

__all__ = ["Paging", "Window", "page_size"]

_DEFAULT: Final = 50
_MOST: Final = 1000
_TAG: Final = 16
_TIME: Final = 8


@attrs.frozen
class Window:
    """What part of a list is asked for: at most *limit*, going on *after* the end of the page before."""

    limit: int
    after: Cursor | None


@attrs.frozen
class Paging:
    """Makes page tokens and reads them back; *key* is the service's own, 32 random bytes."""

    key: bytes = attrs.field(repr=False)

    def window(self, call: Call, request: Message) -> Window:
        """Return what part of the list *request* asks for, by its ``page_size`` and ``page_token``.

        Raises:
            InvalidField: the size is negative.
            PageTokenInvalid: the token was altered, or made for another method, tenant, caller or other arguments.
        """
        fields: Any = request
        limit, token = page_size(fields.page_size), fields.page_token
        return Window(limit, self._opened(token, self._bound(call, request)) if token else None)

    def token(self, call: Call, request: Message, after: Cursor | None) -> str:
        """Return the ``next_page_token`` for the page that follows; empty after the last."""
        if after is None:
            return ""
        body = micros(after.at).to_bytes(_TIME, "big", signed=True) + after.id.encode()
        return _written(self._tag(body, self._bound(call, request)) + body)

    def _opened(self, token: str, bound: bytes) -> Cursor:
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise PageTokenInvalid from None
        tag, body = raw[:_TAG], raw[_TAG:]
        if not hmac.compare_digest(tag, self._tag(body, bound)) or _written(raw) != token:
            raise PageTokenInvalid
        return Cursor(_moment(body[:_TIME]), record_id(body[_TIME:].decode()))

    def _tag(self, body: bytes, bound: bytes) -> bytes:
        return hmac.digest(self.key, bound + body, "sha256")[:_TAG]

    def _bound(self, call: Call, request: Message) -> bytes:
        rest = type(request)()
        rest.CopyFrom(request)
        # AIP-158: the size may change from page to page.
        rest.ClearField("page_token")
        rest.ClearField("page_size")
        whose = (call.method, str(call.tenant), call.actor.kind, call.actor.id)
        said = (*(part.encode() for part in whose), rest.SerializeToString(deterministic=True))
        return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in said)).digest()


def page_size(asked: int) -> int:
    """Return how many to list when a caller asked for *asked*: 0 is the default, too many are as many as may be.

    Raises:
        InvalidField: it is negative.
    """
    if asked < 0:
        raise InvalidField("page_size", "must not be negative")
    return min(asked, _MOST) or _DEFAULT


def _written(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _moment(body: bytes) -> datetime:
    return from_micros(int.from_bytes(body, "big", signed=True))
