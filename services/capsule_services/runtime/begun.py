"""What was ever begun in a folder: if it holds nothing now, it is none that is new, but one that has lost what it held.

A deployment writes down its services, and each service itself, when they are first opened; and whether their records
are in files or in PostgreSQL. An unmounted disk looks like a new folder, and nobody is to be served from it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.private import write_private

__all__ = ["BEGUN", "FILES", "SERVER", "begun_in", "check_begun", "lost", "tell_begun"]

BEGUN: Final = "begun.json"
"""The file, in the folder of a deployment and in that of each service."""

FILES: Final = "files"
SERVER: Final = "postgresql"

_RECORDS: Final = ("data.db", "reads.db")


def begun_in(folder: Path) -> Mapping[str, str]:
    """Return the services that were begun in *folder*, and for each whether on files or on a server; none if new.

    Raises:
        StartRefused: the file that says so cannot be read.
    """
    try:
        told = json.loads((folder / BEGUN).read_bytes())
        if not (isinstance(told, dict) and set(told.values()) <= {FILES, SERVER}):
            raise ValueError
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, TypeError, ValueError, RecursionError):
        raise StartRefused(f"{folder / BEGUN} cannot be read; put it back, or write what was begun into it") from None
    return {str(service): str(kept) for service, kept in told.items()}


def tell_begun(folder: Path, begun: Mapping[str, str]) -> None:
    """Write down that these services were begun in *folder*, beside those that were before."""
    known = begun_in(folder)
    if {**known, **begun} != known:
        write_private(folder / BEGUN, json.dumps({**known, **begun}, indent=2).encode() + b"\n")


def lost(folder: Path, kept: str, *, on_server: bool) -> str:
    """Say what is missing in the *folder* of a service whose records were *kept* so; empty if nothing.

    *on_server* says that it is told of a database now.
    """
    if on_server:
        return ""
    if kept == SERVER:
        return "its records are in PostgreSQL, and database.url is missing"
    missing = [name for name in _RECORDS if not _holds(folder / name)]
    return f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing" if missing else ""


def check_begun(folder: Path, service: Path, name: str, *, on_server: bool) -> None:
    """Let pass a *service* that is new, or still holds what it was begun with; *folder* says whether it was begun.

    Raises:
        StartRefused: it has lost that.
    """
    kept = begun_in(folder).get(name)
    what = "" if kept is None else lost(service, kept, on_server=on_server)
    if what:
        raise StartRefused(
            f"{service} was begun before, and {what}: mount its disk, put the file back or restore a backup; "
            "to begin with nothing, name another folder"
        )


def _holds(file: Path) -> bool:
    return file.exists() and not (file.is_file() and file.stat().st_size == 0)
