"""The manifest: which files a backup holds, of which schema, chunk by chunk in order, and what they knew of the world.

It is sealed whole with AES-256-GCM under a key of its own, bound to its name: nothing in it can be cut, moved or
altered, and no other backup's can stand in its place. In front stand, in the clear, a format and the name of the key.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from capsule_core.errors import NewerSchema, ResourceMissing, SealBroken
from capsule_core.sealing import open_bytes, seal_bytes
from capsule_services.backup.chunks import BackupKey, Reader, Ref
from capsule_services.backup.faults import BackupDamaged, BackupForeign
from capsule_services.places.place import Place

__all__ = ["MANIFESTS", "Manifest", "Stored", "load", "newest", "refs_of", "save"]

MANIFESTS: Final = "manifests/"

_MAGIC: Final = b"capsule backup\0"
_FORMAT: Final = 1
_HEAD: Final = len(_MAGIC) + 1 + 8


@attrs.frozen(kw_only=True)
class Stored:
    """One file: its pages, the *lists* of where its chunks lie, and what it said of itself.

    *journal* and *position* tell which journal it belongs to and how far that was in it; *leaves* and *note* how long
    its log was and its last checkpoint, whose origin names the epoch.
    """

    revision: str
    page_size: int
    pages: int
    per_chunk: int
    lists: tuple[Ref, ...]
    leaves: int
    note: str
    journal: str = ""
    position: int = 0


@attrs.frozen(kw_only=True)
class Manifest:
    """One backup; *files* are named ``service/file``. *written* counts the bytes that it added."""

    name: str
    taken_at: str
    release: str
    files: Mapping[str, Stored]
    written: int

    @property
    def size(self) -> int:
        """How many bytes the files had."""
        return sum(file.page_size * file.pages for file in self.files.values())


def save(manifest: Manifest, place: Place, key: BackupKey, nonce: bytes) -> None:
    """Put a manifest away; with it the backup is there."""
    told = attrs.asdict(manifest, value_serializer=_written)
    head = _MAGIC + bytes([_FORMAT]) + key.name
    body = seal_bytes(
        json.dumps(told).encode(), key=key.derived(b"manifests"), bound=head + manifest.name.encode(), nonce=nonce
    )
    place.put(f"{MANIFESTS}{manifest.name}", head + body)


def load(place: Place, name: str, key: BackupKey) -> Manifest:
    """Read the manifest of the backup *name*.

    Raises:
        ResourceMissing: there is no such backup.
        NewerSchema: a newer version of this software made it.
        BackupForeign: it was made with another key.
        BackupDamaged: it was altered or cut.
    """
    try:
        data = place.get(f"{MANIFESTS}{name}")
    except ResourceMissing:
        raise ResourceMissing(f"backup {name}") from None
    head = data[:_HEAD]
    if len(head) < _HEAD or not head.startswith(_MAGIC):
        raise BackupDamaged(f"{MANIFESTS}{name} is no manifest")
    if head[len(_MAGIC)] > _FORMAT:
        raise NewerSchema(f"the backup {name}")
    if head[len(_MAGIC) + 1 :] != key.name:
        raise BackupForeign(name)
    try:
        body = open_bytes(data[_HEAD:], key=key.derived(b"manifests"), bound=head + name.encode(), what="manifest")
    except SealBroken:
        raise BackupDamaged(f"{MANIFESTS}{name} was altered or cut") from None
    return _read(json.loads(body))


def newest(place: Place, key: BackupKey) -> Manifest | None:
    """Return the newest backup that this key made and that can be read; None if there is none."""
    for name in reversed(place.names(MANIFESTS)):
        try:
            return load(place, name.removeprefix(MANIFESTS), key)
        except (BackupDamaged, BackupForeign, NewerSchema, ResourceMissing):
            continue
    return None


def refs_of(file: Stored, reader: Reader) -> list[Ref]:
    """Return where the chunks of a file lie, in order.

    Raises:
        BackupDamaged: there are more or fewer than its pages need.
    """
    refs = [ref for part in reader.chunks(file.lists) for ref in Ref.decode_all(part)]
    if len(refs) != -(-file.pages // file.per_chunk):
        raise BackupDamaged("a list of chunks is not as long as its file")
    return refs


def _written(_: object, __: object, value: Any) -> Any:
    if isinstance(value, tuple):
        return base64.b64encode(b"".join(ref.encode() for ref in value)).decode("ascii")
    return value


def _read(told: dict[str, Any]) -> Manifest:
    files = dict(_files(told.pop("files")))
    return Manifest(**told, files=files)


def _files(told: Mapping[str, dict[str, Any]]) -> Iterator[tuple[str, Stored]]:
    for name, file in told.items():
        lists: Sequence[Ref] = Ref.decode_all(base64.b64decode(file.pop("lists")))
        yield name, Stored(**file, lists=tuple(lists))
