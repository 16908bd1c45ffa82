"""The file with the signing keys: written by ``capsule keys``, read by every process of identity whenever it needs one.

A process goes on with the keys it has while the file is damaged or gone, and says so.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import attrs

from capsule_services.identity.signing import SEED_BYTES, SigningKey, SigningKeys
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.private import alone_in, write_private

__all__ = ["KEYS", "Keychain", "changing", "fresh_key", "load_keys", "load_or_create_keys"]

KEYS: Final = "tokens.key"
"""The name of the file in the folder of identity."""


def fresh_key(now: datetime) -> SigningKey:
    """Make a key that nobody has seen."""
    return SigningKey.from_seed(secrets.token_bytes(SEED_BYTES), now)


def load_keys(path: Path) -> SigningKeys:
    """Read the keys in the file at *path*.

    Raises:
        StartRefused: there is none, or it is damaged.
    """
    try:
        return SigningKeys.from_bytes(path.read_bytes())
    except OSError as error:
        why = f"cannot read {path}: {error.strerror}"
        raise StartRefused(f"{why}; be who runs the services, or start identity, which makes the first key") from None
    except ValueError:
        raise StartRefused(
            f"{path} is damaged; put it back, or move it away and start identity: everybody signs in again then"
        ) from None


def load_or_create_keys(path: Path, now: datetime) -> SigningKeys:
    """Read the keys in the file at *path*, made at first use; errors as :func:`load_keys`."""
    with alone_in(path.parent):
        if not path.exists():
            write_private(path, SigningKeys((fresh_key(now),)).to_bytes())
    return load_keys(path)


@contextmanager
def changing(path: Path) -> Generator[tuple[SigningKeys, Callable[[SigningKeys], None]]]:
    """Change the keys in the file at *path* while nobody else does; give them, and what writes new ones.

    Raises:
        StartRefused: there are none, they are damaged, or the file cannot be written.
    """
    load_keys(path)
    try:
        with alone_in(path.parent):
            yield load_keys(path), lambda keys: write_private(path, keys.to_bytes())
    except OSError as error:
        where = error.filename or path
        raise StartRefused(f"cannot write {where}: {error.strerror}; be who runs the services") from None


def _nobody(_: bool) -> None:
    return


@attrs.define(eq=False)
class Keychain:
    """The keys in the file at *path*; *told* hears whether a new file was taken.

    Raises:
        StartRefused: there is no file, or it is damaged.
    """

    path: Path
    told: Callable[[bool], None] = _nobody
    is_held_back: bool = attrs.field(default=False, init=False)
    """Whether the file that is there is not used because it is damaged."""

    _stamp: tuple[int, ...] = attrs.field(init=False, repr=False)
    _keys: SigningKeys = attrs.field(init=False, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._stamp = self._stamped()
        self._keys = load_keys(self.path)

    def keys(self) -> SigningKeys:
        """Return the keys as they are now."""
        with self._lock:
            stamp = self._stamped()
            if stamp != self._stamp:
                self._stamp = stamp
                self._look()
            return self._keys

    def _look(self) -> None:
        try:
            keys = load_keys(self.path)
        except StartRefused:
            self.is_held_back = True
            self.told(False)
            return
        was_held_back, self.is_held_back = self.is_held_back, False
        if keys != self._keys or was_held_back:
            self._keys = keys
            self.told(True)

    def _stamped(self) -> tuple[int, ...]:
        try:
            found = self.path.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_ino, found.st_size
