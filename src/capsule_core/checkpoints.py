"""What is signed, and how it is spelled: a ledger's length and root, in a form that other people's tools read too.

A checkpoint is C2SP tlog-checkpoint inside a C2SP signed-note: the origin, the number of leaves and the root, a line
each, an empty line, then ``— name signature``. Keys are Ed25519 (RFC 8032); a public key travels as the one-line *vkey*
of signed-note. Signing needs no randomness. Leaves and receipts have one spelling too, :func:`canonical` JSON.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from datetime import UTC, datetime
from typing import Final

import attrs
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from capsule_core.errors import InvalidField, ReceiptInvalid
from capsule_core.names import from_micros, micros

__all__ = [
    "Checkpoint",
    "Signer",
    "Verifier",
    "canonical",
    "epoch_of",
    "log_names",
    "moment",
    "open_checkpoint",
    "origin_of",
    "parse_verifier",
    "sign_checkpoint",
    "stamp",
    "utc",
]

_ED25519: Final = b"\x01"
_HASH: Final = 32
_DASH: Final = "\N{EM DASH}"
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def canonical(value: object) -> bytes:
    """Write *value* as the one JSON text that is hashed and signed: keys sorted, no spaces, UTF-8."""
    return _CANONICAL.encode(value).encode()


def utc(at: datetime) -> datetime:
    """Return the same moment in UTC.

    Raises:
        InvalidField: it does not know its time zone.
    """
    return at if at.tzinfo is UTC else from_micros(micros(at))


def stamp(at: datetime) -> str:
    """Write a moment in UTC to the microsecond, the one spelling of it that is hashed and signed (RFC 3339)."""
    return utc(at).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def moment(text: str) -> datetime:
    """Read what :func:`stamp` wrote.

    Raises:
        InvalidField: it is spelled in another way.
    """
    try:
        at = datetime.fromisoformat(text) if text.endswith("Z") else None
    except ValueError:
        at = None
    if at is None or stamp(at) != text:
        raise InvalidField("time", "must be like 2026-01-31T09:30:00.000000Z")
    return at


def log_names(service: str) -> tuple[str, str]:
    """Name the two logs of a service: of changes, which has the service's own name, and of reads."""
    return service, f"{service}.reads"


def origin_of(log: str, epoch: int) -> str:
    """Name a log in one of its epochs: the log's own name in the first, then ``contacts/2`` and so on."""
    return log if epoch == 1 else f"{log}/{epoch}"


def epoch_of(origin: str, log: str) -> int | None:
    """Return in which epoch of *log* a checkpoint of that *origin* was signed; None if it is another log's."""
    number = origin.removeprefix(f"{log}/") if origin != log else "1"
    epoch = int(number) if number.isascii() and number.isdecimal() and len(number) < 10 else 0
    return epoch if epoch and origin == origin_of(log, epoch) else None


def _key_name(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not value or not value.isprintable() or any(mark == "+" or mark.isspace() for mark in value):
        raise InvalidField(attribute.name, "must be printable, without spaces and '+' (C2SP signed-note)")


def _exactly_32(_: object, attribute: attrs.Attribute[bytes], value: bytes) -> None:
    if len(value) != _HASH:
        raise InvalidField(attribute.name, f"must be {_HASH} bytes")


@attrs.frozen
class Checkpoint:
    """What a log says of itself: the *root* over its first *size* leaves; *origin* names the log and its epoch."""

    origin: str
    size: int
    root: bytes = attrs.field(validator=_exactly_32)

    def __attrs_post_init__(self) -> None:
        if not self.origin or not self.origin.isprintable():
            raise InvalidField("origin", "must be one printable line")
        if not 0 <= self.size < 1 << 63:
            raise InvalidField("size", "must count leaves")

    def text(self) -> str:
        """Return the three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode('ascii')}\n"


@attrs.frozen
class Verifier:
    """A public key and the name that its owner signs under."""

    name: str = attrs.field(validator=_key_name)
    public: bytes = attrs.field(validator=_exactly_32)

    @property
    def key_id(self) -> bytes:
        """The four bytes that say which key made a signature."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def text(self) -> str:
        """Return the key as one line, the vkey of signed-note: ``name+hash+key``."""
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(_ED25519 + self.public).decode('ascii')}"

    def check(self, message: bytes, signature: bytes, *, what: str) -> None:
        """Let pass what this key signed.

        Raises:
            ReceiptInvalid: the signature is not one over *message* by this key; *what* says of what.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError):
            raise ReceiptInvalid(f"the signature of {what} is not one by this key") from None


@attrs.frozen
class Signer:
    """A private key and the name that it signs under; never shown."""

    name: str = attrs.field(validator=_key_name)
    _key: Ed25519PrivateKey = attrs.field(repr=False)

    @property
    def verifier(self) -> Verifier:
        """The public key, for everybody."""
        return Verifier(self.name, self._key.public_key().public_bytes_raw())

    @classmethod
    def from_seed(cls, name: str, seed: bytes) -> Signer:
        """Make the signer whose private key is *seed*, the 32 secret bytes of RFC 8032."""
        if len(seed) != _HASH:
            raise InvalidField("seed", f"must be {_HASH} bytes")
        return cls(name, Ed25519PrivateKey.from_private_bytes(seed))

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature over *message*."""
        return self._key.sign(message)


def parse_verifier(text: str) -> Verifier:
    """Read a public key from its one line, see :meth:`Verifier.text`.

    Raises:
        InvalidField: it is not such a line, or was copied with a mistake.
    """
    name, _, rest = text.strip().partition("+")
    _, _, key = rest.partition("+")
    material = _unbase64(key)
    if material is None or len(material) != 1 + _HASH or material[:1] != _ED25519:
        raise InvalidField("key", "must be 'name+hash+key' with an Ed25519 public key (C2SP signed-note)")
    verifier = Verifier(name, material[1:])
    if verifier.text() != text.strip():
        raise InvalidField("key", "was copied with a mistake: its name, hash and key do not belong together")
    return verifier


def sign_checkpoint(checkpoint: Checkpoint, signer: Signer) -> str:
    """Sign *checkpoint*; the text can be published and is all that :func:`open_checkpoint` needs."""
    text = checkpoint.text()
    signature = base64.b64encode(signer.verifier.key_id + signer.sign(text.encode())).decode("ascii")
    return f"{text}\n{_DASH} {signer.name} {signature}\n"


def open_checkpoint(text: str, verifier: Verifier) -> Checkpoint:
    """Return the checkpoint that *verifier*'s key signed; other keys' signatures are passed over (C2SP signed-note).

    Raises:
        ReceiptInvalid: it is no signed checkpoint, or this key did not sign it.
    """
    body, _, tail = text.rpartition("\n\n")
    checkpoint = _checkpoint(body + "\n")
    if not tail.endswith("\n"):
        raise ReceiptInvalid("the checkpoint has no signature")
    made = [_signature(line) for line in tail[:-1].split("\n")]
    ours = [sealed[4:] for name, sealed in made if (name, sealed[:4]) == (verifier.name, verifier.key_id)]
    if not ours:
        raise ReceiptInvalid("the checkpoint is not signed by this key")
    for signature in ours:
        verifier.check(checkpoint.text().encode(), signature, what="the checkpoint")
    return checkpoint


def _checkpoint(text: str) -> Checkpoint:
    malformed = ReceiptInvalid("the checkpoint is not an origin, a size and a root, a line each")
    lines = text.split("\n")
    root = _unbase64(lines[2]) if len(lines) == 4 else None
    if root is None or not (lines[1].isascii() and lines[1].isdecimal() and len(lines[1]) < 20):
        raise malformed
    try:
        checkpoint = Checkpoint(lines[0], int(lines[1]), root)
    except InvalidField:
        raise malformed from None
    if checkpoint.text() != text:
        raise malformed
    return checkpoint


def _signature(line: str) -> tuple[str, bytes]:
    dash, name, sealed = parts if len(parts := line.split(" ")) == 3 else ("", "", "")
    signature = _unbase64(sealed)
    if dash != _DASH or not name or signature is None or len(signature) < 5:
        raise ReceiptInvalid("a signature line of the checkpoint is malformed")
    return name, signature


def _unbase64(text: str) -> bytes | None:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    # One spelling only: unused bits of the last character would let a changed text mean the same.
    return data if base64.b64encode(data).decode("ascii") == text else None
