"""Paragraphs of help: whatever their width in the source is, a terminal wraps them once, at its own."""

from __future__ import annotations

import inspect
import re
from typing import Final

import typer

__all__ = ["flow", "joined"]

_INSIDE: Final = re.compile(r"(?<=\S)\n(?=[^\s*-])")
"""The end of a line that the next one goes on from; not one before an empty line, an indented one or one of a list."""


def flow(app: typer.Typer) -> None:
    """Let the help of every command below *app* flow."""
    for command in app.registered_commands:
        told = command.help or (inspect.getdoc(command.callback) if command.callback else None)
        command.help = joined(told) if told else told
    for group in app.registered_groups:
        if group.typer_instance is not None:
            flow(group.typer_instance)


def joined(text: str) -> str:
    """Return *text* with each paragraph in one line."""
    return _INSIDE.sub(" ", text)
