"""What address books call an address or a number, in one spelling: ``work``, ``mobile``, ``home fax``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

__all__ = ["apple_label", "label_of_types", "plain_label", "types_of_label"]

_KNOWN: Final = {
    name.replace(" ", ""): name
    for name in (
        *("home", "work", "other", "mobile", "main", "pager", "fax", "home fax", "work fax", "other fax"),
        *("car", "primary", "assistant", "home page", "profile", "blog", "school"),
    )
}
_TYPES: Final[Mapping[str, Mapping[frozenset[str], str]]] = {
    "TEL": {
        frozenset(): "",
        frozenset({"home"}): "home",
        frozenset({"work"}): "work",
        frozenset({"cell"}): "mobile",
        frozenset({"home", "cell"}): "home mobile",
        frozenset({"work", "cell"}): "work mobile",
        frozenset({"fax"}): "fax",
        frozenset({"home", "fax"}): "home fax",
        frozenset({"work", "fax"}): "work fax",
        frozenset({"pager"}): "pager",
    },
    "": {frozenset(): "", frozenset({"home"}): "home", frozenset({"work"}): "work"},
}
_SAID: Final = {
    kind: {label: ",".join(sorted(types)) for types, label in known.items()} for kind, known in _TYPES.items()
}
# Types that say nothing a label would: what everything is unless it says otherwise, and which one comes first.
_SILENT: Final = frozenset({"voice", "internet", "pref", "msg", "dom", "intl", "postal", "parcel", "text", "x400"})
_APPLE = re.compile(r"_\$!<(.*)>!\$_")


def plain_label(text: str) -> str:
    """Return the one spelling of a label that many use, or a label of somebody's own as it is."""
    return _KNOWN.get(text.lower().replace(" ", ""), text)


def apple_label(text: str) -> str:
    """Return what an ``X-ABLabel`` says; Apple wraps the labels that it translates: ``_$!<HomePage>!$_``."""
    found = _APPLE.fullmatch(text)
    return plain_label(found[1]).lower() if found else text


def label_of_types(property_name: str, types: Iterable[str]) -> str:
    """Return the label that the *types* of a property make (RFC 6350 section 5.6)."""
    telling = [kind for kind in dict.fromkeys(map(str.lower, types)) if kind not in _SILENT]
    known = _TYPES.get(property_name, _TYPES[""])
    return known.get(frozenset(telling)) or " ".join(kind.removeprefix("x-") for kind in telling)


def types_of_label(property_name: str, label: str) -> str | None:
    """Return the types that make *label*, separated by commas, or nothing if no types do."""
    return _SAID.get(property_name, _SAID[""]).get(label)
