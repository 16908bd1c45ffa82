"""Who holds a lock: its number stands in the file, for whoever is refused."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import IO, Final

__all__ = ["hold", "holder_of"]

_LONGEST: Final = 20


def hold(lock: IO[str] | IO[bytes]) -> None:
    """Write the number of this process into the file of a *lock* that it has got; on a full disk it stays unknown."""
    with suppress(OSError, ValueError):  # or it was closed meanwhile
        os.ftruncate(lock.fileno(), 0)
        os.write(lock.fileno(), f"{os.getpid()}\n".encode())


def holder_of(lock: IO[str] | IO[bytes]) -> str:
    """Name the process that holds a *lock*, for the middle of a sentence; empty if it did not say."""
    with suppress(OSError):
        told = os.pread(lock.fileno(), _LONGEST, 0).strip()
        if told.isdigit():
            return f" (process {told.decode()})"
    return ""
