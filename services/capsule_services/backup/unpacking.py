"""Reading a backup: whether it is whole, and its files as they were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from capsule_services.backup.chunks import EMPTY, BackupKey, Reader
from capsule_services.backup.faults import BackupDamaged
from capsule_services.backup.making import Progress
from capsule_services.backup.manifest import Manifest, Stored, refs_of
from capsule_services.places.place import Place

__all__ = ["check", "unpack"]


def check(place: Place, manifest: Manifest, key: BackupKey, progress: Progress) -> None:
    """Read every byte of a backup and let it pass if it is whole.

    Raises:
        BackupDamaged: something is missing, cut or altered.
    """
    reader, done = Reader(place, key), 0
    for file in manifest.files.values():
        for pages in _pages(file, reader):
            done += len(pages)
            progress(done, manifest.size)


def unpack(file: Stored, place: Place, key: BackupKey, to: IO[bytes], progress: Progress) -> None:
    """Write one file of a backup.

    Raises:
        BackupDamaged: something is missing, cut or altered.
    """
    done = 0
    for pages in _pages(file, Reader(place, key)):
        to.write(pages)
        done += len(pages)
        progress(done, file.page_size * file.pages)


def _pages(file: Stored, reader: Reader) -> Iterator[bytes]:
    """Give the pages of a file in order, a chunk's at a time."""
    size, left = file.page_size, file.pages
    for ref in refs_of(file, reader):
        count = min(file.per_chunk, left)
        left -= count
        if ref == EMPTY:
            yield bytes(count * size)
            continue
        data, width = reader.chunk(ref), file.per_chunk // 8
        bits, at, pages = int.from_bytes(data[:width], "big"), width, list[bytes]()
        for place in range(count):
            held = bits >> place & 1
            pages.append(data[at : at + size] if held else bytes(size))
            at += size * held
        if at != len(data) or bits >> count:
            raise BackupDamaged("a chunk does not hold as many pages as it says")
        yield b"".join(pages)
