"""Contents of records to bytes and back: JSON of what differs from the defaults, in their kind's current schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from typing import Any, Final, get_args, get_origin, get_type_hints

import attrs
import cattrs

from capsule_core.errors import NewerSchema
from capsule_core.personal import Kind

__all__ = ["Reading", "decode", "decode_plain", "encode", "from_plain", "to_plain"]

Reading = Callable[[bytes, Kind, int], Any]
"""Makes of the bytes of a kind, written in a schema, what is asked for: :func:`decode`, :func:`decode_plain`."""

_CONVERTER: Final = cattrs.Converter(omit_if_default=True, detailed_validation=False)
_written = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def to_plain(content: Any) -> dict[str, Any]:
    """Write an attrs value as dictionaries, lists and text."""
    plain: dict[str, Any] = _CONVERTER.unstructure(content)
    return plain


def from_plain(plain: dict[str, Any], kind: Kind) -> Any:
    """Make the value of a kind that :func:`to_plain` wrote."""
    return _CONVERTER.structure(plain, kind.model)


def encode(content: Any) -> bytes:
    """Write a value as bytes."""
    return _written(to_plain(content)).encode()


def decode(data: bytes, kind: Kind, schema: int) -> Any:
    """Read what :func:`encode` wrote in *schema*, leading it up to the kind's current one.

    Raises:
        NewerSchema: it was written in a later schema.
    """
    return from_plain(_current(data, kind, schema), kind)


def decode_plain(data: bytes, kind: Kind, schema: int) -> dict[str, Any]:
    """Read as :func:`decode`, but as dictionaries, lists and text with all their fields: no value is made or checked.

    Raises:
        NewerSchema: it was written in a later schema.
    """
    model: type[attrs.AttrsInstance] = kind.model
    return _completing(model)(_current(data, kind, schema))


def _current(data: bytes, kind: Kind, schema: int) -> dict[str, Any]:
    if schema > kind.schema:
        raise NewerSchema(f"a record of kind {kind.name}")
    plain: dict[str, Any] = json.loads(data)
    for step in range(schema, kind.schema):
        plain = kind.upcasts[step](plain)
    return plain


@cache
def _completing(model: type[attrs.AttrsInstance]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Make what puts back the defaults that were left out, in each item of a list too."""
    defaults = {field.name: _default(field) for field in attrs.fields(model) if field.default is not attrs.NOTHING}
    hints = get_type_hints(model).items()
    lists = {name: _completing(get_args(hint)[0]) for name, hint in hints if _is_list_of_values(hint)}

    def completed(plain: dict[str, Any]) -> dict[str, Any]:
        whole = {**defaults, **plain}
        for name in lists.keys() & plain.keys():
            whole[name] = list(map(lists[name], plain[name]))
        return whole

    return completed


def _default(field: attrs.Attribute[Any]) -> Any:
    factory = getattr(field.default, "factory", None)
    return _CONVERTER.unstructure(factory() if factory else field.default)


def _is_list_of_values(hint: Any) -> bool:
    return get_origin(hint) is tuple and attrs.has(get_args(hint)[0])
