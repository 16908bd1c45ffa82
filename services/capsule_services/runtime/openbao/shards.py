"""What a keystore in OpenBao writes: the page keys of a tenant, in secrets of 512 pages each.

::

    FOLDER/seals               the names key, wrapped: {"seals": [base64, ...]}, the newest last
    FOLDER/{owner}/0           the tenant's first 512 pages, and its head: what decides about all of them
    FOLDER/{owner}/1 ...       the next 512 pages, and so on

A secret holds ``rows``, base64 of 84 bytes a page: number (8), key id (8), wrapped key (68). The head has more:

* ``root``, the id of the root key that whatever is new is wrapped under,
* ``done``, what the last changes were called: who lost the answer to a write learns from it whether that happened,
* ``intent``, rows that are decided and not yet in all the other secrets, or that all of these are to be emptied.

One secret is written at once or not at all, and many are not: so every change is one write of the head, which decides,
and whoever meets an intent carries it out before anything else.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from capsule_core.errors import SealBroken
from capsule_core.wrapping import WRAPPED_BYTES, Row

__all__ = ["PAGES", "Head", "decode_seals", "encode_seals", "rows_in", "rows_of", "shard_of"]

PAGES: Final = 512
"""Pages of one secret: its 58 kB are far below the 512 kB that every storage takes, with a full intent too."""

_REMEMBERED: Final = 16
_NUMBER: Final = 8
_ID: Final = 8
_ROW: Final = _NUMBER + _ID + WRAPPED_BYTES

_Rows = Mapping[int, Row]


def shard_of(page: int) -> int:
    """Return which of a tenant's secrets a page is in."""
    return page // PAGES


@attrs.frozen(kw_only=True)
class Head:
    """A tenant's first secret; *version* 0 is that it has none."""

    owner: bytes
    version: int = 0
    root: bytes = b""
    rows: _Rows = attrs.field(factory=dict)
    intent: _Rows = attrs.field(factory=dict)
    closing: bool = False
    done: tuple[str, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether nothing is decided that is not carried out."""
        return not self.intent and not self.closing

    def changed(self, rows: Iterable[Row], *, root: bytes, change: str) -> Head:
        """Return the head after a change called *change*; what is another secret's becomes an intent."""
        own, others = dict(self.rows), dict[int, Row]()
        for row in rows:
            (others if shard_of(row.page) else own)[row.page] = row
        return attrs.evolve(self, root=root, rows=own, intent=others, done=(change, *self.done)[:_REMEMBERED])

    def closed(self, mark: Row, *, root: bytes, change: str) -> Head:
        """Return the head of a tenant that has a *mark* and no other key any more."""
        done = (change, *self.done)[:_REMEMBERED]
        return attrs.evolve(self, root=root, rows={mark.page: mark}, intent={}, closing=True, done=done)

    def carried_out(self) -> Head:
        """Return the head once the other secrets are as it says."""
        return attrs.evolve(self, intent={}, closing=False)

    def data(self) -> Mapping[str, Any]:
        """Write it as the data of a secret."""
        told: dict[str, Any] = {"root": self.root.hex(), "done": list(self.done), **rows_in(self.rows)}
        if self.closing:
            return {**told, "intent": {"empty": True}}
        return {**told, "intent": rows_in(self.intent)} if self.intent else told

    @classmethod
    def of(cls, owner: bytes, version: int, data: Mapping[str, Any]) -> Head:
        """Read what :meth:`data` wrote.

        Raises:
            SealBroken: it did not write that.
        """
        try:
            intent = data.get("intent", {})
            return cls(
                owner=owner,
                version=version,
                root=bytes.fromhex(data["root"]),
                rows=rows_of(owner, data, shard=0),
                intent=rows_of(owner, intent) if "rows" in intent else {},
                closing=intent.get("empty", False),
                done=tuple(map(str, data["done"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise SealBroken("page key") from None


def rows_in(rows: _Rows) -> Mapping[str, str]:
    """Write rows as the data of a secret."""
    packed = (row.page.to_bytes(_NUMBER, "big") + row.id + row.wrapped for _, row in sorted(rows.items()))
    return {"rows": base64.b64encode(b"".join(packed)).decode("ascii")}


def rows_of(owner: bytes, data: Mapping[str, Any], *, shard: int | None = None) -> dict[int, Row]:
    """Read what :func:`rows_in` wrote, in a *shard* or about any.

    Raises:
        SealBroken: it did not write that.
    """
    try:
        packed = base64.b64decode(data["rows"], validate=True)
    except (KeyError, TypeError, binascii.Error):
        raise SealBroken("page key") from None
    if len(packed) % _ROW:
        raise SealBroken("page key")
    rows = [_row(owner, packed[start : start + _ROW]) for start in range(0, len(packed), _ROW)]
    pages = [row.page for row in rows]
    if pages != sorted(set(pages)) or (shard is not None and {*map(shard_of, pages)} - {shard}):
        raise SealBroken("page key")
    return dict(zip(pages, rows, strict=True))


def encode_seals(seals: Iterable[bytes]) -> Mapping[str, Any]:
    """Write the wrapped names keys as the data of a secret."""
    return {"seals": [base64.b64encode(sealed).decode("ascii") for sealed in seals]}


def decode_seals(data: Mapping[str, Any]) -> tuple[bytes, ...]:
    """Read what :func:`encode_seals` wrote.

    Raises:
        SealBroken: it did not write that.
    """
    try:
        seals = tuple(base64.b64decode(sealed, validate=True) for sealed in data["seals"])
    except (KeyError, TypeError, binascii.Error):
        raise SealBroken("keystore") from None
    if not seals:
        raise SealBroken("keystore")
    return seals


def _row(owner: bytes, packed: bytes) -> Row:
    page, name = int.from_bytes(packed[:_NUMBER], "big"), packed[_NUMBER : _NUMBER + _ID]
    return Row(owner, page, name, packed[_NUMBER + _ID :])
