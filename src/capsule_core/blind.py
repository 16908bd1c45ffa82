"""Find what cannot be read: keyed tokens for whole values, keyed signatures for the beginnings of words.

All keys come from one secret per tenant, so that the same address has another token in every tenant, and closing a
tenant makes all of them meaningless.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from functools import cached_property
from hashlib import blake2b, sha256
from typing import Final

import attrs
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from capsule_core.names import encoded

__all__ = [
    "LONGEST_PREFIX",
    "SIGNATURE_BITS",
    "TenantKeys",
    "commitment",
    "derive",
    "signature",
    "suppression",
    "surrogate",
    "token",
]

SIGNATURE_BITS: Final = 256
LONGEST_PREFIX: Final = 10
_BITS_A_PREFIX: Final = 3
_BLOCK: Final = 16
_ONE: Final = ord("1")
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_INNER_PAD: Final = b"\x36" * 32
_OUTER_PAD: Final = b"\x5c" * 32


@attrs.frozen(kw_only=True, repr=False)
class TenantKeys:
    """The keys of one tenant, each for one use."""

    tokens: bytes
    prefixes: bytes
    surrogates: bytes
    leaves: bytes
    answers: bytes
    suppression: bytes

    @cached_property
    def keyed_tokens(self) -> hmac.HMAC:
        """HMAC with the key of tokens taken in: a copy of it is cheaper than to begin with the key each time."""
        return hmac.new(self.tokens, digestmod="sha256")

    @cached_property
    def prefix_cipher(self) -> Cipher[ECB]:
        """A keyed pseudo-random function on blocks of 16 bytes: nothing is ever decrypted."""
        return Cipher(AES(self.prefixes), ECB())  # noqa: S305


def derive(secret: bytes) -> TenantKeys:
    """Make a tenant's keys from its secret (HMAC as the expand step of HKDF, RFC 5869)."""

    def key(use: str) -> bytes:
        return hmac.digest(secret, b"capsule " + use.encode() + b"\x01", "sha256")

    return TenantKeys(
        tokens=key("tokens"),
        prefixes=key("prefixes"),
        surrogates=key("surrogates"),
        leaves=key("leaves"),
        answers=key("answers"),
        suppression=key("suppression"),
    )


def token(keys: TenantKeys, label: str, canonical: str) -> int:
    """Hash a canonical value of a field or form named *label* to a signed 64-bit number."""
    keyed = keys.keyed_tokens.copy()
    keyed.update(f"{label}\0{canonical}".encode())
    return int.from_bytes(keyed.digest()[:8], "big", signed=True)


def surrogate(keys: TenantKeys, label: str, identity: str) -> str:
    """Hash a caller's own id to one that may be stored; it is the same each time."""
    return "x" + encoded(hmac.digest(keys.surrogates, f"{label}\0{identity}".encode(), "sha256")[:16])


def suppression(keys: TenantKeys, label: str, canonical: str) -> bytes:
    """Hash a canonical identifier to 16 bytes that tell nothing of it to whoever lacks the key."""
    return hmac.digest(keys.suppression, f"{label}\0{canonical}".encode(), "sha256")[:16]


def commitment(salt: bytes, text: str) -> str:
    """Commit to *text* under a salt that can be destroyed; 32 hexadecimal digits."""
    return _hmac(salt, text.encode())[:16].hex()


def _hmac(key: bytes, message: bytes) -> bytes:
    """HMAC with SHA-256 and a key of 32 bytes (RFC 2104): written out, it takes little over half the time.

    Each of thousands of subjects has a salt of its own, so there is nothing to prepare once and keep.
    """
    inner = sha256(key.translate(_INNER) + _INNER_PAD + message).digest()
    return sha256(key.translate(_OUTER) + _OUTER_PAD + inner).digest()


def signature(keys: TenantKeys, words: Iterable[str]) -> bytes:
    """Superimpose three keyed bits for every beginning (1 to 10 characters) of every word: 32 bytes.

    A record can only contain a word beginning with a query's words if its signature contains the query's.
    """
    beginnings = {word[:end] for word in words for end in range(1, min(len(word), LONGEST_PREFIX) + 1)}
    if not beginnings:
        return bytes(SIGNATURE_BITS // 8)
    chosen = keys.prefix_cipher.encryptor().update(_blocks(beginnings))
    bits = bytearray(b"0" * SIGNATURE_BITS)
    for nth in range(_BITS_A_PREFIX):
        for place in chosen[nth::_BLOCK]:
            bits[~place] = _ONE
    return int(bits, 2).to_bytes(SIGNATURE_BITS // 8, "big")


def _blocks(beginnings: Iterable[str]) -> bytes:
    padded = "".join([beginning.ljust(_BLOCK, "\0") for beginning in beginnings])
    return padded.encode() if padded.isascii() else b"".join(map(_block, beginnings))


def _block(prefix: str) -> bytes:
    raw = prefix.encode()
    return raw.ljust(_BLOCK, b"\0") if len(raw) <= _BLOCK else blake2b(raw, digest_size=_BLOCK).digest()
