"""What a record can be found by: derived from its contents as its kind declares, and from nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import attrs

from capsule_core import blind
from capsule_core.blind import TenantKeys
from capsule_core.errors import InvalidField
from capsule_core.identifiers import canonical, words
from capsule_core.personal import Exact, Form, Kind

__all__ = ["Index", "found_by_words", "index", "label", "query_signature", "query_token"]


@attrs.frozen
class Index:
    """The tokens, the claims among them, and the signature of one record; none if its kind is not found by words."""

    tokens: tuple[int, ...]
    claims: tuple[int, ...]
    signature: bytes


def index(kind: Kind, content: Any, *, keys: TenantKeys, region: str | None) -> Index:
    """Derive what *content* is found by; *region* is where national phone numbers are read (ISO 3166)."""
    tokens: dict[int, None] = {}
    claims: dict[int, None] = {}
    for name, search in kind.exact:
        for value in _values(getattr(content, name), search):
            if spelling := canonical(search.form, value, region=region):
                token = blind.token(keys, label(name, search.form), spelling)
                tokens[token] = None
                if search.unique:
                    claims[token] = None
    texts = [getattr(content, name) for name in kind.words]
    signature = blind.signature(keys, _all_words(texts)) if texts else b""
    return Index(tuple(tokens), tuple(claims), signature)


def query_token(keys: TenantKeys, field: str, form: Form, value: str, *, region: str | None) -> int:
    """Return the token by which records with *value* in *field* are found.

    Raises:
        InvalidField: the value has no canonical spelling in that form.
    """
    spelling = canonical(form, value, region=region)
    if not spelling:
        raise InvalidField(field, "is not one that could be looked for")
    return blind.token(keys, label(field, form), spelling)


def query_signature(keys: TenantKeys, text: str) -> bytes:
    """Return the signature that records with words beginning as those of *text* cover.

    Raises:
        InvalidField: there is no letter or digit in it.
    """
    wanted = words(text)
    if not wanted:
        raise InvalidField("name_prefix", "holds no letter or digit to look for")
    return blind.signature(keys, wanted)


def found_by_words(kind: Kind, content: Any, text: str) -> bool:
    """Tell whether each word of *text* begins a word of *content*: what a signature only promises."""
    held = list(_all_words(getattr(content, name) for name in kind.words))
    return all(any(word.startswith(wanted) for word in held) for wanted in words(text))


def label(field: str, form: Form) -> str:
    """Name what a token is made of: e-mail addresses and phones match across fields, other texts within theirs."""
    return field if form is Form.TEXT else form.value


def _values(value: Any, search: Exact) -> Iterator[str]:
    items = value if isinstance(value, tuple) else (value,)
    for item in items:
        text = item if search.of is None else getattr(item, search.of)
        if text:
            yield text


def _all_words(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        if text:
            yield from words(text)
