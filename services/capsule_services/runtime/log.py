"""Logs: one JSON object a line, of the keys and the forms of values listed here, and nothing else whatsoever.

What a request says, who sent it and where from cannot be logged, by accident or on purpose: there is no key for it, and a
value of another form than its key's is dropped.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog
from structlog.typing import FilteringBoundLogger

__all__ = ["ALLOWED", "allowed", "made_log", "quieten_libraries"]


def _form(pattern: str) -> Callable[[object], bool]:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_EVENTS: Final = "started|stopped|call|failed|library|swept|resumed|reported"

ALLOWED: Final[Mapping[str, Callable[[object], bool]]] = {
    "event": _form(_EVENTS),
    "level": _form("debug|info|warning|error|critical"),
    "timestamp": _form(r"[0-9T:.Z-]{20,40}"),
    "service": _form(r"contacts|identity|privacy|[a-z]{1,20}"),
    "method": _form(r"/[a-z0-9_.]{1,60}\.[A-Z][A-Za-z]{1,40}/[A-Z][A-Za-z]{1,60}"),
    "code": _form(r"[A-Z_]{2,30}"),
    "reason": _form(r"[A-Z_]{2,63}"),
    "error": _form(r"[A-Z][A-Za-z]{1,60}"),
    "error_id": _form(r"[0-9a-f]{32}"),
    "library": _form(r"[a-z_][a-z0-9_.]{1,60}"),
    "seconds": _number,
    "count": _number,
    "version": _form(r"[0-9.]{1,20}"),
}
"""Each key that may be logged, with the form its values have."""


def allowed(_: Any, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop what the list does not allow, and count it."""
    kept = {key: value for key, value in entry.items() if key in ALLOWED and ALLOWED[key](value)}
    dropped = len(entry) - len(kept)
    return {**kept, "dropped": dropped} if dropped else kept


def made_log(stream: TextIO, *, service: str) -> FilteringBoundLogger:
    """Make the log of *service*, written to *stream*."""
    logger: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            allowed,
            structlog.processors.JSONRenderer(sort_keys=True),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        service=service,
    )
    return logger


def quieten_libraries(log: FilteringBoundLogger) -> None:
    """Let libraries say that they have something to say, and what kind of error it is, but never their own words."""
    root = logging.getLogger()
    root.handlers = [_Mention(log)]
    root.setLevel(logging.WARNING)


class _Mention(logging.Handler):
    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else "None"
        self._log.warning("library", library=record.name, error=kind)
