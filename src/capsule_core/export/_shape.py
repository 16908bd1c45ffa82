"""Values taken apart into texts, flags, lists and dictionaries, and put together again."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from typing import Any, get_args, get_origin, get_type_hints

import attrs

from capsule_core.errors import InvalidField

__all__ = ["assembled", "dismantled", "mapping"]


def dismantled(value: Any) -> Any:
    """Take *value* apart; every field is there, empty or not."""
    if isinstance(value, tuple):
        return [dismantled(item) for item in value]
    if value is None or isinstance(value, (str, bool)):
        return value
    model: type[attrs.AttrsInstance] = type(value)
    names, read = _fields(model)
    parts = zip(names, read(value), strict=True)
    return {name: held if type(held) is str else dismantled(held) for name, held in parts}


def assembled(hint: Any, held: object, path: str) -> object:
    """Put together the value of type *hint* that was taken apart into *held*; *path* names it in errors.

    Raises:
        InvalidField: *held* has another shape, or the value does not hold what it may.
    """
    if hint is str or hint is bool:
        if type(held) is not hint:
            raise InvalidField(path, "must be text" if hint is str else "must be true or false")
        return held
    if get_origin(hint) is tuple:
        return _items(get_args(hint)[0], held, path)
    given, hints = mapping(path, held), _hints(hint)
    if not set(given) <= set(hints):
        raise InvalidField(path, "has a field that this version does not know")
    return _made(hint, path, {name: assembled(hints[name], part, f"{path}.{name}") for name, part in given.items()})


def mapping(path: str, held: object) -> dict[str, Any]:
    """Return *held*, which must be a JSON object."""
    if not isinstance(held, dict):
        raise InvalidField(path, "must be an object")
    return held


def _items(hint: Any, held: object, path: str) -> tuple[object, ...]:
    if not isinstance(held, list):
        raise InvalidField(path, "must be a list")
    return tuple(assembled(hint, item, f"{path}[{index}]") for index, item in enumerate(held))


def _made(model: type[Any], path: str, fields: dict[str, object]) -> object:
    for field in attrs.fields(model):
        if field.default is attrs.NOTHING and field.name not in fields:
            raise InvalidField(f"{path}.{field.name}", "is missing")
    try:
        return model(**fields)
    except InvalidField as error:
        raise InvalidField(f"{path}.{error.field}", error.problem) from None


@cache
def _fields(model: type[attrs.AttrsInstance]) -> tuple[list[str], Callable[[object], tuple[object, ...]]]:
    names = [field.name for field in attrs.fields(model)]
    return names, attrgetter(*names)


@cache
def _hints(model: type[Any]) -> dict[str, Any]:
    return get_type_hints(model)
