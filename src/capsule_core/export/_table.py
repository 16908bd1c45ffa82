"""The rows of a CSV file (RFC 4180), one by one, each whole or refused."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Final

import attrs

from capsule_core.errors import InvalidField
from capsule_core.export import Refused
from capsule_core.export._lines import control_character, lines, utf8

__all__ = ["Table", "opened"]

_MARK: Final = "\ufeff"
_LIMIT: Final = 2**20
_PATIENCE: Final = 16 * 2**20
_MALFORMED: Final = "is not CSV: a quotation mark is never closed or not doubled, or a carriage return stands alone"


def _places_in(table: Table) -> Mapping[str, int]:
    return {name: place for place, name in reversed(list(enumerate(table.header)))}


@attrs.frozen
class Table:
    """The *header* of a file, and its *rows*: ``(1, cells)``, ``(2, cells)``, ... or why there are none."""

    header: Sequence[str]
    rows: Iterator[tuple[int, list[str]] | Refused]
    _places: Mapping[str, int] = attrs.field(init=False, default=attrs.Factory(_places_in, takes_self=True))

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return those of *names* that the header does not have."""
        return [name for name in names if name not in self._places]

    def column(self, *names: str) -> int:
        """Return where the first of *names* that the header has stands, or -1 if it has none."""
        return next((self._places[name] for name in names if name in self._places), -1)

    def numbered(self, kind: str, *parts: str) -> Iterator[str]:
        """Yield the beginnings of numbered columns: ``Phone 1 - ``, ``Phone 2 - ``, ... that have one of *parts*."""
        for number in count(1):
            start = f"{kind} {number} - "
            if not any(start + part in self._places for part in parts):
                return
            yield start


def opened(chunks: Iterable[bytes], *, windows_1252: bool = False) -> Table:
    """Read the header of a CSV file in UTF-8, in UTF-16 with a byte order mark, or in Windows-1252 if that is allowed.

    Raises:
        InvalidField: there is no header that can be read.
    """
    source = _Source(_decoded(lines(utf8(chunks), limit=_LIMIT), windows_1252=windows_1252))
    for cells in _records(source):
        if isinstance(cells, _Fault):
            raise InvalidField("file", f"has no header that can be read: its first row {cells.problem}")
        header = [cell.strip() for cell in cells]
        return Table(header, _rows(source, header=header))
    raise InvalidField("file", "is empty")


@attrs.frozen
class _Fault(Exception):
    reason: str
    problem: str


_TOO_LONG: Final = _Fault("TOO_LONG", f"is longer than {_LIMIT} bytes or has a quotation mark that is never closed")


def _rows(source: _Source, *, header: list[str]) -> Iterator[tuple[int, list[str]] | Refused]:
    for number, cells in enumerate(_records(source), start=1):
        if isinstance(cells, _Fault):
            yield Refused(number, reason=cells.reason, field="row", problem=cells.problem)
        elif len(cells) != len(header):
            problem = f"has {len(cells)} cells where the header has {len(header)}"
            yield Refused(number, reason="COLUMN_COUNT", field="row", problem=problem)
        elif control_character("".join(cells)):
            at, problem = next((at, found) for at, cell in enumerate(cells) if (found := control_character(cell)))
            yield Refused(number, reason="CONTROL_CHARACTER", field=header[at], problem=problem)
        else:
            yield number, cells


def _records(source: _Source) -> Iterator[list[str] | _Fault]:
    reader = csv.reader(source, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except _Fault as fault:
            yield fault
            source.resume()
        except csv.Error:
            yield _Fault("ROW_MALFORMED", _MALFORMED) if source.size <= csv.field_size_limit() else _TOO_LONG
            source.resume()
        else:
            source.forget()
            if cells:
                yield cells


@attrs.define
class _Source:
    """The lines of a file as the csv module takes them, kept while their row is not complete.

    A row that makes no sense ends with its first line; the lines after it are read again, as rows of their own. So a
    quotation mark that is never closed costs one row.
    """

    fresh: Iterator[str | _Fault]
    again: deque[str | _Fault] = attrs.Factory(deque)
    taken: list[str | _Fault] = attrs.Factory(list)
    size: int = 0
    repeated: int = 0

    def __iter__(self) -> _Source:
        return self

    def __next__(self) -> str:
        line = self.again.popleft() if self.again else next(self.fresh)
        self.taken.append(line)
        if isinstance(line, _Fault):
            raise line
        self.size += len(line)
        if self.size > _LIMIT:
            raise _TOO_LONG
        return line

    def resume(self) -> None:
        self.again.extendleft(reversed(self.taken[1:]))
        self.repeated += self.size
        if self.repeated > _PATIENCE:
            raise InvalidField("file", "has too many rows in which a quotation mark is never closed")
        self.forget()

    def forget(self) -> None:
        self.taken.clear()
        self.size = 0


def _decoded(found: Iterable[bytes | None], *, windows_1252: bool) -> Iterator[str | _Fault]:
    # As long as all was ASCII, which both encodings write alike, the first other byte tells which one it is.
    undecided, encoding = windows_1252, "utf-8"
    for line in found:
        if line is None:
            yield _TOO_LONG
            continue
        if undecided and not line.isascii():
            undecided, encoding = False, "utf-8" if _is_utf8(line) else "cp1252"
        try:
            yield line.decode(encoding).removeprefix(_MARK) + "\n"
        except UnicodeDecodeError:
            yield _Fault("ENCODING", f"is not valid {encoding}")


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
