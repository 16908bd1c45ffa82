"""Contents of records to bytes and back: JSON of what differs from the defaults, in their kind's current schema.

What was sealed was checked when it was made, and a seal that opens says that nobody touched it since: so values are put
together again as they were, and not checked a second time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from enum import Enum
from functools import cache
from typing import Any, Final, get_args, get_origin, get_type_hints

import attrs
import cattrs

from capsule_core.errors import NewerSchema
from capsule_core.personal import Kind

__all__ = ["Reading", "current", "decode", "decode_plain", "decode_plains", "encode", "from_plain", "to_plain"]

Reading = Callable[[bytes, Kind, int], Any]
"""Makes of the bytes of a kind, written in a schema, what is asked for: :func:`decode`, :func:`current`."""

_Plain = dict[str, Any]

_CONVERTER: Final = cattrs.Converter(omit_if_default=True, detailed_validation=False)
_MADE_OTHERWISE: Final = ("__attrs_init__", "_attrs_cached_hash")
_UNCHANGING: Final = (str, int, bool, tuple, frozenset, Enum)
_written = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def to_plain(content: Any) -> dict[str, Any]:
    """Write an attrs value as dictionaries, lists and text."""
    plain: dict[str, Any] = _CONVERTER.unstructure(content)
    return plain


def from_plain(plain: dict[str, Any], kind: Kind) -> Any:
    """Make the value of a kind that :func:`to_plain` wrote."""
    return _trusting(_model(kind))(plain)


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
    return _completing(_model(kind))(_current(data, kind, schema))


def decode_plains(contents: Sequence[bytes], kinds: Sequence[Kind]) -> list[dict[str, Any]]:
    """Read many as :func:`decode_plain`, each of its kind and in that kind's current schema: all in one go."""
    plains: list[dict[str, Any]] = json.loads(b"[%b]" % b",".join(contents))
    complete = {kind.name: _completing(_model(kind)) for kind in kinds}
    return [complete[kind.name](plain) for plain, kind in zip(plains, kinds, strict=True)]


def current(data: bytes, kind: Kind, schema: int) -> bytes:
    """Return what :func:`encode` would write today: the bytes themselves, unless they were written in an older schema.

    Raises:
        NewerSchema: they were written in a later schema.
    """
    return data if schema == kind.schema else encode(decode(data, kind, schema))


def _model(kind: Kind) -> type[attrs.AttrsInstance]:
    model: type[attrs.AttrsInstance] = kind.model
    return model


def _current(data: bytes, kind: Kind, schema: int) -> dict[str, Any]:
    if schema > kind.schema:
        raise NewerSchema(f"a record of kind {kind.name}")
    plain: dict[str, Any] = json.loads(data)
    for step in range(schema, kind.schema):
        plain = kind.upcasts[step](plain)
    return plain


@cache
def _completing(model: type[attrs.AttrsInstance]) -> Callable[[_Plain], _Plain]:
    """Make what puts back the defaults that were left out, in each item of a list too."""
    defaults = {field.name: _default(field) for field in attrs.fields(model) if field.default is not attrs.NOTHING}
    hints = get_type_hints(model).items()
    lists = [(name, _completing(get_args(hint)[0])) for name, hint in hints if _is_list_of_values(hint)]

    def completed(plain: _Plain) -> _Plain:
        whole = {**defaults, **plain}
        for name, complete in lists:
            if name in plain:
                whole[name] = list(map(complete, plain[name]))
        return whole

    return completed


def _default(field: attrs.Attribute[Any]) -> Any:
    factory = getattr(field.default, "factory", None)
    return _CONVERTER.unstructure(factory() if factory else field.default)


def _is_list_of_values(hint: Any) -> bool:
    return get_origin(hint) is tuple and attrs.has(get_args(hint)[0])


@cache
def _trusting(model: type[Any]) -> Callable[[_Plain], Any]:
    """Make what puts a value together without the checks of its making, if no more than checks would be left out."""
    structure = _CONVERTER.get_structure_hook(model)
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(model) if attrs.has(model) else ()
    if not fields or not all(map(_is_simple, fields)) or any(hasattr(model, own) for own in _MADE_OTHERWISE):
        return lambda plain: structure(plain, model)
    defaults = {field.name: field.default for field in fields if field.default is not attrs.NOTHING}
    hints, size = get_type_hints(model), len(fields)
    readers = [(field.name, read) for field in fields if (read := _reader(hints[field.name])) is not None]
    put = object.__setattr__

    def trusted(plain: _Plain) -> Any:
        whole = {**defaults, **plain}
        if len(whole) != size:
            return structure(plain, model)  # of another shape: a field is missing or unknown
        for name, read in readers:
            if name in plain:
                whole[name] = read(plain[name])
        made = object.__new__(model)
        for name, held in whole.items():
            put(made, name, held)
        return made

    return trusted


def _is_simple(field: attrs.Attribute[Any]) -> bool:
    """Tell whether a field holds just what it is given, and has no default that values could share and change."""
    shared = field.default is attrs.NOTHING or field.default is None or isinstance(field.default, _UNCHANGING)
    return field.init and field.converter is None and shared


def _reader(hint: Any) -> Callable[[Any], Any] | None:
    """Make what reads a field; None if its text, number or flag stands for itself."""
    if hint in (str, int, bool):
        return None
    if get_origin(hint) is tuple and get_args(hint)[1:] == (...,):
        item = get_args(hint)[0]
        if attrs.has(item):
            read = _trusting(item)
            return lambda held: tuple(map(read, held))
        if item is str:
            return tuple
    structure = _CONVERTER.get_structure_hook(hint)
    return lambda held: structure(held, hint)
