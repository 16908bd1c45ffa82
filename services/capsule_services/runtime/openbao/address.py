"""Where a keystore in OpenBao is, and what lets us in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from capsule_services.runtime.faults import StartRefused

__all__ = ["Address", "address_at", "address_from"]

_URL: Final = re.compile(
    r"(?P<host>https://(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+)(:[0-9]{1,5})?)/(?P<mount>[A-Za-z0-9_.-]+)"
    r"(?P<folder>(/[A-Za-z0-9_.-]+)*)/?"
)


@attrs.frozen(kw_only=True)
class Address:
    """A folder of a secrets engine (KV version 2), and the files with what lets us in.

    *token* holds a token, or in two lines the role and the secret of an AppRole; *authority* is the certificate that
    the server is checked with, without it the system's.
    """

    host: str
    mount: str
    folder: str
    token: Path
    authority: Path | None = None

    @property
    def url(self) -> str:
        """Write it as it was given, without what lets us in."""
        return f"{self.host}/{self.mount}{self.folder}"

    def below(self, name: str) -> Address:
        """Return the folder *name* in this one."""
        return attrs.evolve(self, folder=f"{self.folder}/{name}")


def address_at(url: str, *, token: Path | None, authority: Path | None) -> Address:
    """Read the address that the settings give.

    Raises:
        StartRefused: it is none, or there is no token.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise StartRefused("CAPSULE_KEYSTORE must be https://HOST:PORT/MOUNT or a folder below that")
    if token is None:
        raise StartRefused("CAPSULE_KEYSTORE needs CAPSULE_KEYSTORE_TOKEN, a file with a token or an AppRole")
    return Address(host=found["host"], mount=found["mount"], folder=found["folder"], token=token, authority=authority)


def address_from(variables: Mapping[str, str]) -> Address | None:
    """Read the address from environment *variables*, as a service does; None if they name none.

    Raises:
        StartRefused: they name one that is none.
    """
    url, token, authority = (variables.get(f"CAPSULE_KEYSTORE{more}") for more in ("", "_TOKEN", "_AUTHORITY"))
    if not url:
        return None
    return address_at(url, token=Path(token) if token else None, authority=Path(authority) if authority else None)
