"""The shipper: keeps the journal of a service at a place outside the machine, entry for entry.

What is appended here goes there in the order of positions; whoever waits for it is told when both heads there have it.
Processes that share a service's folder take turns. If the place does not answer, nobody is kept waiting any longer:
whoever asks is told so at once, until a look has found it again.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import attrs

from capsule_core.errors import CapsuleError, Unavailable
from capsule_core.journal import Entry, Journal
from capsule_services.places.place import Place
from capsule_services.runtime.shipping.envelopes import Envelope, Head, Piece, Rows, digest_of, size_of
from capsule_services.runtime.shipping.faults import (
    JournalUnshipped,
    ShippedAhead,
    ShippedDamaged,
    ShippedForeign,
    ShippedMissing,
)
from capsule_services.runtime.shipping.marks import ShippingMark, mark_in, tell_mark
from capsule_services.runtime.shipping.reading import HEADS, read_heads

__all__ = ["Shipper"]

_LONGEST_TAIL: Final = 48 << 10
"""Bytes; with more, the tail becomes a piece."""
_LARGEST_PIECE: Final = 4 << 20
_NONCE: Final = 12
_PATIENCE: Final = 15.0
"""Seconds to wait for another process."""
_MOMENT: Final = 0.005


def _untold(_: CapsuleError | None) -> None:
    return


@attrs.define(eq=False)
class Shipper:
    """Ships *local*, the journal named *journal*, to *place*; *folder* is where processes take turns.

    *told* hears why it cannot be shipped, and None when it can be again.
    """

    _local: Journal
    _journal: str
    _place: Place
    _envelope: Envelope
    _folder: Path
    _random: Callable[[int], bytes]
    told: Callable[[CapsuleError | None], None] = _untold
    _shipping: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)
    _reached: int = attrs.field(default=0, init=False)
    _known: Head | None = attrs.field(default=None, init=False, repr=False)
    _turn: str = attrs.field(default="", init=False)
    _wrong: CapsuleError | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._reached = self._marked().position

    @property
    def behind(self) -> int:
        """How far the place is behind, in positions of the journal."""
        return max(0, self._local.append(()) - self._reached)

    def reach(self, position: int) -> None:
        """Return when the place has every entry up to *position*.

        Raises:
            JournalUnshipped: it has not; what is here stays here, and goes there later.
        """
        if position <= self._reached:
            return
        if self._wrong is None:
            with self._shipping:
                if position > self._reached and self._wrong is None:
                    self._try()
        if position > self._reached:
            raise JournalUnshipped

    def look(self, *, always: bool = False) -> None:
        """Ship what is not there yet, and find out whether the place answers again, or *always* whether it does.

        Raises:
            CapsuleError: it cannot be shipped, and why.
        """
        if always or self._wrong is not None or self.behind:
            with self._shipping:
                self._try()
        if self._wrong is not None:
            raise self._wrong

    def tidy(self) -> int:
        """Drop there what was dropped here, and what was left by whoever was interrupted; return how many objects went.

        Raises:
            CapsuleError: the place does not answer; doing it again finishes that.
        """
        with self._shipping, self._alone():
            head, agreed = self._there()
            if head is None:
                return 0
            tidied = self._tidied(head)
            if tidied is not None or not agreed:
                head = self._write(attrs.evolve(tidied or head, version=head.version + 1))
            return self._cleared(head)

    def _try(self) -> None:
        try:
            with self._alone():
                self._ship()
        except (CapsuleError, OSError) as error:
            self._known = None  # whatever part of it is there
            self._say(error if isinstance(error, CapsuleError) else Unavailable())
        else:
            self._say(None)

    def _say(self, wrong: CapsuleError | None) -> None:
        before, self._wrong = self._wrong, wrong
        if (before and before.reason) != (wrong and wrong.reason):
            self.told(wrong)

    def _ship(self) -> None:
        head, agreed = self._there()
        newest, at = self._local.append(()), head.position if head else 0
        while at < newest and (rows := self._next(at)):  # what is appended meanwhile is for whoever comes later
            head, agreed, at = self._write(self._grown(head, rows)), True, rows[-1][0]
        if head is not None:
            if not agreed:
                head = self._write(self._grown(head, ()))
            self._reached = max(self._reached, head.position)

    def _next(self, position: int) -> Rows:
        """Return entries behind a position: all, or as many as are shipped at once."""
        rows, size = list[tuple[int, Entry]](), 0
        for row in self._local.since(position):
            rows.append(row)
            size += size_of([row])
            if size >= _LARGEST_PIECE:
                break
        return rows

    def _there(self) -> tuple[Head | None, bool]:
        """Return what the place has: as we left it, or as it says if another process may have been there since."""
        mark = self._marked()
        if self._known is not None and mark.turn == self._turn:
            return self._known, True
        try:
            shipped = read_heads(self._place, self._envelope, self._journal)
        except ShippedDamaged:
            if mark.position:
                raise
            return None, False  # the very first writing was torn, and nobody was told anything
        head = shipped.head
        if head is None:
            if mark.position:
                raise ShippedMissing(self._envelope.place)
            return None, False
        if head.position > self._local.append(()):
            raise ShippedAhead(self._envelope.place)
        last = next(self._local.since(head.position - 1), None)
        if last is not None and last[0] == head.position and digest_of(last[1]) != head.digest:
            raise ShippedForeign(self._envelope.place)
        return head, shipped.agreed

    def _grown(self, head: Head | None, rows: Rows) -> Head:
        """Return the head with more entries; a tail that has become long is put away as pieces before."""
        head = head or Head(version=0, journal=self._journal, position=0, digest="", pieces=(), tail=())
        pieces, tail = list(head.pieces), [*head.tail, *rows]
        if size_of(tail) > _LONGEST_TAIL:
            tail = self._with_smaller(pieces, tail)
            pieces += self._put(tail)
            tail = []
        last = rows[-1] if rows else None
        return attrs.evolve(
            head,
            version=head.version + 1,
            position=last[0] if last else head.position,
            digest=digest_of(last[1]) if last else head.digest,
            pieces=tuple(pieces),
            tail=tuple(tail),
        )

    def _with_smaller(self, pieces: list[Piece], tail: list[tuple[int, Entry]]) -> list[tuple[int, Entry]]:
        """Take the last pieces that are not larger into the one that is to be made: so there are never many of them."""
        size, first = size_of(tail), tail[0][0]
        while pieces and pieces[-1].size <= size and pieces[-1].size + size <= _LARGEST_PIECE:
            size += pieces[-1].size
            first = pieces.pop().first
        return self._between(first, tail[-1][0])  # and not to the end: somebody may append at this moment

    def _put(self, rows: Rows) -> list[Piece]:
        """Put entries away as pieces."""
        made = list[Piece]()
        for part in _parts(rows):
            name = self._random(16).hex()
            sealed = self._envelope.seal_piece(name, part, self._random(_NONCE))
            self._place.put(f"{self._envelope.folder}pieces/{name}", sealed)
            made.append(Piece(name=name, first=part[0][0], last=part[-1][0], count=len(part), size=size_of(part)))
        return made

    def _write(self, head: Head) -> Head:
        """Write both heads, one after the other."""
        self._known, self._turn = None, self._random(8).hex()
        self._mark(self._marked().position)  # before: whoever comes after a crash looks what is there
        for name in HEADS:
            self._place.put(self._envelope.folder + name, self._envelope.seal_head(head, self._random(_NONCE)))
        self._known = head
        self._mark(head.position)
        return head

    def _tidied(self, head: Head) -> Head | None:
        """Return the head without what was dropped here, its pieces put away; None if nothing was."""
        pieces, changed = list[Piece](), list[tuple[int, Entry]]()
        first = head.pieces[0].first if head.pieces else 0
        for piece in head.pieces:
            rows = self._between(piece.first, piece.last)
            if len(rows) == piece.count:
                pieces += [*self._put(changed), piece]
                changed = []
            else:
                changed += rows
        pieces += self._put(changed)
        tail = tuple(self._between(head.pieces[-1].last + 1 if head.pieces else first, head.position))
        if tuple(pieces) == head.pieces and tail == head.tail:
            return None
        return attrs.evolve(head, pieces=tuple(pieces), tail=tail)

    def _between(self, first: int, last: int) -> list[tuple[int, Entry]]:
        rows = list[tuple[int, Entry]]()
        for position, entry in self._local.since(first - 1):
            if position > last:
                break
            rows.append((position, entry))
        return rows

    def _cleared(self, head: Head) -> int:
        """Remove the pieces that the heads do not name."""
        folder = f"{self._envelope.folder}pieces/"
        named = {folder + piece.name for piece in head.pieces}
        left = [name for name in self._place.names(folder) if name not in named]
        for name in left:
            self._place.remove(name)
        return len(left)

    def _marked(self) -> ShippingMark:
        """Return how far this journal is known to be at this place."""
        mark = mark_in(self._folder)
        ours = (mark.place, mark.journal) == (self._envelope.place, self._journal)
        return mark if ours else ShippingMark()

    def _mark(self, position: int) -> None:
        place, journal = self._envelope.place, self._journal
        tell_mark(self._folder, ShippingMark(place=place, journal=journal, position=position, turn=self._turn))

    @contextmanager
    def _alone(self) -> Generator[None]:
        """Keep other processes from the place.

        Raises:
            Unavailable: one of them is there, and stays.
        """
        with (self._folder / "shipping.lock").open("ab") as lock:
            until = time.monotonic() + _PATIENCE
            while not _locked(lock):
                if time.monotonic() > until:
                    raise Unavailable
                time.sleep(_MOMENT)
            yield


def _locked(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _parts(rows: Rows) -> Iterator[Rows]:
    """Cut entries into pieces that are not too large."""
    part, size = list[tuple[int, Entry]](), 0
    for row in rows:
        part.append(row)
        size += size_of([row])
        if size >= _LARGEST_PIECE:
            yield part
            part, size = [], 0
    if part:
        yield part
