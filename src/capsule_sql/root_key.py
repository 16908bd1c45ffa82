"""The key that wraps all others, in a file of its own that only its owner may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from capsule_core.sealing import KEY_BYTES
from capsule_sql.failures import DamagedKey, Unwritable

__all__ = ["load_or_create_root_key"]


def load_or_create_root_key(path: Path) -> bytes:
    """Return the 32 bytes in the file at *path*, made at first use with mode 0600.

    Raises:
        DamagedKey: the file holds something else.
        Unwritable: it can be neither read nor made.
    """
    try:
        _create(path)
        key = path.read_bytes()
    except OSError:
        raise Unwritable(str(path)) from None
    if len(key) != KEY_BYTES:
        raise DamagedKey(str(path))
    return key


def _create(path: Path) -> None:
    """Make the file, durably and whole, unless there is one; of two who try, one wins and both read its key."""
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        _sync_folder(path.parent)
    finally:
        draft.unlink()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
