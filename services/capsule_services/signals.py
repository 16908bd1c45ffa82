"""How a command that runs something is ended."""

from __future__ import annotations

import signal
from typing import NoReturn

__all__ = ["end_on_signals"]


def end_on_signals() -> None:
    """End on Ctrl-C and SIGTERM alike, also where a shell made us ignore them, so that every process is stopped."""

    def end(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, end)
