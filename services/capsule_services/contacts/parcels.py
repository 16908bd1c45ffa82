"""Address books on their way in, and what became of them; and on their way out, part by part."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

import attrs

from capsule_core.export import Record, Refused, Row
from capsule_core.records import Cursor, Sealed

__all__ = ["MOST_REFUSED", "Form", "Incoming", "Part", "Piece", "Reader", "Report", "Writer"]

MOST_REFUSED: Final = 1000
"""How many refused rows a report names; all are counted."""

Reader = Callable[..., Iterator[Row | Refused]]


class Writer(Protocol):
    """Writes one part of a file: only the first *begins* it, only the last *ends* it."""

    def __call__(self, records: Iterable[Record], *, begins: bool, ends: bool) -> Iterator[bytes]: ...


@attrs.frozen
class Form:
    """A format to *write* contacts in, and the kinds of records beside them that have a place in it."""

    write: Writer
    beside: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Part:
    """Some contacts, newest first, with what hangs on them; each record with its contents as bytes.

    *begins* says that nothing comes before it, *after* where the next part goes on; None after the last.
    """

    contacts: list[tuple[Sealed, bytes]]
    belongings: list[tuple[Sealed, bytes]]
    begins: bool
    after: Cursor | None


@attrs.frozen
class Piece:
    """A piece of a file, and where to go on if nothing more of it arrives; None where that is amid a part."""

    data: bytes
    after: Cursor | None = None


@attrs.frozen(kw_only=True)
class Incoming:
    """An address book that is being sent: whose contacts they become, with which tags, and which sending this is.

    *run* names the sending: rows sent again under the same name are not applied again.
    """

    owner: str
    tags: tuple[str, ...]
    run: str
    read: Reader


@attrs.define
class Report:
    """What became of the rows of an address book."""

    created: int = 0
    already_applied: int = 0
    refused: int = 0
    refused_rows: list[Refused] = attrs.Factory(list)

    def refuse(self, row: Refused) -> None:
        self.refused += 1
        if len(self.refused_rows) < MOST_REFUSED:
            self.refused_rows.append(row)
