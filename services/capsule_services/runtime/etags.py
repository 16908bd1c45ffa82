"""Entity tags (AIP-154, RFC 9110 section 8.8.3): one for each content and state of a record."""

from __future__ import annotations

import re
from typing import Final

import attrs

from capsule_core.errors import InvalidField

__all__ = ["Etag", "etag", "parsed_etag"]

_FORM: Final = re.compile(r'"([0-9]{1,18})(-trash)?"')


@attrs.frozen
class Etag:
    """What an etag stands for: a version of the content, and whether it lies in the trash."""

    version: int
    trashed: bool = False


def etag(version: int, *, trashed: bool = False) -> str:
    """Write the etag of a record in quotes."""
    return f'"{version}{"-trash" if trashed else ""}"'


def parsed_etag(text: str, *, field: str = "etag") -> Etag | None:
    """Read what a caller sent back; None if they sent none, which asks for no check.

    Raises:
        InvalidField: it is not one that a record was returned with.
    """
    if not text:
        return None
    found = _FORM.fullmatch(text)
    if found is None:
        raise InvalidField(field, "must be sent back as it was returned, quotes included")
    return Etag(int(found[1]), found[2] is not None)
