"""What can be told of a deployment without opening a database: rights, room, clock, versions."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Final

from capsule_services.doctor.findings import Finding, good, mend, note
from capsule_services.doctor.place import Place, sqlite_version
from capsule_services.runtime.faults import StartRefused

__all__ = ["FLOORS", "clock", "rights", "room", "versions"]

_OTHERS: Final = 0o077
_SECRET: Final = ("*.key", "*.db", "*.db-wal", "*.db-shm", "*.url")
_SCARCE: Final = 256 << 20
_LITTLE: Final = 2 << 30
_SKEW: Final = timedelta(seconds=1)

FLOORS: Final[Mapping[str, str]] = {"python": "3.11", "sqlite": "3.37", "grpc": "1.85"}
"""The oldest versions that this software was made for."""


def rights(place: Place) -> Iterator[Finding]:
    """Secrets are for one user alone: folders of mode 0700, keys and databases of mode 0600."""
    what = "rights"
    folders = [place.folder, place.tls, *(folder for each in place.services for folder in _folders(each.folder))]
    secrets = [path for folder in folders[1:] for pattern in _SECRET for path in folder.glob(pattern)]
    open_ = [path for path in (*folders, *sorted(secrets)) if path.exists() and path.stat().st_mode & _OTHERS]
    for path in open_:
        mode = "0700" if path.is_dir() else "0600"
        yield mend(what, f"{_named(place, path)} is open to other users", f"chmod {mode[1:]} {path}")
    if not open_:
        yield good(what, f"{len(secrets)} secret files are for their owner alone")


def room(place: Place) -> Iterator[Finding]:
    """A disk that is full stops every write."""
    for folder in (place.folder, *(each.folder / "mirror" for each in place.services)):
        if not folder.exists() or (folder != place.folder and folder.stat().st_dev == place.folder.stat().st_dev):
            continue
        what, free = f"room for {_named(place, folder)}", place.space(folder).free
        told = f"{free / (1 << 30):.1f} GiB free"
        if free < _SCARCE:
            yield mend(what, told, "free some space, or move the folder to a larger disk; writes stop when it is full")
        elif free < _LITTLE:
            yield note(what, told, "make room soon")
        else:
            yield good(what, told)


def clock(place: Place) -> Iterator[Finding]:
    """The clock of a deployment that keeps real people's data is the system's."""
    what, file = "clock", place.folder / "clock"
    try:
        ahead = place.now() - place.wall()
    except StartRefused:
        yield mend(what, "its file is damaged", f"write 0 into {file}, or the number it had; it is in microseconds")
        return
    if ahead > _SKEW:
        days = ahead / timedelta(days=1)
        yield note(
            what, f"{days:.1f} days ahead of the system's", "run it with --dev only, and keep nobody's data in it"
        )
    else:
        yield good(what, "the system's")


def versions(place: Place) -> Iterator[Finding]:
    """What this software stands on is as new as it was made for."""
    found = {"python": platform.python_version(), "sqlite": sqlite_version(), "grpc": version("grpcio")}
    for name, has in {**found, **place.versions}.items():
        if _parts(has) < _parts(FLOORS[name]):
            yield mend(name, has, f"install {FLOORS[name]} or newer")
        else:
            yield good(name, has)


def _folders(folder: Path) -> tuple[Path, ...]:
    return folder, folder / "mirror"


def _named(place: Place, path: Path) -> str:
    return "the folder" if path == place.folder else path.relative_to(place.folder).as_posix()


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])
