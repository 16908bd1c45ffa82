"""Chunks: pieces of files, each known by a keyed hash of what it holds, sealed, and laid side by side in packs.

What has not changed since the last backup has the same hash, and is not written again. A chunk's id is HMAC-SHA256 of
its contents, cut to 16 bytes; it is sealed with AES-256-GCM under another key, bound to its id, with the first 12 bytes
of the id for a nonce: the same contents give the same bytes, and other contents another nonce.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, Self

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from capsule_core.errors import ResourceMissing
from capsule_services.backup.faults import BackupDamaged
from capsule_services.places.place import Place

__all__ = ["EMPTY", "PACKS", "BackupKey", "Packer", "Reader", "Ref"]

PACKS: Final = "packs/"

_PACK_BYTES: Final = 8 << 20
_AT_ONCE: Final = 2
_REF: Final = struct.Struct(">16s8sII")
_ID: Final = 16
_NONCE: Final = 12
_TAG: Final = 16
_BLOCK: Final = 64


@attrs.frozen(order=True)
class Ref:
    """Where a chunk lies: its id, the pack, and which of its bytes."""

    id: bytes
    pack: bytes
    start: int
    length: int

    def encode(self) -> bytes:
        """Write it as 32 bytes."""
        return _REF.pack(self.id, self.pack, self.start, self.length)

    @classmethod
    def decode_all(cls, data: bytes) -> list[Self]:
        """Read many that :meth:`encode` wrote, one after the other.

        Raises:
            BackupDamaged: the last one is cut.
        """
        if len(data) % _REF.size:
            raise BackupDamaged("a list of chunks is cut")
        return [cls(*parts) for parts in _REF.iter_unpack(data)]


EMPTY: Final = Ref(bytes(_ID), bytes(8), 0, 0)
"""Stands for a chunk of nothing but zeros, which lies nowhere."""


@attrs.frozen
class BackupKey:
    """The key of a deployment's backups, and what is derived from it."""

    _secret: bytes = attrs.field(repr=False, alias="secret")

    @property
    def name(self) -> bytes:
        """Eight bytes that tell which key it is, and nothing about it."""
        return self.derived(b"name")[:8]

    def derived(self, purpose: bytes) -> bytes:
        """Return the key for one purpose."""
        return hmac.digest(self._secret, b"capsule backup " + purpose, "sha256")

    def naming(self) -> Callable[[bytes], bytes]:
        """Return what makes the id of a chunk: HMAC-SHA256 with its two beginnings made once (RFC 2104)."""
        padded = self.derived(b"ids").ljust(_BLOCK, b"\0")
        inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

        def named(data: bytes) -> bytes:
            within, without = inner.copy(), outer.copy()
            within.update(data)
            without.update(within.digest())
            return without.digest()[:_ID]

        return named


class Packer:
    """Lays new chunks into packs; other threads seal packs and put them away while the next is filled."""

    def __init__(self, place: Place, key: BackupKey, random: Callable[[int], bytes]) -> None:
        self._place, self._random = place, random
        self._name, self._seal = key.naming(), AESGCM(key.derived(b"chunks")).encrypt
        self._pack, self._filled, self._length = random(8), list[tuple[bytes, bytes]](), 0
        self._putting: deque[Future[None]] = deque()
        self._pool: ThreadPoolExecutor
        self.bytes_put = 0

    @contextmanager
    def packing(self) -> Generator[Self]:
        """Put everything away at the end of the block."""
        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="packs") as self._pool:
            yield self
            self._put_away()
            self._wait(0)

    def add(self, data: bytes, before: Ref) -> Ref:
        """Say where the chunk *data* lies: where it lay *before* if it is the same, or in the pack that is filled."""
        name = self._name(data)
        if name == before.id:
            return before
        fresh = Ref(name, self._pack, self._length, len(data) + _TAG)
        self._filled.append((name, data))
        self._length += fresh.length
        if self._length >= _PACK_BYTES:
            self._put_away()
        return fresh

    def _put_away(self) -> None:
        if not self._filled:
            return
        name, parts = f"{PACKS}{self._pack.hex()}", self._filled
        self.bytes_put += self._length
        self._pack, self._filled, self._length = self._random(8), [], 0
        self._wait(_AT_ONCE)  # so that no more are in memory
        self._putting.append(self._pool.submit(self._put, name, parts))

    def _put(self, name: str, parts: Sequence[tuple[bytes, bytes]]) -> None:
        self._place.put(name, b"".join(self._seal(each[:_NONCE], data, each) for each, data in parts))

    def _wait(self, most: int) -> None:
        """Wait until at most so many packs are being put away."""
        while len(self._putting) > most:
            self._putting.popleft().result()


@attrs.define
class Reader:
    """Reads chunks back, pack by pack; the last few packs are kept."""

    _place: Place
    _key: BackupKey
    _kept: int = 4
    _packs: dict[bytes, bytes] = attrs.field(factory=dict, init=False, repr=False)

    def chunk(self, ref: Ref) -> bytes:
        """Return what a chunk holds.

        Raises:
            BackupDamaged: it is missing, cut or altered.
        """
        sealed = self._pack(ref.pack)[ref.start : ref.start + ref.length]
        try:
            return AESGCM(self._key.derived(b"chunks")).decrypt(ref.id[:_NONCE], sealed, ref.id)
        except (InvalidTag, ValueError):
            raise BackupDamaged(f"{PACKS}{ref.pack.hex()} was altered or cut") from None

    def chunks(self, refs: Sequence[Ref]) -> Iterator[bytes]:
        """Return what many hold, in order; nothing for the empty one."""
        return (b"" if ref == EMPTY else self.chunk(ref) for ref in refs)

    def _pack(self, name: bytes) -> bytes:
        found = self._packs.pop(name, None)
        if found is None:
            try:
                found = self._place.get(f"{PACKS}{name.hex()}")
            except ResourceMissing:
                raise BackupDamaged(f"{PACKS}{name.hex()} is missing") from None
        self._packs[name] = found  # the newest last
        while len(self._packs) > self._kept:
            del self._packs[next(iter(self._packs))]
        return found
