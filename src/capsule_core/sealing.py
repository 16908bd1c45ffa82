"""Seal and open: AES-256-GCM with everything that says what the bytes are bound to them (NIST SP 800-38D).

A sealed record is ``0x01 | schema (2 bytes) | length of kind (1) | kind | nonce (12) | ciphertext and tag``; the header
and the record's identity and version are authenticated with it, so that no blob opens in another's place.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import attrs
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from capsule_core.errors import NewerSchema, SealBroken

__all__ = ["KEY_BYTES", "NONCE_BYTES", "Identity", "open_blob", "open_bytes", "reseal_blob", "seal_blob", "seal_bytes"]

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_FORMAT: Final = 1
"""The next ones are 2, 4, 7, ...: an odd number of bits, so that one turned bit never makes another of it."""
_ANY: Final = 0xFFFF


@attrs.frozen
class Identity:
    """What a blob is bound to."""

    tenant: str
    subject: str
    kind: str
    id: str
    version: int

    def bound(self) -> bytes:
        """Write it as bytes that no other identity gives; none of the parts contains NUL."""
        return f"{self.tenant}\0{self.subject}\0{self.kind}\0{self.id}\0{self.version}".encode()


def seal_bytes(plaintext: bytes, *, key: bytes, bound: bytes, nonce: bytes) -> bytes:
    """Encrypt *plaintext* and bind it; *nonce* is 12 bytes never used with *key* before."""
    return nonce + AESGCM(key).encrypt(nonce, plaintext, bound)


def open_bytes(sealed: bytes, *, key: bytes, bound: bytes, what: str) -> bytes:
    """Undo :func:`seal_bytes`.

    Raises:
        SealBroken: the bytes, the key or what they are bound to are not the right ones.
    """
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound)
    except (InvalidTag, ValueError):
        raise SealBroken(what) from None


def seal_blob(plaintext: bytes, *, key: bytes, identity: Identity, schema: int, nonce: bytes) -> bytes:
    """Seal the contents of a record in *schema* of its kind."""
    header = _header(identity.kind, schema)
    return header + seal_bytes(plaintext, key=key, bound=header + identity.bound(), nonce=nonce)


def open_blob(blob: bytes, *, key: bytes, identity: Identity, schema: int) -> tuple[int, bytes]:
    """Open the contents of a record; return the schema they were written in, at most *schema*, and the plaintext.

    Raises:
        NewerSchema: a newer version of the software wrote them.
        SealBroken: they were altered or belong elsewhere.
    """
    if len(blob) < 3 or blob[0].bit_count() % 2 == 0:
        raise SealBroken("record")
    if blob[0] > _FORMAT:
        raise NewerSchema("a record")
    written = int.from_bytes(blob[1:3], "big")
    header = _header(identity.kind, written)
    if not blob.startswith(header):
        raise SealBroken("record")
    start = len(header) + NONCE_BYTES
    try:
        plaintext = AESGCM(key).decrypt(blob[len(header) : start], blob[start:], header + identity.bound())
    except (InvalidTag, ValueError):
        raise SealBroken("record") from None
    if written > schema:
        raise NewerSchema("a record")
    return written, plaintext


def reseal_blob(
    blob: bytes, *, key: bytes, identity: Identity, new_key: bytes, new_identity: Identity, nonce: bytes
) -> bytes:
    """Seal the contents of a record again, in the schema they are in, for another identity under another key.

    Raises:
        SealBroken: they were altered or belong elsewhere.
    """
    schema, plaintext = open_blob(blob, key=key, identity=identity, schema=_ANY)
    return seal_blob(plaintext, key=new_key, identity=new_identity, schema=schema, nonce=nonce)


@cache
def _header(kind: str, schema: int) -> bytes:
    name = kind.encode()
    return bytes([_FORMAT]) + schema.to_bytes(2, "big") + bytes([len(name)]) + name
