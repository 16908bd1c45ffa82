"""Where things lie outside a deployment: anything that keeps objects by name, whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import attrs

from capsule_core.errors import ResourceMissing
from capsule_services.places.faults import PlaceRefused, PlaceUnavailable

__all__ = ["FolderPlace", "Place", "lies_in", "open_place"]


class Place(Protocol):
    """Keeps objects under names with slashes in them.

    An object is there whole or not at all; once ``put`` has returned it is durable, and putting it again replaces it.
    """

    def put(self, name: str, data: bytes) -> None:
        """Keep an object."""
        ...

    def get(self, name: str) -> bytes:
        """Return an object.

        Raises:
            ResourceMissing: there is none of that name.
        """
        ...

    def names(self, prefix: str) -> Sequence[str]:
        """Name the objects whose names begin with *prefix*, in order."""
        ...

    def remove(self, name: str) -> None:
        """Let go of an object; one that is not there is gone already."""
        ...


@attrs.frozen
class FolderPlace:
    """A folder, such as the mount of another disk."""

    folder: Path

    def put(self, name: str, data: bytes) -> None:
        """Keep an object: written beside its place, and moved there when it is durable."""
        file = self.folder / name
        draft = file.with_name(f".{secrets.token_hex(8)}")
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
                    written.write(data)
                    written.flush()
                    os.fsync(written.fileno())
                draft.replace(file)
            finally:
                draft.unlink(missing_ok=True)
            _sync(file.parent)
        except OSError as error:
            raise self._told(error) from None

    def get(self, name: str) -> bytes:
        """Return an object."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            raise ResourceMissing("object") from None
        except OSError as error:
            raise self._told(error) from None

    def names(self, prefix: str) -> Sequence[str]:
        """Name the objects whose names begin with *prefix*, in order."""
        found = (path for path in self._files(self.folder / prefix.rpartition("/")[0]) if not path.name.startswith("."))
        names = (path.relative_to(self.folder).as_posix() for path in found)
        return sorted(name for name in names if name.startswith(prefix))

    def remove(self, name: str) -> None:
        """Let go of an object."""
        try:
            (self.folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise self._told(error) from None

    def _files(self, folder: Path) -> Iterator[Path]:
        try:
            yield from (path for path in folder.rglob("*") if path.is_file())
        except OSError as error:
            raise self._told(error) from None

    def _told(self, error: OSError) -> Exception:
        why = error.strerror or "it failed"
        if isinstance(error, PermissionError | NotADirectoryError):
            return PlaceRefused(str(self.folder), why)
        return PlaceUnavailable(str(self.folder), why)


def open_place(address: str, *, patient: bool = True) -> Place:
    """Open the place that *address* names: a folder, or ``s3://BUCKET/PREFIX``.

    Whoever is not *patient* is told within seconds that it does not answer.

    Raises:
        PlaceRefused: it is neither, or what reaches it is not installed.
    """
    if "://" not in address:
        return FolderPlace(Path(address).absolute())
    if not address.startswith("s3://"):
        raise PlaceRefused(address, "it is neither a folder nor s3://BUCKET/PREFIX")
    try:
        from capsule_services.places.s3 import S3Place  # noqa: PLC0415  the extra is not everybody's
    except ImportError:
        raise PlaceRefused(address, "what reaches it is not installed: pip install 'capsule-core[s3]'") from None
    return S3Place.at(address, patient=patient)


def lies_in(address: str, *folders: Path) -> bool:
    """Say whether *address* names a folder in one of *folders*; links are followed."""
    place = Path(address).resolve()
    return "://" not in address and any(place.is_relative_to(folder.resolve()) for folder in folders)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
