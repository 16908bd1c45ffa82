"""A file as it is at one moment, read page by page while others go on writing; and a file made of such pages again.

With every change moved from the log into the file, a reader that begins before the next change keeps it from being
overwritten: until it ends, whatever is written goes into the log (https://sqlite.org/wal.html). So the file itself is
the snapshot, and is read as fast as any file. What records are found by is left out, for it is derived: its pages are
blank, and the first page of each such tree is that of an empty one (https://sqlite.org/fileformat2.html).
"""

from __future__ import annotations

import os
import sqlite3
import struct
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import attrs

from capsule_core.errors import NewerSchema, Unavailable
from capsule_core.journal import Founded, decode, encode
from capsule_sql.failures import Damaged, ForeignFile, told
from capsule_sql.migration import Role, is_known_in_file
from capsule_sql.outbox import Bond

__all__ = ["STRIPPED", "Snapshot", "journal_at", "made_whole", "pinned"]

STRIPPED: Final = (
    "DELETE FROM tokens",
    "DELETE FROM signatures",
    "INSERT INTO unindexed (no) SELECT no FROM tenants WHERE true ON CONFLICT (no) DO NOTHING",
)
"""What makes of a copy of the data what a backup holds: without what records are found by."""

_PATIENCE: Final = 5.0
_ATTEMPTS: Final = 200
_MOMENT: Final = 0.01
_MAGIC: Final = b"SQLite format 3\0"
_DERIVED: Final = "SELECT rootpage FROM sqlite_master WHERE tbl_name IN ('tokens', 'signatures') AND rootpage > 0"
_INTERIOR: Final = {0x02: 0x0A, 0x05: 0x0D}
"""Pages that point to others, by their first byte; and that of a page of the same tree which does not."""

_FOUNDED: Final = encode(Founded("")).removesuffix(b'"}')

_OPEN: Final[dict[tuple[int, int], int]] = {}
"""Descriptors of files, which stay open: closing one would drop the locks that SQLite holds on that file for us."""


@attrs.frozen(kw_only=True)
class Snapshot:
    """One file at one moment. *bond* is what the data knows of its journal, *note* the log's last checkpoint."""

    role: Role
    revision: str
    page_size: int
    pages: int
    bond: Bond
    leaves: int
    note: str
    _descriptor: int = attrs.field(repr=False, alias="descriptor")
    _blank: Mapping[int, bytes] = attrs.field(repr=False, alias="blank")

    def read(self, at_once: int) -> Iterator[memoryview]:
        """Give all pages in order, *at_once* at a time, each time in the same memory."""
        size = self.page_size
        memory = bytearray(at_once * size)
        for first in range(0, self.pages, at_once):
            count = min(at_once, self.pages - first)
            part = memoryview(memory)[: count * size]
            os.preadv(self._descriptor, [part], first * size)
            for no in range(first + 1, first + count + 1):
                if no in self._blank:
                    part[(no - first - 1) * size : (no - first) * size] = self._blank[no]
            yield part


@contextmanager
def pinned(path: Path, role: Role) -> Generator[Snapshot]:
    """Hold the file of a role still for as long as the block; others write meanwhile.

    Raises:
        Unavailable: somebody kept reading an older state; try again.
        ForeignFile: it is something else.
    """
    try:
        with closing(_connected(path)) as reader:
            _pin(path, reader)
            yield _snapshot(path, role, reader)
    except sqlite3.Error as error:
        raise told(error, role.title, path) from None


def journal_at(path: Path) -> Bond | None:
    """Return which journal the file at *path* is and how far it goes; None if there is none. Nothing is changed."""
    if not path.exists():
        return None
    try:
        with closing(_connected(path)) as connection:
            select = "SELECT line FROM entries WHERE substr(line, 1, ?) = ? ORDER BY no LIMIT 1"
            lines = connection.execute(select, (len(_FOUNDED), _FOUNDED)).fetchall()
            ((newest,),) = connection.execute("SELECT coalesce(max(no), 0) FROM entries").fetchall()
    except sqlite3.Error as error:
        raise told(error, Role.JOURNAL.title, path) from None
    founded = [entry.id for (line,) in lines if isinstance(entry := decode(line), Founded)]
    return Bond(next(iter(founded), ""), newest)


def made_whole(path: Path, role: Role, revision: str) -> None:
    """Make of the pages of a snapshot a file that can be opened: nothing blank in it, its index marked as missing.

    Raises:
        NewerSchema: a newer version of this software wrote it.
        Damaged: it is not what it was.
    """
    if not is_known_in_file(role, revision):
        raise NewerSchema(role.title)
    try:
        with closing(_connected(path)) as connection:
            connection.execute("PRAGMA secure_delete = ON").fetchall()
            connection.execute("VACUUM")
            if role is Role.DATA:
                for statement in STRIPPED:
                    connection.execute(statement)
            sound = connection.execute("PRAGMA quick_check").fetchone()[0] == "ok"
            ours = connection.execute("PRAGMA application_id").fetchone()[0] == role.mark
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    except sqlite3.Error as error:
        raise told(error, role.title, path) from None
    if not sound or not ours:
        raise Damaged(role.title, str(path))


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None, timeout=_PATIENCE, cached_statements=0)


def _pin(path: Path, reader: sqlite3.Connection) -> None:
    with closing(_connected(path)) as writer:
        for _ in range(_ATTEMPTS):
            writer.execute("BEGIN IMMEDIATE")  # so that nobody changes anything between the two
            try:
                if _is_in_the_file(reader):
                    reader.execute("BEGIN")
                    reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
                    return
            finally:
                writer.execute("ROLLBACK")
            time.sleep(_MOMENT)  # somebody reads what is older than the log
    raise Unavailable


def _is_in_the_file(connection: sqlite3.Connection) -> bool:
    """Move everything from the log into the file; return whether nothing is left to move."""
    for _ in range(_ATTEMPTS):
        busy, logged, moved = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if not busy:
            return bool(logged == moved)
        time.sleep(_MOMENT)  # somebody else is moving it at this moment
    return False


def _snapshot(path: Path, role: Role, reader: sqlite3.Connection) -> Snapshot:
    descriptor = _descriptor(path)
    header = os.pread(descriptor, 100, 0)
    (mark,) = reader.execute("PRAGMA application_id").fetchone()
    if not header.startswith(_MAGIC) or mark != role.mark:
        raise ForeignFile(role.title, str(path))
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    ((revision,),) = reader.execute("SELECT version_num FROM alembic_version").fetchall()
    ((pages,),) = reader.execute("PRAGMA page_count").fetchall()
    ((leaves,),) = reader.execute("SELECT coalesce(max(size), 0) FROM frontiers").fetchall()
    notes = reader.execute("SELECT note FROM checkpoints").fetchall()
    roots, bonds = [], []
    if role is Role.DATA:
        roots = [root for (root,) in reader.execute(_DERIVED)]
        bonds = reader.execute("SELECT journal, position FROM journaled").fetchall()
    return Snapshot(
        role=role,
        revision=revision,
        page_size=page_size,
        pages=pages,
        bond=Bond(*bonds[0]) if bonds else Bond(),
        leaves=leaves,
        note=notes[0][0] if notes else "",
        descriptor=descriptor,
        blank=_blank(descriptor, roots, page_size, usable=page_size - header[20]),
    )


def _descriptor(path: Path) -> int:
    found = path.stat()
    named = (found.st_dev, found.st_ino)
    if named not in _OPEN:
        _OPEN[named] = os.open(path, os.O_RDONLY)
    return _OPEN[named]


def _blank(descriptor: int, roots: list[int], size: int, *, usable: int) -> dict[int, bytes]:
    """Find the pages of the trees that begin at *roots*, and say what stands in their place."""
    blank: dict[int, bytes] = {}
    for root in roots:
        kind = os.pread(descriptor, 1, (root - 1) * size)[0]
        empty = struct.pack(">BHHHB", _INTERIOR.get(kind, kind), 0, 0, usable & 0xFFFF, 0)
        waiting = [root]
        while waiting:
            children = _children(os.pread(descriptor, size, (waiting.pop() - 1) * size))
            blank |= dict.fromkeys(children, bytes(size))
            # All children of a page are alike: only if the first points further, the others have to be read.
            if children and os.pread(descriptor, 1, (children[0] - 1) * size)[0] in _INTERIOR:
                waiting += children
        blank[root] = empty.ljust(size, b"\0")
    return blank


def _children(page: bytes) -> list[int]:
    if page[0] not in _INTERIOR:
        return []
    count = int.from_bytes(page[3:5], "big")
    cells = struct.unpack(f">{count}H", page[12 : 12 + 2 * count])
    return [int.from_bytes(page[at : at + 4], "big") for at in (*cells, 8)]
