"""What proves that somebody's data was destroyed, to anyone, offline, with a public key and no personal data.

A receipt is a JWS (RFC 7515) in compact serialisation. Its payload holds three parts that hold each other: the
**statement**, the **leaf** that commits its digest to the ledger, and the signed **checkpoint** with the path from the
leaf. To check one by hand:

1. verify the JWS with any JOSE library: header ``{"alg":"Ed25519","kid":...,"typ":"capsule-receipt+jws"}``;
2. ``leaf.detail.statement`` is the SHA-256, in hex, of ``statement`` in canonical JSON (keys sorted, no spaces, UTF-8);
3. ``checkpoint`` is a C2SP tlog-checkpoint of the log that ``kid`` names, signed by the same key;
4. ``path`` leads from ``SHA-256(0x00 + leaf)``, the leaf in canonical JSON, at ``index`` to the checkpoint's root
   (RFC 9162 section 2.1.3.2).
"""

from __future__ import annotations

import hashlib
import json
from typing import Final

import attrs

from capsule_core.arguments import instance
from capsule_core.checkpoints import (
    Checkpoint,
    Signer,
    Verifier,
    canonical,
    epoch_of,
    open_checkpoint,
    parse_verifier,
    sign_checkpoint,
    stamp,
)
from capsule_core.errors import InvalidField, NewerSchema, ReceiptInvalid
from capsule_core.jws import open_jws, parts_of, sign_jws
from capsule_core.ledger import Leaf
from capsule_core.merkle import Frontier, leaf_hash, verify_inclusion
from capsule_core.statements import Destruction, Outcome, Statement, members, typed

__all__ = ["KIND", "Receipt", "describe", "issue", "verify"]

KIND: Final = "capsule-receipt+jws"
"""The media type of a receipt, without its "application/"."""

_PARTS: Final = ("checkpoint", "index", "leaf", "path", "statement", "v")


@attrs.frozen(kw_only=True)
class Receipt:
    """A statement and its proof: the *leaf* that commits it, its *path* at *index* to the root of the *checkpoint*.

    *document* is all of it, signed: what is stored, sent and given out.
    """

    statement: Statement
    leaf: bytes
    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    document: bytes = attrs.field(repr=False)

    @property
    def key(self) -> str:
        """The name of the key that it says it was signed with."""
        return str(json.loads(parts_of(self.document)[0])["kid"])

    @classmethod
    def decode(cls, document: bytes) -> Receipt:
        """Read a receipt; white space around it is left out. Whether it is a true one only :func:`verify` says.

        Raises:
            ReceiptInvalid: it is not a receipt.
            NewerSchema: a newer version of this software wrote it.
        """
        document = document.strip()
        header, payload, _ = parts_of(document)
        if not _names_a_key(header):
            raise ReceiptInvalid("its header names no key")
        return _receipt(payload, document)


def issue(statement: Statement, *, leaf: bytes, frontier: Frontier, origin: str, signer: Signer) -> Receipt:
    """Sign the receipt for *statement*, which the newest leaf of *frontier* commits to the log *origin*.

    Raises:
        ReceiptInvalid: the leaf is not the newest of the log, or commits another statement, or the log is not the one
            that this key speaks for.
    """
    if frontier.nodes[-1:] != (leaf_hash(leaf),):
        raise ReceiptInvalid("its leaf is not the newest of the ledger")
    _committed(statement, leaf)
    checkpoint = sign_checkpoint(Checkpoint(origin, frontier.size, frontier.root()), signer)
    _own(origin, signer.name)
    told = {
        "statement": json.loads(statement.encode()),
        "leaf": json.loads(leaf),
        "index": frontier.size - 1,
        "path": [sibling.hex() for sibling in frontier.last_path()],
        "checkpoint": checkpoint,
        "v": 1,
    }
    return Receipt.decode(sign_jws(canonical(told), signer, kind=KIND))


def verify(receipt: Receipt | bytes, key: Verifier | str) -> Statement:
    """Return what *receipt* proves, on the word of the owner of the public *key*; needs nothing else.

    Raises:
        ReceiptInvalid: it proves nothing; the problem is the first of its parts that fails.
        NewerSchema: it was signed by this key, and a newer version of this software wrote it.
        InvalidField: the key is not one, or *receipt* is neither a receipt nor the bytes of one.
    """
    verifier = parse_verifier(key) if isinstance(key, str) else instance("key", key, Verifier)
    document = (receipt.document if isinstance(receipt, Receipt) else instance("receipt", receipt, bytes)).strip()
    found = _receipt(open_jws(document, verifier, kind=KIND), document)
    if isinstance(receipt, Receipt) and receipt != found:
        raise ReceiptInvalid("what it says is not what was signed")
    _committed(found.statement, found.leaf)
    # One signature only: a second one, by whomever, would be text in the receipt that nobody answers for.
    if found.checkpoint.partition("\n\n")[2].count("\n") != 1:
        raise ReceiptInvalid("the checkpoint must have exactly one signature")
    checkpoint = open_checkpoint(found.checkpoint, verifier)
    _own(checkpoint.origin, verifier.name)
    verify_inclusion(leaf_hash(found.leaf), found.index, checkpoint.size, found.path, checkpoint.root)
    return found.statement


def describe(receipt: Receipt) -> list[tuple[str, str]]:
    """Tell a person what *receipt* says, as labels and texts; it does not check anything."""
    statement = receipt.statement
    return [
        ("Erasure", statement.erasure),
        ("By", f"{statement.service}, for tenant {statement.tenant}"),
        ("Ground", statement.ground),
        ("Policy", f"{statement.policy.name}, version {statement.policy.version}"),
        ("Reaches", statement.scope),
        *(("Subject", subject) for subject in statement.subjects),
        ("Requested", stamp(statement.requested_at)),
        ("Fenced", stamp(statement.fenced_at)),
        ("Destroyed", stamp(statement.destroyed_at)),
        ("Read back", stamp(statement.read_back_at)),
        *(line for part in statement.destructions for line in _told(part)),
        *([] if statement.remaining else [("Remains", "nothing")]),
        ("Ledger", f"leaf {receipt.index} of {receipt.checkpoint.partition(chr(10))[0]}"),
        ("Signed by", receipt.key),
    ]


def _told(part: Destruction) -> list[tuple[str, str]]:
    checked = part.verification
    lines = [("Holder", f"{part.holder}: {_sentence(part)}")]
    if part.outcome is Outcome.ERASED:
        lines += [("Technique", part.technique), ("Media", part.media), ("Tool", part.tool)]
    lines.append(("Verified", f"{stamp(checked.at)} by {checked.by}: {checked.method}; {checked.result}"))
    for what in part.remaining:
        until = f", until {stamp(what.until)}" if what.until else ""
        count = f"{what.records} x " if what.records else ""
        lines.append(("Remains", f"{count}{what.what} at {part.holder}: {what.ground}{until}"))
    return lines


def _sentence(part: Destruction) -> str:
    if part.method is None:
        return "held nothing"
    what = ", ".join(f"{number} x {name}" for name, number in sorted(part.records.items())) or "no records"
    keys = f", {len(part.pages)} page keys on {part.mirrors} copies" if part.pages else ""
    return f"{what} by {part.method.value.replace('_', ' ')}{keys}"


def _own(origin: str, name: str) -> None:
    if epoch_of(origin, name) is None:
        raise ReceiptInvalid("the checkpoint is of a log that this key does not speak for")


def _committed(statement: Statement, leaf: bytes) -> None:
    try:
        entry = Leaf.decode(leaf)
    except InvalidField as refused:
        raise ReceiptInvalid(str(refused)) from None
    if entry.detail.get("statement") != hashlib.sha256(statement.encode()).hexdigest():
        raise ReceiptInvalid("its leaf commits another statement: the digests differ")
    if entry.tenant != statement.tenant:
        raise ReceiptInvalid("its leaf is another tenant's")


def _names_a_key(header: bytes) -> bool:
    try:
        told = json.loads(header)
    except (ValueError, RecursionError):
        return False
    return isinstance(told, dict) and isinstance(told.get("kid"), str)


def _receipt(payload: bytes, document: bytes) -> Receipt:
    try:
        told = json.loads(payload.decode())
        version = typed("receipt", told, dict).get("v")
        if type(version) is int and version > 1:
            raise NewerSchema("the receipt")
        if canonical(told) != payload:
            raise ReceiptInvalid("it is not in canonical form")
        parts = members("receipt", told, _PARTS)
        if type(version) is not int or version != 1:
            raise InvalidField("receipt.v", "must be 1")
        path = typed("path", parts["path"], list)
        return Receipt(
            statement=Statement.decode(canonical(parts["statement"])),
            leaf=canonical(typed("leaf", parts["leaf"], dict)),
            index=_count(parts["index"]),
            path=tuple(_node(sibling) for sibling in path),
            checkpoint=typed("checkpoint", parts["checkpoint"], str),
            document=document,
        )
    except InvalidField as refused:
        raise ReceiptInvalid(str(refused)) from None
    except (ValueError, RecursionError):
        raise ReceiptInvalid("what is signed is not JSON text in UTF-8") from None


def _count(raw: object) -> int:
    if type(raw) is not int or not 0 <= raw < 1 << 63:
        raise InvalidField("index", "must be a count")
    return raw


def _node(raw: object) -> bytes:
    text = typed("path", raw, str)
    if len(text) != 64 or not set(text) <= set("0123456789abcdef"):
        raise InvalidField("path", "must be of 32 bytes each, in lower-case hex")
    return bytes.fromhex(text)
