"""What a receipt states: the fields that NIST SP 800-88r2 asks of a certificate of sanitisation, and no personal data.

Which rule was applied, what each holder destroyed, by which method on which media, how that was verified, and what is
kept on which ground. A statement has one spelling, canonical JSON; its digest is what the ledger commits to.
"""

from __future__ import annotations

import enum
import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, TypeVar, get_args

import attrs

from capsule_core.checkpoints import canonical, moment, stamp, utc
from capsule_core.errors import InvalidField, NewerSchema, ReceiptInvalid
from capsule_core.names import SubjectKey, TenantId, subject_key, tenant_id

__all__ = [
    "TOOL",
    "Destruction",
    "Method",
    "Outcome",
    "Policy",
    "Remainder",
    "Scope",
    "Statement",
    "Verification",
    "members",
    "typed",
]

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)

TOOL: Final = "capsule-core 0.1.0"
"""What destroys here: this software and its version."""

Scope = Literal["this service", "everywhere"]
"""How far a statement reaches; only the privacy service, which asked every holder, says "everywhere"."""

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Outcome(enum.Enum):
    """How a holder's part ended."""

    ERASED = "erased"
    NOTHING_HELD = "nothing_held"


class Method(enum.Enum):
    """How data was destroyed.

    A cryptographic erase destroys every copy of the key, and so reaches every copy of the data: NIST SP 800-88r2 counts
    it among the techniques of Purge. A clear removes from the live stores at once, and from backups when the last that
    has it expires: its Clear.
    """

    CRYPTOGRAPHIC_ERASE = "cryptographic_erase"
    CLEAR = "clear"


def _printable(field: str, text: object, *, least: int = 1) -> None:
    if not isinstance(text, str) or not least <= len(text) <= 200 or not (text.isprintable()):
        raise InvalidField(field, f"must be {least} to 200 printable characters")


def _line(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    _printable(attribute.name, value)


def _line_or_nothing(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    _printable(attribute.name, value, least=0)


def _lines(_: object, attribute: attrs.Attribute[tuple[str, ...]], value: tuple[str, ...]) -> None:
    for text in value:
        _printable(attribute.name, text)


def _counts(field: str, number: object) -> None:
    if type(number) is not int or not 0 <= number < 1 << 63:
        raise InvalidField(field, "must be a count")


def _count(_: object, attribute: attrs.Attribute[int], value: int) -> None:
    _counts(attribute.name, value)


def _digest(_: object, attribute: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise InvalidField(attribute.name, "must be a SHA-256 in lower-case hex")


def _word(_: object, attribute: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise InvalidField(attribute.name, f"must match {_WORD.pattern}")


def _keys(subjects: Sequence[str]) -> tuple[SubjectKey, ...]:
    return tuple(subject_key(subject) for subject in subjects)


def _utc_or_none(at: datetime | None) -> datetime | None:
    return None if at is None else utc(at)


@attrs.frozen(kw_only=True)
class Policy:
    """The rule under which something was destroyed: its *name*, its *version*, and the SHA-256 of what it says."""

    name: str = attrs.field(validator=_word)
    version: str = attrs.field(validator=_word)
    digest: str = attrs.field(validator=_digest)


@attrs.frozen(kw_only=True)
class Remainder:
    """What a holder keeps: *what*, on which *ground*, how many *records*, and *until* when, if that is known."""

    what: str = attrs.field(validator=_line)
    ground: str = attrs.field(validator=_line)
    records: int = attrs.field(default=0, validator=_count)
    until: datetime | None = attrs.field(default=None, converter=_utc_or_none)


@attrs.frozen(kw_only=True)
class Verification:
    """How it was looked for again: by which *method*, with which *result*, *by* whom, *at* what time."""

    method: str = attrs.field(validator=_line)
    result: str = attrs.field(validator=_line)
    by: str = attrs.field(validator=_line)
    at: datetime = attrs.field(converter=utc)


@attrs.frozen(kw_only=True)
class Destruction:
    """One holder's part in an erasure.

    *media* is what was sanitised, *technique* how the *method* was carried out there, *tool* with which software of
    which version. *records* counts what was destroyed by kind, *pages* name key pages and the keys they are sealed
    under now, *mirrors* counts the key store copies that confirmed it. Who held nothing names no method.
    """

    holder: str = attrs.field(validator=_line)
    outcome: Outcome
    method: Method | None = None
    technique: str = attrs.field(default="", validator=_line_or_nothing)
    media: str = attrs.field(default="", validator=_line_or_nothing)
    tool: str = attrs.field(default=TOOL, validator=_line)
    records: Mapping[str, int] = attrs.field(factory=dict[str, int])
    pages: tuple[str, ...] = attrs.field(default=(), validator=_lines)
    mirrors: int = attrs.field(default=0, validator=_count)
    remaining: tuple[Remainder, ...] = ()
    verification: Verification

    def __attrs_post_init__(self) -> None:
        for name, number in self.records.items():
            _printable("records", name)
            _counts("records", number)
        if self.outcome is Outcome.NOTHING_HELD and (self.method or self.pages or any(self.records.values())):
            raise InvalidField("outcome", "cannot be that nothing was held where something was destroyed")
        if self.outcome is Outcome.ERASED and not (self.method and self.technique and self.media):
            raise InvalidField("method", "must be named, with its technique and media, where something was destroyed")
        if self.pages and not self.mirrors:
            raise InvalidField("mirrors", "must be at least 1 where page keys were destroyed")


@attrs.frozen(kw_only=True)
class Statement:
    """What was asked, on which ground and under which policy, and what each holder did about it, and when.

    *subjects* are surrogates; *ground* ("request", "purge", "trash_expired") and what holders say are in words of their
    software, never a user's.
    """

    erasure: str = attrs.field(validator=_line)
    service: str = attrs.field(validator=_line)
    tenant: TenantId = attrs.field(converter=tenant_id)
    subjects: tuple[SubjectKey, ...] = attrs.field(converter=_keys)
    ground: str = attrs.field(validator=_line)
    policy: Policy
    scope: Scope
    requested_at: datetime = attrs.field(converter=utc)
    fenced_at: datetime = attrs.field(converter=utc)
    destroyed_at: datetime = attrs.field(converter=utc)
    read_back_at: datetime = attrs.field(converter=utc)
    destructions: tuple[Destruction, ...]

    def __attrs_post_init__(self) -> None:
        if self.scope not in get_args(Scope):
            raise InvalidField("scope", "must be 'this service' or 'everywhere'")
        if not self.destructions:
            raise InvalidField("destructions", "must name at least one holder")

    @property
    def remaining(self) -> tuple[Remainder, ...]:
        """What is kept, at any holder."""
        return tuple(what for part in self.destructions for what in part.remaining)

    def encode(self) -> bytes:
        """Write it in canonical JSON: the bytes that are digested and signed."""
        return canonical({**_plain(self), "v": 1})

    @classmethod
    def decode(cls, data: bytes) -> Statement:
        """Read what :meth:`encode` wrote.

        Raises:
            ReceiptInvalid: it is not a statement, or not spelled in the one way.
            NewerSchema: a newer version of this software wrote it.
        """
        try:
            statement = _statement(json.loads(data.decode()))
        except InvalidField as refused:
            raise ReceiptInvalid(str(refused)) from None
        except (ValueError, RecursionError):
            raise ReceiptInvalid("the statement is not JSON text in UTF-8") from None
        if statement.encode() != data:
            raise ReceiptInvalid("the statement is not in canonical form")
        return statement

    def digest(self) -> str:
        """Return the SHA-256 of the encoded statement in hex, as the leaf's detail holds it."""
        return hashlib.sha256(self.encode()).hexdigest()


def _plain(value: Any) -> Any:
    match value:
        case datetime():
            return stamp(value)
        case enum.Enum():
            return value.value
        case list() | tuple():
            return [_plain(each) for each in value]
        case _ if attrs.has(type(value)):
            return {field.name: _plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
        case _:
            return value


def members(field: str, raw: object, names: Sequence[str]) -> dict[str, Any]:
    """Take *raw* as a JSON object with fields of exactly these *names*.

    Raises:
        InvalidField: it is another.
    """
    told = typed(field, raw, dict)
    for missing in sorted(set(names) - told.keys()):
        raise InvalidField(f"{field}.{missing}", "is missing")
    if len(told) > len(names):
        raise InvalidField(field, "has a field that is none of its own")
    return dict(told)


def typed(field: str, raw: object, kind: type[T]) -> T:
    """Take *raw* as a JSON value that Python reads as *kind*.

    Raises:
        InvalidField: it is of another kind.
    """
    if not isinstance(raw, kind):
        raise InvalidField(field, f"must be a {kind.__name__} in JSON")
    return raw


def _made(field: str, raw: object, model: type[T], **readers: Callable[[str, object], object]) -> T:
    told = members(field, raw, [each.name for each in attrs.fields(model)])  # type: ignore[arg-type]
    for name, read in readers.items():
        told[name] = read(name, told[name])
    return model(**told)


def _each(read: Callable[[str, object], T]) -> Callable[[str, object], tuple[T, ...]]:
    return lambda field, raw: tuple(read(field, item) for item in typed(field, raw, list))


def _text(field: str, raw: object) -> str:
    return typed(field, raw, str)


def _object(field: str, raw: object) -> Mapping[str, Any]:
    return typed(field, raw, dict)


def _moment(field: str, raw: object) -> datetime:
    try:
        return moment(typed(field, raw, str))
    except InvalidField as refused:
        raise InvalidField(field, refused.problem) from None


def _one_of(values: type[E]) -> Callable[[str, object], E]:
    def read(field: str, raw: object) -> E:
        try:
            return values(raw)
        except ValueError:
            raise InvalidField(field, "is none of the known values") from None

    return read


def _unless_null(read: Callable[[str, object], T]) -> Callable[[str, object], T | None]:
    return lambda field, raw: None if raw is None else read(field, raw)


def _statement(raw: object) -> Statement:
    version = typed("statement", raw, dict).get("v")
    if type(version) is int and version > 1:
        raise NewerSchema("a receipt")
    if type(version) is not int or version != 1:
        raise InvalidField("statement.v", "must be 1")
    times = dict.fromkeys(("requested_at", "fenced_at", "destroyed_at", "read_back_at"), _moment)
    told = {name: value for name, value in typed("statement", raw, dict).items() if name != "v"}
    return _made(
        "statement",
        told,
        Statement,
        tenant=_text,
        subjects=_each(_text),
        policy=lambda field, raw: _made(field, raw, Policy),
        destructions=_each(_destruction),
        **times,
    )


def _destruction(field: str, raw: object) -> Destruction:
    return _made(
        field,
        raw,
        Destruction,
        outcome=_one_of(Outcome),
        method=_unless_null(_one_of(Method)),
        records=_object,
        pages=_each(_text),
        remaining=_each(_remainder),
        verification=lambda name, raw: _made(name, raw, Verification, at=_moment),
    )


def _remainder(field: str, raw: object) -> Remainder:
    return _made(field, raw, Remainder, until=_unless_null(_moment))
