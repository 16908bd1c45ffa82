"""What may not come in, whatever the kind: asked of every record on every path that writes one."""

from __future__ import annotations

from typing import Any

import attrs

from capsule_core.guards import refuse_card_numbers
from capsule_core.personal import Category, Exact, Form, Kind, Personal

__all__ = ["refuse_cards"]


def refuse_cards(kind: Kind, content: Any) -> None:
    """Let *content* pass if none of its texts holds a card number; telephone numbers and pictures are not texts.

    Raises:
        CardNumberFound: naming the field (``custom[1].value``).
    """
    for name, declared in kind.fields.items():
        if isinstance(declared, Personal) and not _is_no_text(declared):
            _refuse(name, getattr(content, name))


def _is_no_text(declared: Personal) -> bool:
    search = declared.search
    return declared.category is Category.IMAGE or (isinstance(search, Exact) and search.form is Form.PHONE)


def _refuse(path: str, value: Any) -> None:
    if isinstance(value, str):
        refuse_card_numbers(path, value)
    elif isinstance(value, (tuple, list)):
        for place, item in enumerate(value):
            _refuse(f"{path}[{place}]", item)
    elif attrs.has(type(value)):
        for field in attrs.fields(type(value)):
            _refuse(f"{path}.{field.name}", getattr(value, field.name))
