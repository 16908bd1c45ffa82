"""How a command asks as a user of a tenant: whose it is, and who asks."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer

from capsule_core.errors import CapsuleError
from capsule_services.runtime.asking import Asker, asking
from capsule_services.runtime.faults import StartRefused
from capsule_services.speech import refuse

__all__ = ["Email", "Folder", "Tenant", "day", "signed_in"]

_PASSWORD: Final = "CAPSULE_PASSWORD"  # noqa: S105  the name of a variable

Folder = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the running deployment.")]
Tenant = Annotated[str, typer.Option("--tenant", metavar="TENANT", help="Whose address book it is.")]
Email = Annotated[
    str,
    typer.Option("--as", metavar="EMAIL", help=f"Which user asks. The password is asked for, or is in {_PASSWORD}."),
]


@contextmanager
def signed_in(data: Path, tenant: str, email: str) -> Generator[Asker]:
    """Sign in for as long as a command asks; what is refused ends it with one sentence."""
    password = os.environ.get(_PASSWORD) or typer.prompt("Password", hide_input=True)
    try:
        with asking(data, tenant.removeprefix("tenants/"), email, password) as asker:
            yield asker
    except (CapsuleError, StartRefused, OSError) as error:
        refuse(str(error))


def day(time: str) -> str:
    """Return the day of a time in RFC 3339."""
    return time[:10]
