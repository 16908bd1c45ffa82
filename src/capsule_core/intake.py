"""What is asked of every record on every path that writes one: what may not come in, and what it tells of contact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any, Final, get_type_hints

import attrs

from capsule_core.arguments import text, text_problem
from capsule_core.errors import InvalidField
from capsule_core.guards import refuse_card_numbers
from capsule_core.moments import Event, Moment
from capsule_core.names import SubjectKey
from capsule_core.personal import Kind
from capsule_core.records import Sealed

__all__ = ["admit", "check_texts", "contacts", "refuse_cards"]

_SHORTEST: Final = 13
"""Fewer characters hold no card number."""


def admit(kind: Kind, content: Any) -> None:
    """Let *content* pass into the store; errors as :func:`check_texts` and :func:`refuse_cards`."""
    check_texts(kind, content)
    refuse_cards(kind, content)


def check_texts(kind: Kind, content: Any) -> None:
    """Let *content* pass if it says whose it is, and each text in it, however deep, is one that can be kept.

    Raises:
        InvalidField: a field that is declared as text holds something else, is too long, or is no valid Unicode.
    """
    text("id", content.id)
    text(kind.subject, getattr(content, kind.subject))
    _check_parts("", content)


def refuse_cards(kind: Kind, content: Any) -> None:
    """Let *content* pass if none of its texts holds a card number; telephone numbers and pictures are not texts.

    Raises:
        CardNumberFound: naming the field (``custom[1].value``).
    """
    for name in kind.texts:
        if held := getattr(content, name):
            _refuse(name, held)


def contacts(kinds: Mapping[str, Kind], records: Sequence[Sealed], contents: Sequence[Any]) -> tuple[Moment, ...]:
    """Find when records that are being written say that there was contact with their subjects; never in the future."""
    told: dict[SubjectKey, datetime] = {}
    for record, content in zip(records, contents, strict=True):
        attribute = kinds[record.kind].contacted
        said = getattr(content, attribute) if attribute else ""
        if said:
            at = min(datetime.fromisoformat(said), record.updated)
            told[record.subject] = max(at, told.get(record.subject, at))
    return tuple(Moment(subject, Event.CONTACTED, at) for subject, at in told.items())


@attrs.frozen
class _Fields:
    """The attributes of a model that are declared as text, what reads them, and the others."""

    texts: tuple[str, ...]
    read: attrgetter[tuple[str, ...]]
    others: tuple[str, ...]


@cache
def _fields_of(model: Any) -> _Fields:
    hints, names = get_type_hints(model), _parts_of(model)
    texts = tuple(name for name in names if hints[name] is str)
    return _Fields(texts, attrgetter(*texts, *texts[:1]), tuple(name for name in names if name not in texts))


def _check_parts(path: str, value: Any) -> None:
    fields = _fields_of(value.__class__)
    if fields.texts and not _are_texts(fields.read(value)):
        for name in fields.texts:
            if problem := text_problem(getattr(value, name)):
                raise InvalidField(path + name, problem)
    for name in fields.others:
        if held := getattr(value, name):
            _check(path + name, held)


def _are_texts(texts: tuple[Any, ...]) -> bool:
    # All together: of what is good, and nearly everything is, no field has to be looked at by itself.
    try:
        return text_problem("".join(texts)) is None
    except TypeError:
        return False


def _check(path: str, value: Any) -> None:
    if isinstance(value, str):
        if problem := text_problem(value):
            raise InvalidField(path, problem)
    elif isinstance(value, (tuple, list)):
        for place, item in enumerate(value):
            _check(f"{path}[{place}]", item)
    elif _parts_of(value.__class__):
        _check_parts(f"{path}.", value)


@cache
def _parts_of(model: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in attrs.fields(model)) if attrs.has(model) else ()


def _refuse(path: str, value: Any) -> None:
    if isinstance(value, str):
        if len(value) >= _SHORTEST:
            refuse_card_numbers(path, value)
    elif isinstance(value, (tuple, list)):
        for place, item in enumerate(value):
            _refuse(f"{path}[{place}]", item)
    else:
        for name in _parts_of(value.__class__):
            if held := getattr(value, name):
                _refuse(f"{path}.{name}", held)
