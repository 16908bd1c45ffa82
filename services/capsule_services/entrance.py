"""How a command asks as a user of a tenant: whose it is, who asks, and what is shown or refused."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console
from rich.table import Column, Table

from capsule_core.errors import CapsuleError
from capsule_services.runtime.asking import Asker, asking
from capsule_services.runtime.faults import StartRefused

__all__ = ["AsJson", "Email", "Folder", "Tenant", "day", "folded", "named", "refuse", "show", "signed_in"]

_REFUSED: Final = 2
_PASSWORD: Final = "CAPSULE_PASSWORD"  # noqa: S105  the name of a variable

Folder = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the running deployment.")]
Tenant = Annotated[str, typer.Option("--tenant", metavar="TENANT", help="Whose address book it is.")]
Email = Annotated[
    str,
    typer.Option("--as", metavar="EMAIL", help=f"Which user asks. The password is asked for, or is in {_PASSWORD}."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


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


def folded(*headers: str) -> list[Column]:
    """Make columns that lose nothing in a narrow terminal."""
    return [Column(header, overflow="fold") for header in headers]


def named(header: str, ids: Iterable[str]) -> Column:
    """Make a column in which every id is whole, however narrow the terminal: the next command needs it."""
    return Column(header, no_wrap=True, min_width=max(map(len, ids), default=0))


def show(what: Table | str) -> None:
    """Print for people; as wide as it needs where nobody looks."""
    Console(width=None if sys.stdout.isatty() else 200).print(what, soft_wrap=True)


def refuse(sentence: str) -> NoReturn:
    """Say what is wrong and end."""
    typer.echo(sentence, err=True)
    raise typer.Exit(_REFUSED)
