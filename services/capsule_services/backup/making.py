"""Making a backup: each service's files as they are at one moment, cut into chunks; what is there already stays."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import attrs

from capsule_services.backup.chunks import EMPTY, PACKS, BackupKey, Packer, Reader, Ref
from capsule_services.backup.faults import BackupDamaged, RestoreRefused
from capsule_services.backup.manifest import MANIFESTS, Manifest, Stored, load, newest, refs_of, save
from capsule_services.places.place import Place
from capsule_services.runtime.begun import begun_in, lost
from capsule_services.runtime.layout import DATABASE, ORDER
from capsule_sql.migration import Role
from capsule_sql.snapshots import Snapshot, journal_at, pinned

__all__ = ["FILES", "PER_CHUNK", "Progress", "files_of", "forget", "make"]

FILES: Final[Mapping[str, Role]] = {"data.db": Role.DATA, "reads.db": Role.LEDGER}
"""What of a service's folder belongs into a backup; what the durable engine knows does not: it is begun again by id."""

PER_CHUNK: Final = 8
"""Pages to a chunk; a change of one writes them all again, and each chunk costs 32 bytes of list."""

_LISTED: Final = 1024
_AT_ONCE: Final = 256
_NONCE: Final = 12

Progress = Callable[[int, int], None]
"""Told how many bytes are done, of how many."""


def files_of(folder: Path) -> dict[str, Path]:
    """Return the files of a deployment that belong into a backup, by their names there.

    Raises:
        RestoreRefused: there are none, or a service that was begun has lost them.
    """
    if not any((folder / name).is_dir() for name in ORDER):
        raise RestoreRefused(f"there is no deployment in {folder}", "name its folder with --data")
    for name in ORDER:
        _check_there(folder, name)
    services = [name for name in ORDER if (folder / name).is_dir() and not (folder / name / DATABASE).exists()]
    found = {f"{name}/{file}": folder / name / file for name in services for file in FILES}
    present = {name: path for name, path in found.items() if path.exists()}
    if not present:
        what = f"{folder} holds no deployment that keeps its records in files"
        raise RestoreRefused(what, "name its folder, or back the PostgreSQL server up with its own means")
    return present


def _check_there(folder: Path, name: str) -> None:
    """Refuse to leave a service out in silence."""
    kept = begun_in(folder).get(name)
    what = lost(folder / name, kept, on_server=(folder / name / DATABASE).exists()) if kept else ""
    if what:
        raise RestoreRefused(f"{name} was begun in {folder}, and {what}", "mount its disk, or put it back")


def make(
    folder: Path, place: Place, key: BackupKey, *, release: str, now: datetime, full: bool, progress: Progress
) -> Manifest:
    """Back the deployment in *folder* up; *full* writes everything again, for nothing then leans on an older pack.

    Raises:
        CapsuleError: a file cannot be read, or the place cannot be written; there is no new backup then.
    """
    before = _Before.of(place, key, full=full)
    paths = files_of(folder)
    total, done = sum(path.stat().st_size for path in paths.values()), 0
    files: dict[str, Stored] = {}
    packer = Packer(place, key, secrets.token_bytes)
    with packer.packing():
        for name, path in paths.items():
            journal = journal_at(path.with_name("journal.db"))  # before the data: what it has by now is in the data
            with pinned(path, FILES[path.name]) as snapshot:
                stored = _stored(snapshot, packer, before, name, partial(_further, progress, done, total))
                files[name] = attrs.evolve(stored, position=journal.position if journal else stored.position)
            done += path.stat().st_size
    manifest = Manifest(
        name=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        taken_at=now.isoformat(timespec="seconds"),
        release=release,
        files=files,
        written=packer.bytes_put,
    )
    save(manifest, place, key, secrets.token_bytes(_NONCE))
    return manifest


def forget(place: Place, key: BackupKey, *, before: datetime) -> list[str]:
    """Let go of the backups that were made before a moment, and of packs that no other needs; return their names.

    Raises:
        CapsuleError: a backup cannot be read: then nothing is let go of, for nobody knows what it needs.
    """
    manifests = [load(place, name.removeprefix(MANIFESTS), key) for name in place.names(MANIFESTS)]
    old = [each for each in manifests if datetime.fromisoformat(each.taken_at) < before]
    for each in old:
        place.remove(f"{MANIFESTS}{each.name}")
    if old:
        reader, needed = Reader(place, key), set[str]()
        for each in manifests:
            if each not in old:
                needed |= _packs_of(each, reader)
        for name in place.names(PACKS):
            if name not in needed:
                place.remove(name)
    return [each.name for each in old]


def _further(progress: Progress, done: int, total: int, so_far: int) -> None:
    progress(min(done + so_far, total), total)


@attrs.frozen
class _Before:
    """What the last backup wrote, as far as it is still there."""

    files: Mapping[str, Stored]
    packs: frozenset[bytes]
    reader: Reader

    @classmethod
    def of(cls, place: Place, key: BackupKey, *, full: bool) -> _Before:
        reader = Reader(place, key)
        last = None if full else newest(place, key)
        if last is None:
            return cls({}, frozenset(), reader)
        there = frozenset(bytes.fromhex(name.removeprefix(PACKS)) for name in place.names(PACKS))
        return cls(last.files, there, reader)

    def refs(self, name: str, snapshot: Snapshot) -> tuple[list[Ref], list[Ref]]:
        """Return where the chunks of a file lay, and the lists of them."""
        file = self.files.get(name)
        if file is None or (file.page_size, file.per_chunk) != (snapshot.page_size, PER_CHUNK):
            return [], []
        try:
            return self._there(refs_of(file, self.reader)), self._there(file.lists)
        except BackupDamaged:
            return [], []  # then this backup leans on nothing of that one

    def _there(self, refs: Iterator[Ref] | list[Ref] | tuple[Ref, ...]) -> list[Ref]:
        return [ref if ref.pack in self.packs else EMPTY for ref in refs]


def _stored(snapshot: Snapshot, packer: Packer, before: _Before, name: str, progress: Callable[[int], None]) -> Stored:
    chunks, lists = map(iter, before.refs(name, snapshot))
    refs, done = [], 0
    for data in snapshot.read(_AT_ONCE):
        refs += [packer.add(chunk, old) if chunk else EMPTY for chunk, old in _chunks(data, snapshot.page_size, chunks)]
        done += len(data)
        progress(done)
    parts = (refs[start : start + _LISTED] for start in range(0, len(refs), _LISTED))
    listed = [packer.add(b"".join(ref.encode() for ref in part), next(lists, EMPTY)) for part in parts]
    return Stored(
        revision=snapshot.revision,
        page_size=snapshot.page_size,
        pages=snapshot.pages,
        per_chunk=PER_CHUNK,
        lists=tuple(listed),
        leaves=snapshot.leaves,
        note=snapshot.note,
        journal=snapshot.bond.journal,
        position=snapshot.bond.position,
    )


def _chunks(data: memoryview, size: int, before: Iterator[Ref]) -> Iterator[tuple[bytes, Ref]]:
    """Cut pages into chunks: a bit for each page that is not blank, and those pages; empty if all are."""
    blank = bytes(size)
    for start in range(0, len(data), PER_CHUNK * size):
        end = min(start + PER_CHUNK * size, len(data))
        # The first byte alone tells of most pages that they are not blank.
        kept = [at for at in range(start, end, size) if data[at] or data[at : at + size].tobytes() != blank]
        bits = sum(1 << (at - start) // size for at in kept).to_bytes(PER_CHUNK // 8, "big")
        parts = [data[start:end]] if len(kept) * size == end - start else [data[at : at + size] for at in kept]
        chunk = b"".join((bits, *parts)) if kept else b""
        yield chunk, next(before, EMPTY)


def _packs_of(manifest: Manifest, reader: Reader) -> set[str]:
    found: set[str] = set()
    for file in manifest.files.values():
        refs = (*file.lists, *refs_of(file, reader))
        found |= {f"{PACKS}{ref.pack.hex()}" for ref in refs if ref != EMPTY}
    return found
