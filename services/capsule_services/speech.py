"""How a command speaks: it shows, or it says in one sentence why it does not."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Annotated, Final, NoReturn

import typer
from rich.console import Console
from rich.table import Column, Table

__all__ = ["REFUSED", "AsJson", "folded", "named", "refuse", "tell"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]

REFUSED: Final = 2
"""How a command exits that was asked for what cannot be done; nothing was changed."""


def folded(*headers: str) -> list[Column]:
    """Make columns that lose nothing in a narrow terminal."""
    return [Column(header, overflow="fold") for header in headers]


def named(header: str, ids: Iterable[str]) -> Column:
    """Make a column in which every id is whole, however narrow the terminal: the next command needs it."""
    return Column(header, no_wrap=True, min_width=max(map(len, ids), default=0))


def tell(what: Table | str) -> None:
    """Print for people; as wide as it needs where nobody looks. A sentence is wrapped by the terminal alone."""
    Console(width=None if sys.stdout.isatty() else 200).print(what, soft_wrap=isinstance(what, str))


def refuse(sentence: str, *, code: int = REFUSED) -> NoReturn:
    """Say what is wrong and end."""
    sys.stderr.write(f"capsule: {sentence}\n")
    raise typer.Exit(code)
