"""What was begun here is here: every service's folder, and what it keeps its records in."""

from __future__ import annotations

from collections.abc import Iterator

from capsule_services.doctor.findings import Finding, good, mend
from capsule_services.doctor.place import Place
from capsule_services.runtime.begun import begun_in, lost
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.layout import DATABASE, ORDER

__all__ = ["begun"]

_BACK = "mount its disk, put back what was there, or restore a backup; nothing is served from an empty one"


def begun(place: Place) -> Iterator[Finding]:
    """A service that was ever begun still has what it was begun with: an empty folder is not taken for a new one."""
    for name in ORDER:
        what, folder = f"records of {name}", place.folder / name
        try:
            kept = {**begun_in(folder), **begun_in(place.folder)}.get(name)
        except StartRefused as refused:
            yield mend(what, str(refused), "put the file back")
            continue
        missing = lost(folder, kept, on_server=(folder / DATABASE).exists()) if kept else ""
        if missing:
            yield mend(what, missing if folder.is_dir() else "its folder is missing", _BACK)
        elif kept or folder.is_dir():
            yield good(what, "there")
