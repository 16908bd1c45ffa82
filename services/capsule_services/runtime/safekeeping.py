"""Where a service keeps its page keys: in files of its folder, or in OpenBao; and the root key that wraps them.

A folder says which of the two it began with: ``keystore.db``, or ``keystore.url``. With the other one it is refused, or
everything in it would look lost.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Protocol

from capsule_core.pages import Keystore
from capsule_core.wrapping import Rewrapping
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.openbao.address import Address
from capsule_services.runtime.private import write_private
from capsule_sql.database import open_database
from capsule_sql.keystores import SqlKeystore
from capsule_sql.migration import Role
from capsule_sql.root_key import roots_beside

__all__ = ["ELSEWHERE", "ROOT_KEY", "Kept", "open_keystore"]

ELSEWHERE: Final = "keystore.url"
"""The file in a service's folder that says in which OpenBao its page keys are."""

ROOT_KEY: Final = "root.key"
_FILE: Final = "keystore.db"
_MIRROR: Final = "mirror"


class Kept(Keystore, Rewrapping, Protocol):
    """A keystore of a service: its root key can be replaced."""

    def level(self) -> None:
        """Finish what a crash, of this process or of another, left undone."""
        ...


def open_keystore(folder: Path, address: Address | None, stack: ExitStack, *, used: Callable[[], bool] = bool) -> Kept:
    """Open the keystore of the service in *folder*, made at first use; *stack* closes it.

    *used* tells whether there is data that page keys were made for: then none is made.

    Raises:
        StartRefused: the folder began with another one, what it needs is not installed, or all page keys are missing.
        CapsuleError: it is of another deployment, damaged, or cannot be used; nothing is changed.
    """
    if address is not None:
        return _in_openbao(folder, address, stack, used)
    if (folder / ELSEWHERE).exists():
        raise StartRefused(f"{folder} has its page keys in OpenBao; set CAPSULE_KEYSTORE and CAPSULE_KEYSTORE_TOKEN")
    files = folder / _FILE, folder / _MIRROR / _FILE
    there = any(file.exists() for file in files)
    if not there and used():
        raise StartRefused(
            f"{files[0]} and its mirror are missing, and there is data that only their page keys open: put one of the "
            "two back; without them the data is lost"
        )
    roots = roots_beside(folder / ROOT_KEY, used=there)
    opened = []
    for file in files:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = open_database(file, Role.KEYSTORE)
        stack.callback(database.close)
        opened.append(database)
    return SqlKeystore(opened[0], roots, secrets.token_bytes, opened[1])


def _in_openbao(folder: Path, address: Address, stack: ExitStack, needed: Callable[[], bool]) -> Kept:
    if (folder / _FILE).exists():
        raise StartRefused(f"{folder} has its page keys in {_FILE}; unset CAPSULE_KEYSTORE, or name another folder")
    try:
        from capsule_services.runtime.openbao.keystore import SEALS, BaoKeystore  # noqa: PLC0415  the extra may be missing
        from capsule_services.runtime.openbao.wire import Bao  # noqa: PLC0415
    except ModuleNotFoundError:
        raise StartRefused(
            "CAPSULE_KEYSTORE is set, but urllib3 is not installed; run: pip install 'capsule-core[openbao]'"
        ) from None
    bao = Bao(address)
    stack.callback(bao.close)
    used = bao.read(SEALS) is not None
    if not used and ((folder / ELSEWHERE).exists() or needed()):
        raise StartRefused(f"there are no page keys of {folder} at {address.url}; correct CAPSULE_KEYSTORE")
    keystore = BaoKeystore(bao, roots_beside(folder / ROOT_KEY, used=used), secrets.token_bytes)
    write_private(folder / ELSEWHERE, f"{address.url}\n".encode())
    return keystore
