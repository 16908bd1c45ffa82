"""What proves something: receipts, statements, leaves, checkpoints, keys, and paths through the tree.

Nothing that was altered is ever believed: of all that is tried only what was signed verifies, however it was damaged.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from functools import cache
from typing import Final

from capsule_core.checkpoints import Checkpoint, moment, open_checkpoint, parse_verifier, sign_checkpoint, stamp
from capsule_core.epochs import opening_of
from capsule_core.errors import InvalidField, LedgerBroken, NewerSchema, ReceiptInvalid
from capsule_core.jws import open_jws, sign_jws
from capsule_core.ledger import Leaf
from capsule_core.merkle import (
    Frontier,
    consistency,
    inclusion,
    leaf_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from capsule_core.receipts import KIND, Receipt, describe, verify
from capsule_core.statements import Statement
from tests.core.test_receipts import KEY, LEAF, OTHER, RECEIPT, SIGNER, STATEMENT, issued
from tests.fuzzing.target import Drawn, Target

__all__ = ["TARGETS"]

LEAVES: Final = tuple(b"leaf %d" % number for number in range(40))
HASHES: Final = tuple(map(leaf_hash, LEAVES))


@cache
def _genuine() -> tuple[Receipt, ...]:
    return (RECEIPT, issued(before=0), issued(before=40))


def _receipt(data: bytes) -> None:
    receipt = Receipt.decode(data)
    assert Receipt.decode(receipt.document) == receipt
    assert describe(receipt)
    assert receipt.key
    _proves(data, data.strip() in {each.document for each in _genuine()})


def _proves(document: bytes, genuine: bool) -> None:
    try:
        statement = verify(document, KEY)
    except (ReceiptInvalid, NewerSchema):
        assert not genuine
    else:
        assert genuine
        assert statement == STATEMENT


def _payload(data: bytes) -> None:
    """Whoever holds the key may sign what they like; it proves nothing that is not in the ledger."""
    document = sign_jws(data, SIGNER, kind=KIND)
    assert open_jws(document, SIGNER.verifier, kind=KIND) == data
    receipt = Receipt.decode(document)
    try:
        statement = verify(receipt, KEY)
    except (ReceiptInvalid, NewerSchema):
        return
    assert statement == STATEMENT
    assert receipt.leaf == LEAF


def _statement(data: bytes) -> None:
    statement = Statement.decode(data)
    assert statement.encode() == data
    assert Statement.decode(statement.encode()) == statement


def _leaf(data: bytes) -> None:
    opening_of(data)
    assert Leaf.decode(data).encode() == data


def _frontier(data: bytes) -> None:
    frontier = Frontier.decode(data)
    assert frontier.encode() == data
    if 0 < frontier.size < 1 << 60:
        grown = frontier.append(LEAVES)
        assert Frontier.decode(grown.encode()) == grown
        verify_inclusion(HASHES[-1], grown.size - 1, grown.size, grown.last_path(), grown.root())


CHECKPOINT: Final = Checkpoint("contacts/2", 40, root_of(HASHES))
NOTE: Final = sign_checkpoint(CHECKPOINT, SIGNER)


def _checkpoint(data: bytes) -> None:
    assert open_checkpoint(Drawn(data).text(), SIGNER.verifier) == CHECKPOINT


def _key(data: bytes) -> None:
    text = Drawn(data).text()
    verifier = parse_verifier(text)
    assert verifier.text() == text.strip()
    assert parse_verifier(verifier.text()) == verifier


def _moment(data: bytes) -> None:
    text = Drawn(data).text()
    assert stamp(moment(text)) == text


def _inclusion(data: bytes) -> None:
    """A path leads from one leaf at one place to the root, and no other path does."""
    drawn = Drawn(data)
    size = 1 + drawn.number(len(HASHES))
    index, claimed = drawn.number(size), drawn.number(len(HASHES) + 2)
    path = inclusion(HASHES, index, size)
    root = root_of(HASHES[:size])
    verify_inclusion(HASHES[index], index, size, path, root)
    altered = _altered(path, drawn)
    if (altered, claimed) == (path, index):
        return
    try:
        verify_inclusion(HASHES[index], claimed, size, altered, root)
    except ReceiptInvalid:
        return
    raise AssertionError


def _consistency(data: bytes) -> None:
    """A log that grew can be told from one that was rewritten."""
    drawn = Drawn(data)
    second = 1 + drawn.number(len(HASHES))
    first = 1 + drawn.number(second)
    path = consistency(HASHES, first, second)
    roots = root_of(HASHES[:first]), root_of(HASHES[:second])
    verify_consistency(first, second, path, *roots)
    altered = _altered(path, drawn)
    if altered == path:
        return
    try:
        verify_consistency(first, second, altered, *roots)
    except LedgerBroken:
        return
    raise AssertionError


def _altered(path: list[bytes], drawn: Drawn) -> list[bytes]:
    nodes = list(path)
    while drawn.left:
        at, what = drawn.number(len(nodes) + 1), drawn.number(3)
        if what == 0:
            nodes.insert(at, drawn.octets(32).ljust(32, b"\0"))
        elif what == 1 and at < len(nodes):
            del nodes[at]
        elif at < len(nodes):
            nodes[at] = bytes(one ^ two for one, two in zip(nodes[at], drawn.octets(32).ljust(32, b"\0"), strict=True))
    return nodes


def _payloads() -> Iterator[bytes]:
    for receipt in _genuine():
        text = receipt.document.split(b".")[1]
        yield base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))


TARGETS: Final = (
    Target(
        name="receipt",
        take=_receipt,
        parsers=(Receipt.decode, verify, open_jws),
        samples=lambda: [*(each.document for each in _genuine()), RECEIPT.document + b"\n", b"a.b.c", b".."],
        raises=(ReceiptInvalid, NewerSchema),
        runs=500,
    ),
    Target(
        name="receipt-payload",
        take=_payload,
        parsers=(Receipt.decode, verify, open_jws),
        samples=_payloads,
        raises=(ReceiptInvalid, NewerSchema),
        runs=500,
    ),
    Target(
        name="statement",
        take=_statement,
        parsers=(Statement.decode,),
        samples=lambda: [STATEMENT.encode(), b"{}", b'{"v":2}'],
        raises=(ReceiptInvalid, NewerSchema),
        runs=500,
    ),
    Target(
        name="leaf",
        take=_leaf,
        parsers=(Leaf.decode, opening_of),
        samples=lambda: [LEAF, _opened(), LEAF.replace(b'"v":1', b'"v":2'), b"{}"],
        raises=(InvalidField, NewerSchema),
    ),
    Target(
        name="frontier",
        take=_frontier,
        parsers=(Frontier.decode,),
        samples=lambda: [Frontier().append(LEAVES[:size]).encode() for size in (0, 1, 2, 7, 8, 40)],
        raises=(LedgerBroken,),
    ),
    Target(
        name="checkpoint",
        take=_checkpoint,
        parsers=(open_checkpoint,),
        samples=lambda: [NOTE.encode(), sign_checkpoint(CHECKPOINT, OTHER).encode(), (NOTE + NOTE[-110:]).encode()],
        raises=(ReceiptInvalid,),
    ),
    Target(
        name="public-key",
        take=_key,
        parsers=(parse_verifier,),
        samples=lambda: [
            KEY.encode(),
            KEY.encode() + b"\n",
            b"sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8",
        ],
        raises=(InvalidField,),
    ),
    Target(
        name="moment",
        take=_moment,
        parsers=(moment,),
        samples=lambda: [
            b"2026-01-31T09:30:00.000000Z",
            b"9999-12-31T23:59:59.999999Z",
            b"0001-01-01T00:00:00.000000Z",
        ],
        raises=(InvalidField,),
    ),
    Target(
        name="inclusion",
        take=_inclusion,
        parsers=(verify_inclusion,),
        samples=lambda: [bytes([39, 7, 7]), bytes([12, 3, 4, 0, 2, 255]), bytes([30, 29, 29, 1, 0]), b""],
        runs=500,
    ),
    Target(
        name="consistency",
        take=_consistency,
        parsers=(verify_consistency,),
        samples=lambda: [bytes([39, 7]), bytes([39, 7, 0, 2, 255]), bytes([31, 15, 1, 1]), b""],
        runs=500,
    ),
)


def _opened() -> bytes:
    told = b'"detail":{"epoch":"2","restored":"4","root":"' + bytes(32).hex().encode() + b'","size":"5"}'
    where = b'"records":0,"subjects":[],"tenant":"capsule.ledger","use":"security","v":1}'
    actor = b'{"act":"ledger.epoch","actor":"' + b"0" * 32 + b'","at":"2026-01-31T09:30:00.000000Z",'
    return actor + told + b"," + where
