"""The key that wraps all others, in a file of its own that only its owner may read, and how another takes its place.

While it is replaced the next one lies beside it under the name with ``.next``; at the end it takes the place, and what
was there is written over.
"""

from __future__ import annotations

import enum
import os
import secrets
from contextlib import suppress
from pathlib import Path

from capsule_core.sealing import KEY_BYTES
from capsule_core.wrapping import RootKey, Roots
from capsule_sql.failures import DamagedKey, MissingKey, Unwritable

__all__ = ["Stage", "install_next", "load_or_create_root_key", "roots_beside", "stage_next", "stage_of"]


class Stage(enum.Enum):
    """How far a replacement is: none, begun, or all but the file of the last one is gone."""

    NONE = enum.auto()
    BEGUN = enum.auto()
    ENDING = enum.auto()


def load_or_create_root_key(path: Path) -> bytes:
    """Return the 32 bytes in the file at *path*, made at first use with mode 0600.

    Raises:
        DamagedKey: the file holds something else.
        Unwritable: it can be neither read nor made.
    """
    try:
        _create(path)
    except OSError:
        raise Unwritable(str(path)) from None
    key = _read(path)
    if key is None:
        raise Unwritable(str(path))
    return key


def roots_beside(path: Path, *, used: bool) -> Roots:
    """Return the root keys at *path*: the one there, and the next while it is replaced.

    Args:
        path: the file.
        used: whether something is wrapped already: then it must be there, and none is made.

    Raises:
        MissingKey: it was used, and is not there.
        DamagedKey: a file holds something else.
        Unwritable: a file can be neither read nor made.
    """
    if used and not path.exists():
        raise MissingKey(str(path))
    load_or_create_root_key(path)

    def load() -> list[bytes]:
        following = _read(_next(path))  # first: it may take the place meanwhile
        return [key for key in (_read(path), following) if key is not None]

    return Roots(load)


def stage_next(path: Path) -> RootKey:
    """Return the root key that is to follow the one at *path*, made if there is none yet."""
    return RootKey(load_or_create_root_key(_next(path)))


def stage_of(path: Path) -> Stage:
    """Tell how far the replacement of the root key at *path* is."""
    if _next(path).exists():
        return Stage.BEGUN
    return Stage.ENDING if _last(path).exists() else Stage.NONE


def install_next(path: Path) -> None:
    """Put the next root key in the place of the one at *path*, which is written over and removed.

    Whoever opens the path meanwhile finds one of the two. It may be repeated after a crash.

    Raises:
        Unwritable: the folder cannot be written.
    """
    following, last = _next(path), _last(path)
    try:
        if following.exists():
            with suppress(FileExistsError):  # an attempt before this one came so far
                os.link(path, last)
            following.replace(path)
            _sync_folder(path.parent)
        if last.exists():
            with last.open("r+b") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            last.unlink()
        for draft in path.parent.glob(f"{_next(path).name}.*"):  # of an attempt that was killed
            draft.unlink()
        _sync_folder(path.parent)
    except OSError:
        raise Unwritable(str(path)) from None


def _next(path: Path) -> Path:
    return path.with_name(f"{path.name}.next")


def _last(path: Path) -> Path:
    return path.with_name(f"{path.name}.last")


def _read(path: Path) -> bytes | None:
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        return None
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
