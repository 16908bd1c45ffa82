"""A signed document that any JOSE library verifies: JWS in compact serialisation (RFC 7515 section 7.1), with Ed25519.

There is one header for each key and kind of document, and one spelling of everything (RFC 9864 names the algorithm):
what another header says is not ours to follow.
"""

from __future__ import annotations

import base64
import binascii

from capsule_core.checkpoints import Signer, Verifier, canonical
from capsule_core.errors import ReceiptInvalid

__all__ = ["open_jws", "parts_of", "sign_jws"]


def sign_jws(payload: bytes, signer: Signer, *, kind: str) -> bytes:
    """Sign *payload*, a document of the media type ``application/{kind}``."""
    message = b".".join((_encoded(_header(signer.name, kind)), _encoded(payload)))
    return b".".join((message, _encoded(signer.sign(message))))


def open_jws(document: bytes, verifier: Verifier, *, kind: str) -> bytes:
    """Return the payload that *verifier*'s key signed.

    Raises:
        ReceiptInvalid: it is no such document of that kind, or this key did not sign it.
    """
    header, payload, signature = parts_of(document)
    if header != _header(verifier.name, kind):
        told = f"it is not a {kind} by {verifier.name!r}, signed with Ed25519: another key's, or other software's"
        raise ReceiptInvalid(told)
    verifier.check(document.rpartition(b".")[0], signature, what="the document")
    return payload


def parts_of(document: bytes) -> tuple[bytes, bytes, bytes]:
    """Take a document apart into header, payload and signature, none of which is checked.

    Raises:
        ReceiptInvalid: it does not have three parts in base64url.
    """
    texts = document.split(b".")
    parts = [part for part in map(_decoded, texts) if part is not None]
    if not len(texts) == len(parts) == 3:
        raise ReceiptInvalid("it is not three parts in base64url, with a dot between them")
    return parts[0], parts[1], parts[2]


def _header(name: str, kind: str) -> bytes:
    return canonical({"alg": "Ed25519", "kid": name, "typ": kind})


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _decoded(text: bytes) -> bytes | None:
    try:
        data = base64.b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return None
    # One spelling only: unused bits of the last character would let a changed text mean the same.
    return data if _encoded(data) == text else None
