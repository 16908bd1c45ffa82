"""Contents of records to bytes and back: JSON of what differs from the defaults, in their kind's current schema."""

from __future__ import annotations

import json
from typing import Any, Final

import cattrs

from capsule_core.errors import NewerSchema
from capsule_core.personal import Kind

__all__ = ["decode", "encode", "from_plain", "to_plain"]

_CONVERTER: Final = cattrs.Converter(omit_if_default=True, detailed_validation=False)


def to_plain(content: Any) -> dict[str, Any]:
    """Write an attrs value as dictionaries, lists and text."""
    plain: dict[str, Any] = _CONVERTER.unstructure(content)
    return plain


def from_plain(plain: dict[str, Any], kind: Kind) -> Any:
    """Make the value of a kind that :func:`to_plain` wrote."""
    return _CONVERTER.structure(plain, kind.model)


def encode(content: Any) -> bytes:
    """Write a value as bytes."""
    return json.dumps(to_plain(content), ensure_ascii=False, separators=(",", ":")).encode()


def decode(data: bytes, kind: Kind, *, schema: int) -> Any:
    """Read what :func:`encode` wrote in *schema*, leading it up to the kind's current one.

    Raises:
        NewerSchema: it was written in a later schema.
    """
    if schema > kind.schema:
        raise NewerSchema(f"a record of kind {kind.name}")
    plain = json.loads(data)
    for step in range(schema, kind.schema):
        plain = kind.upcasts[step](plain)
    return from_plain(plain, kind)
