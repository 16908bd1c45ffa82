"""Room on a disk: found out by taking some, and giving it back."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

__all__ = ["find_room"]

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
