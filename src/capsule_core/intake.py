"""What may not come in, whatever the kind: asked of every record on every path that writes one."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import attrs

from capsule_core.guards import refuse_card_numbers
from capsule_core.personal import Kind

__all__ = ["refuse_cards"]

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
