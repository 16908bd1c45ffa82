"""Room on a disk: found out by taking some, and giving it back; and what is said where nothing can be written."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

from capsule_services.runtime.faults import StartRefused

__all__ = ["find_room", "rooms_of", "unwritten"]

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_SOME: Final = bytes(2**16)


def find_room(folder: Path) -> None:
    """Write a file in *folder* that has no name, so that nothing of it is left.

    Raises:
        OSError: there is no room, or nothing can be written there.
    """
    with TemporaryFile(dir=folder) as file:
        file.write(_SOME)
        file.flush()
        os.fsync(file.fileno())


def rooms_of(folder: Path) -> Sequence[Path]:
    """Name the folders in which the databases of a service really lie.

    The mirror, or a file that is a link, may have a disk of its own.
    """
    return sorted({folder.resolve(), *(file.resolve().parent for file in folder.rglob("*.db"))})


def unwritten(error: OSError, folder: Path) -> StartRefused:
    """Say why something below *folder* cannot be written; a disk that is full does not say which file it was."""
    do = "free some space" if error.errno in _FULL else "choose a folder you may write to"
    return StartRefused(f"cannot write {error.filename or folder}: {error.strerror}; {do}")
