"""What a field of a contact may hold; each rule says what is wrong with a text, or nothing."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Final, cast, get_args, get_origin, get_type_hints

import attrs

from capsule_core.errors import InvalidField
from capsule_core.identifiers import email_problem

__all__ = ["check", "email", "filled", "image_data", "instant", "line", "lines", "month_day", "one_of"]

Rule = Callable[[str], str | None]

MOST_ITEMS: Final = 100
_LINE: Final = 500
_LINES: Final = 100_000
_IMAGE: Final = 2 * 2**20
_BESIDE_LINE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_BESIDE_LINES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
_MONTH_DAY = re.compile(r"(?:--|([0-9]{4})-)([0-9]{2})-([0-9]{2})")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z")
_LEAP: Final = 2000


def line(text: str) -> str | None:
    """One line of text."""
    if len(text) > _LINE:
        return f"must have at most {_LINE} characters"
    if text.isprintable():
        return None
    return _unfit(_BESIDE_LINE.search(text))


def lines(text: str) -> str | None:
    """Text of many lines, which end in a line feed."""
    if len(text) > _LINES:
        return f"must have at most {_LINES} characters"
    return _unfit(_BESIDE_LINES.search(text))


def filled(text: str) -> str | None:
    """One line of text that is not blank."""
    return line(text) if text.strip() else "must not be empty"


def email(text: str) -> str | None:
    """An e-mail address."""
    return filled(text) or email_problem(text)


def month_day(text: str) -> str | None:
    """A day, with or without its year (RFC 6350 section 6.2.5), or nothing."""
    found = _MONTH_DAY.fullmatch(text)
    if not text or (found and _is_day(int(found[1] or _LEAP), int(found[2]), int(found[3]))):
        return None
    return "must be a day of the calendar, written YYYY-MM-DD or --MM-DD"


def instant(text: str) -> str | None:
    """A moment in UTC (RFC 3339)."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        known = False
    else:
        known = _INSTANT.fullmatch(text) is not None
    return None if known else "must be a moment in UTC, written 2026-05-04T09:30:00Z"


def one_of(*choices: str) -> Rule:
    """Make the rule that allows *choices* only."""
    problem = "must be one of " + ", ".join(f'"{choice}"' for choice in choices)
    return lambda text: None if text in choices else problem


def image_data(text: str) -> str | None:
    """An image of at most 2 MiB in base64 (RFC 4648 section 4)."""
    try:
        image = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        image = b""
    if len(image) > _IMAGE:
        return f"must have at most {_IMAGE} bytes"
    return None if image and base64.b64encode(image).decode("ascii") == text else "must be an image in base64"


def check(value: attrs.AttrsInstance) -> None:
    """Hold *value* against the rules among its annotations, the items of its lists included.

    Raises:
        InvalidField: a field breaks its rule; the path leads to it.
    """
    if fault := _fault(value):
        raise InvalidField(*fault)


def _fault(value: attrs.AttrsInstance) -> tuple[str, str] | None:
    shape = _shape(type(value))
    # Single lines are looked at all together, and one by one only if that is no good.
    singles = _are_lines(shape.lines(value))
    fields, read = (shape.others, shape.rest) if singles else (shape.fields, shape.all)
    for (name, rule, may_be_empty), held in zip(fields, read(value), strict=True):
        if not held and may_be_empty:
            continue
        if isinstance(held, str):
            if problem := rule(held):
                return name, problem
        elif not isinstance(held, tuple):
            return name, "must be text"
        elif fault := _fault_of_items(held, rule):
            return name + fault[0], fault[1]
    return None


def _are_lines(texts: tuple[Any, ...]) -> bool:
    try:
        together = "".join(texts)
    except TypeError:
        return False
    return len(together) <= _LINE and together.isprintable()


def _fault_of_items(items: tuple[Any, ...], rule: Rule) -> tuple[str, str] | None:
    if len(items) > MOST_ITEMS:
        return "", f"must have at most {MOST_ITEMS} items"
    for index, item in enumerate(items):
        if isinstance(item, str):
            if problem := rule(item):
                return f"[{index}]", problem
        elif fault := _fault(item):
            return f"[{index}].{fault[0]}", fault[1]
        elif _is_blank(item):
            return f"[{index}]", "must not be empty"
    return None


def _is_blank(item: attrs.AttrsInstance) -> bool:
    return not any(_shape(type(item)).all(item))


_Field = tuple[str, Rule, bool]
_Reader = Callable[[object], tuple[Any, ...]]


@attrs.frozen
class _Shape:
    """The fields of a model in order, those among them that hold more than any one line, and what reads them."""

    fields: tuple[_Field, ...]
    others: tuple[_Field, ...]
    lines: _Reader
    rest: _Reader
    all: _Reader


@cache
def _shape(model: type[attrs.AttrsInstance]) -> _Shape:
    hints = get_type_hints(model, include_extras=True)
    fields = tuple(_field(f.name, hints[f.name]) for f in attrs.fields(model) if hints[f.name] is not bool)
    singles = [name for name, rule, _ in fields if rule is line and Ellipsis not in _parts(hints[name])]
    others = tuple(field for field in fields if field[0] not in singles)
    return _Shape(
        fields, others, _reader(singles), _reader([each[0] for each in others]), _reader([each[0] for each in fields])
    )


def _reader(names: Sequence[str]) -> _Reader:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


def _field(name: str, hint: object) -> _Field:
    parts = list(_parts(hint))
    rules = [cast("Rule", part) for part in parts if callable(part) and not isinstance(part, type)]
    rule = rules[0] if rules else line
    return name, rule, Ellipsis in parts or rule("") is None


def _parts(hint: object) -> Iterator[Any]:
    if get_origin(hint) in (Annotated, tuple):
        for part in get_args(hint):
            yield from _parts(part)
    else:
        yield hint


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _unfit(found: re.Match[str] | None) -> str | None:
    return found and f"must not contain the character U+{ord(found[0]):04X}"
