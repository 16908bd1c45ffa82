r"""What proves that somebody's data was destroyed, to anyone, offline, with a public key and no personal data.

A receipt has three parts that hold each other: the **statement** (the fields that NIST SP 800-88r2 asks of a
certificate of sanitisation: what, by which method, how verified, by whom, when), the **leaf** that commits its digest
to the ledger, and the signed **checkpoint** with the path from the leaf. It is a JSON object; to check one by hand:

1. write ``statement`` and ``leaf`` as canonical JSON (keys sorted, no spaces, UTF-8);
2. ``signature`` is Ed25519 over ``"capsule receipt v1\n" + statement + leaf``, by the key that ``key`` names;
3. ``leaf.detail.statement`` is the SHA-256 of the statement, in hex;
4. ``checkpoint`` is a C2SP tlog-checkpoint, signed by the same key;
5. ``path`` leads from ``SHA-256(0x00 + leaf)`` at ``index`` to the checkpoint's root (RFC 9162 section 2.1.3.2).
"""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Any, Final, Literal, TypeVar, get_args

import attrs

from capsule_core.checkpoints import (
    Checkpoint,
    Signer,
    Verifier,
    canonical,
    moment,
    open_checkpoint,
    parse_verifier,
    sign_checkpoint,
    stamp,
    utc,
)
from capsule_core.errors import InvalidField, NewerSchema, ReceiptInvalid
from capsule_core.ledger import Frontier, Leaf, leaf_hash, verify_inclusion
from capsule_core.names import SubjectKey, TenantId, subject_key, tenant_id

__all__ = ["Destruction", "Method", "Outcome", "Receipt", "Scope", "Statement", "describe", "issue", "verify"]

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)

Scope = Literal["this service", "everywhere"]
"""How far a statement reaches; only the privacy service, which asked every holder, says "everywhere"."""

_FORMAT: Final = "capsule receipt v1"


class Outcome(enum.Enum):
    """How a holder's part ended."""

    ERASED = "erased"
    NOTHING_HELD = "nothing_held"


class Method(enum.Enum):
    """How data was destroyed, in the words of NIST SP 800-88r2.

    A cryptographic erase destroys every copy of the key. A clear removes from the live stores at once, and from backups
    when the last that has it expires.
    """

    CRYPTOGRAPHIC_ERASE = "cryptographic_erase"
    CLEAR = "clear"


def _printable(field: str, text: object) -> None:
    if not isinstance(text, str) or not 0 < len(text) <= 200 or not text.isprintable():
        raise InvalidField(field, "must be 1 to 200 printable characters")


def _line(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    _printable(attribute.name, value)


def _lines(_: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    for text in value:
        _printable(attribute.name, text)


def _counts(field: str, number: object) -> None:
    if type(number) is not int or not 0 <= number < 1 << 63:
        raise InvalidField(field, "must be a count")


def _count(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    _counts(attribute.name, value)


def _keys(subjects: Sequence[str]) -> tuple[SubjectKey, ...]:
    return tuple(subject_key(subject) for subject in subjects)


@attrs.frozen(kw_only=True)
class Destruction:
    """One holder's part in an erasure.

    *records* counts what was destroyed by kind, *pages* name key pages and the keys they are sealed under now,
    *mirrors* counts the key store copies that confirmed it; *verified_at* it was looked for again, and not found.
    """

    holder: str = attrs.field(validator=_line)
    outcome: Outcome
    method: Method
    records: Mapping[str, int] = attrs.field(factory=dict[str, int])
    pages: tuple[str, ...] = attrs.field(default=(), validator=_lines)
    mirrors: int = attrs.field(default=0, validator=_count)
    verified_at: datetime = attrs.field(converter=utc)

    def __attrs_post_init__(self) -> None:
        for name, number in self.records.items():
            _printable("records", name)
            _counts("records", number)
        if self.outcome is Outcome.NOTHING_HELD and (self.pages or any(self.records.values())):
            raise InvalidField("outcome", "cannot be that nothing was held where something was destroyed")
        if self.pages and not self.mirrors:
            raise InvalidField("mirrors", "must be at least 1 where page keys were destroyed")


@attrs.frozen(kw_only=True)
class Statement:
    """What was destroyed, for whom, on which ground, when, by which holders, and what remains until when.

    *subjects* are surrogates; *ground* ("request", "purge", "trash expired") and *remaining* are in words of this
    software, never a user's.
    """

    erasure: str = attrs.field(validator=_line)
    service: str = attrs.field(validator=_line)
    tenant: TenantId = attrs.field(converter=tenant_id)
    subjects: tuple[SubjectKey, ...] = attrs.field(converter=_keys)
    ground: str = attrs.field(validator=_line)
    scope: Scope
    requested_at: datetime = attrs.field(converter=utc)
    fenced_at: datetime = attrs.field(converter=utc)
    destroyed_at: datetime = attrs.field(converter=utc)
    read_back_at: datetime = attrs.field(converter=utc)
    destructions: tuple[Destruction, ...]
    remaining: tuple[str, ...] = attrs.field(default=(), validator=_lines)

    def __attrs_post_init__(self) -> None:
        if self.scope not in get_args(Scope):
            raise InvalidField("scope", "must be 'this service' or 'everywhere'")
        if not self.destructions:
            raise InvalidField("destructions", "must name at least one holder")

    def encode(self) -> bytes:
        """Write it in canonical JSON: the bytes that are digested and signed."""
        return canonical({**_plain(self), "destructions": [_plain(part) for part in self.destructions], "v": 1})

    @classmethod
    def decode(cls, data: bytes) -> Statement:
        """Read what :meth:`encode` wrote.

        Raises:
            ReceiptInvalid: it is not a statement, or not spelled in the one way.
        """
        statement = _read(data, _statement, Statement.encode)
        if statement.encode() != data:
            raise ReceiptInvalid("the statement is not in canonical form")
        return statement

    def digest(self) -> str:
        """Return the SHA-256 of the encoded statement in hex, as the leaf's detail holds it."""
        return hashlib.sha256(self.encode()).hexdigest()


@attrs.frozen(kw_only=True)
class Receipt:
    """A statement and its proof: the *leaf* that commits it, its *path* at *index* to the root of the *checkpoint*.

    *key* names the key that made the *signature* over statement and leaf, and signed the checkpoint.
    """

    statement: Statement
    leaf: bytes
    index: int = attrs.field(validator=_count)
    path: tuple[bytes, ...]
    checkpoint: str
    key: str
    signature: bytes

    def to_json(self, indent: int | None = 2) -> bytes:
        """Write it for files and people: indented JSON, the same bytes each time; None for one line."""
        told = {
            "format": _FORMAT,
            "statement": json.loads(self.statement.encode()),
            "leaf": json.loads(self.leaf),
            "index": self.index,
            "path": [sibling.hex() for sibling in self.path],
            "checkpoint": self.checkpoint,
            "key": self.key,
            "signature": self.signature.hex(),
        }
        return json.dumps(told, indent=indent, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Receipt:
        """Read what :meth:`to_json` wrote; only white space and the order of fields may differ.

        Raises:
            ReceiptInvalid: it is not a receipt of this format; whether it is a true one only :func:`verify` says.
        """
        return _read(data, _receipt, Receipt.to_json)


def issue(statement: Statement, *, leaf: bytes, frontier: Frontier, origin: str, signer: Signer) -> Receipt:
    """Sign the receipt for *statement*, which the newest leaf of *frontier* commits to the log *origin*.

    Raises:
        ReceiptInvalid: the leaf is not the newest of the log, or commits another statement.
    """
    if frontier.nodes[-1:] != (leaf_hash(leaf),):
        raise ReceiptInvalid("its leaf is not the newest of the ledger")
    told = statement.encode()
    _committed(statement, told, leaf)
    return Receipt(
        statement=statement,
        leaf=leaf,
        index=frontier.size - 1,
        path=tuple(frontier.last_path()),
        checkpoint=sign_checkpoint(Checkpoint(origin, frontier.size, frontier.root()), signer),
        key=signer.name,
        signature=signer.sign(_signed(told, leaf)),
    )


def verify(receipt: Receipt | bytes, key: Verifier | str) -> Statement:
    """Return what *receipt* proves, on the word of the owner of the public *key*; needs nothing else.

    Raises:
        ReceiptInvalid: it proves nothing; the problem is the first of its parts that fails.
        InvalidField: the key is not one.
    """
    verifier = parse_verifier(key) if isinstance(key, str) else key
    if isinstance(receipt, bytes):
        receipt = Receipt.from_json(receipt)
    if receipt.key != verifier.name:
        raise ReceiptInvalid("it names another key than the one it is checked with")
    told = receipt.statement.encode()
    verifier.check(_signed(told, receipt.leaf), receipt.signature, what="the statement and its leaf")
    _committed(receipt.statement, told, receipt.leaf)
    # One signature only: a second one, by whomever, would be text in the receipt that nobody answers for.
    if receipt.checkpoint.partition("\n\n")[2].count("\n") != 1:
        raise ReceiptInvalid("the checkpoint must have exactly one signature")
    checkpoint = open_checkpoint(receipt.checkpoint, verifier)
    verify_inclusion(leaf_hash(receipt.leaf), receipt.index, checkpoint.size, receipt.path, checkpoint.root)
    return receipt.statement


def describe(receipt: Receipt) -> list[tuple[str, str]]:
    """Tell a person what *receipt* says, as labels and texts; it does not check anything."""
    statement = receipt.statement
    return [
        ("Erasure", statement.erasure),
        ("By", f"{statement.service}, for tenant {statement.tenant}"),
        ("Ground", statement.ground),
        ("Reaches", statement.scope),
        *(("Subject", subject) for subject in statement.subjects),
        ("Requested", stamp(statement.requested_at)),
        ("Fenced", stamp(statement.fenced_at)),
        ("Destroyed", stamp(statement.destroyed_at)),
        ("Read back", stamp(statement.read_back_at)),
        *(("Holder", _sentence(part)) for part in statement.destructions),
        *(("Remains", what) for what in statement.remaining or ("nothing",)),
        ("Ledger", f"leaf {receipt.index} of {receipt.checkpoint.partition(chr(10))[0]}"),
        ("Signed by", receipt.key),
    ]


def _sentence(part: Destruction) -> str:
    checked = f"verified {stamp(part.verified_at)}"
    if part.outcome is Outcome.NOTHING_HELD:
        return f"{part.holder}: held nothing, {checked}"
    what = ", ".join(f"{number} x {name}" for name, number in sorted(part.records.items())) or "no records"
    keys = f", {len(part.pages)} page keys on {part.mirrors} copies" if part.pages else ""
    return f"{part.holder}: {what} by {part.method.value.replace('_', ' ')}{keys}, {checked}"


def _signed(told: bytes, leaf: bytes) -> bytes:
    return _FORMAT.encode() + b"\n" + told + leaf


def _committed(statement: Statement, told: bytes, leaf: bytes) -> None:
    try:
        entry = Leaf.decode(leaf)
    except (InvalidField, NewerSchema) as refused:
        raise ReceiptInvalid(str(refused)) from None
    if entry.detail.get("statement") != hashlib.sha256(told).hexdigest():
        raise ReceiptInvalid("its leaf commits another statement: the digests differ")
    if entry.tenant != statement.tenant:
        raise ReceiptInvalid("its leaf is another tenant's")


def _plain(value: Statement | Destruction) -> dict[str, object]:
    told = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    return {name: stamp(it) if isinstance(it, datetime) else getattr(it, "value", it) for name, it in told.items()}


def _read(data: bytes, read: Callable[[object], T], write: Callable[[T], bytes]) -> T:
    try:
        text = data.decode()
        found = read(json.loads(text))
        if _spelling(text) == _spelling(write(found).decode()):
            return found
    except (InvalidField, NewerSchema) as refused:
        raise ReceiptInvalid(str(refused)) from None
    except (ValueError, RecursionError):
        raise ReceiptInvalid("it is not JSON text in UTF-8") from None
    raise ReceiptInvalid("a field stands there twice, or is not written in the one way that is signed")


def _spelling(text: str) -> object:
    # What was parsed leniently is compared as it stands: repeated fields, 1.0 for 1, upper-case hex.
    return json.loads(text, object_pairs_hook=_fields, parse_int=str, parse_float=str, parse_constant=str)


def _fields(pairs: list[tuple[str, Any]]) -> tuple[tuple[str, Any], ...]:
    return tuple(sorted(pairs, key=itemgetter(0)))


def _receipt(raw: object) -> Receipt:
    if _typed("receipt", raw, dict).get("format") != _FORMAT:
        raise InvalidField("format", f"must be '{_FORMAT}'; other formats need other software")
    told = _told("receipt", raw, Receipt, "format")
    leaf = canonical(told["leaf"])
    Leaf.decode(leaf)
    return Receipt(
        statement=_statement(told["statement"]),
        leaf=leaf,
        index=told["index"],
        path=tuple(_unhexed("path", sibling, 32) for sibling in _typed("path", told["path"], list)),
        checkpoint=_typed("checkpoint", told["checkpoint"], str),
        key=_typed("key", told["key"], str),
        signature=_unhexed("signature", told["signature"], 64),
    )


def _statement(raw: object) -> Statement:
    told = _told("statement", raw, Statement, "v")
    if told.pop("v") != 1:
        raise InvalidField("statement.v", "must be 1; other versions need other software")
    told["tenant"] = _typed("tenant", told["tenant"], str)
    for name in ("requested_at", "fenced_at", "destroyed_at", "read_back_at"):
        told[name] = _moment(name, told[name])
    for name in ("subjects", "remaining"):
        told[name] = tuple(_typed(name, text, str) for text in _typed(name, told[name], list))
    told["destructions"] = tuple(map(_destruction, _typed("destructions", told["destructions"], list)))
    return Statement(**told)


def _destruction(raw: object) -> Destruction:
    told = _told("destructions", raw, Destruction)
    told["outcome"] = _member(Outcome, "outcome", told["outcome"])
    told["method"] = _member(Method, "method", told["method"])
    told["records"] = _typed("records", told["records"], dict)
    told["pages"] = tuple(_typed("pages", told["pages"], list))
    told["verified_at"] = _moment("verified_at", told["verified_at"])
    return Destruction(**told)


def _told(field: str, raw: object, model: type[attrs.AttrsInstance], *more: str) -> dict[str, Any]:
    told, names = _typed(field, raw, dict), {*attrs.fields_dict(model), *more}
    for missing in sorted(names - told.keys()):
        raise InvalidField(f"{field}.{missing}", "is missing")
    if len(told) > len(names):
        raise InvalidField(field, "has a field that is none of its own")
    return dict(told)


def _typed(field: str, raw: object, kind: type[T]) -> T:
    if not isinstance(raw, kind):
        raise InvalidField(field, f"must be a {kind.__name__} in JSON")
    return raw


def _moment(field: str, raw: object) -> datetime:
    try:
        return moment(_typed(field, raw, str))
    except InvalidField as refused:
        raise InvalidField(field, refused.problem) from None


def _member(values: type[E], field: str, raw: object) -> E:
    try:
        return values(raw)
    except ValueError:
        raise InvalidField(field, "is none of the known values") from None


def _unhexed(field: str, raw: object, size: int) -> bytes:
    text = _typed(field, raw, str)
    if len(text) != 2 * size or not set(text) <= set("0123456789abcdef"):
        raise InvalidField(field, f"must be {size} bytes in lower-case hex")
    return bytes.fromhex(text)
