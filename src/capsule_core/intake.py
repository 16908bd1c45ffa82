"""What is asked of every record on every path that writes one: what may not come in, and what it tells of contact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, Final

import attrs

from capsule_core.guards import refuse_card_numbers
from capsule_core.moments import Event, Moment
from capsule_core.names import SubjectKey
from capsule_core.personal import Kind
from capsule_core.records import Sealed

__all__ = ["contacts", "refuse_cards"]

_SHORTEST: Final = 13
"""Fewer characters hold no card number."""


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
