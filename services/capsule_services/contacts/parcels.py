"""Address books on their way in, and what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

import attrs

from capsule_core.export import Record, Refused, Row

__all__ = ["MOST_REFUSED", "Incoming", "Reader", "Report", "Writer"]

MOST_REFUSED: Final = 1000
"""How many refused rows a report names; all are counted."""

Reader = Callable[..., Iterator[Row | Refused]]
Writer = Callable[[Iterable[Record]], Iterator[bytes]]


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
