"""How far something is, for people who wait for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import Progress

__all__ = ["bar"]

_SHOWN_AFTER: Final = 1.0


@contextmanager
def bar(what: str) -> Generator[Callable[[int, int], None]]:
    """Show how far it is, to people, if it takes longer than a second; what is given is told how much of how much."""
    began, shown = time.monotonic(), Progress(console=Console(stderr=True), transient=True)
    task = shown.add_task(what)

    def progress(done: int, total: int) -> None:
        if not shown.live.is_started and sys.stderr.isatty() and time.monotonic() - began > _SHOWN_AFTER:
            shown.start()
        shown.update(task, completed=done, total=total)

    try:
        yield progress
    finally:
        if shown.live.is_started:
            shown.stop()  # which would end a line that was never begun
