"""Logs: one JSON object a line, of the keys and the forms of values listed here, and nothing else whatsoever.

What a request says, who sent it and where from cannot be logged, by accident or on purpose: there is no key for it, and
a value of another form than its key's is dropped.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Final, TextIO

import grpc
import structlog
from structlog.typing import FilteringBoundLogger

from capsule_core import errors
from capsule_services.runtime.proofs import Flaw

__all__ = ["ALLOWED", "Form", "allowed", "made_log", "quieten_libraries"]


Form = Callable[[object], bool]


def _pattern(text: str) -> Form:
    compiled = re.compile(text)
    return lambda value: isinstance(value, str) and compiled.fullmatch(value) is not None


def _one_of(*words: str) -> Form:
    known = frozenset(words)
    return lambda value: isinstance(value, str) and value in known


def _number(value: object) -> bool:
    # Below what could be a telephone number.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 10_000_000


def _kind_of_error(value: object) -> bool:
    # The class itself, so that no text can pass for one.
    return isinstance(value, type) and issubclass(value, BaseException)


def _library(value: object) -> bool:
    # A module that was imported: whoever makes a logger may name it after anything.
    return isinstance(value, str) and value in sys.modules


_JSON: Final = json.JSONEncoder(sort_keys=True)

ALLOWED: Final[Mapping[str, Form]] = {
    "event": _one_of(
        *("started", "serving", "not_serving", "stopped", "call", "failed", "library"),
        *("sweep_postponed", "report_postponed", "reindexed", "reindexing_postponed", "leading", "lead_postponed"),
        *("anchor_postponed", "anchor_refused", "swept", "clock_jumped", "clock_believed"),
        *("restored", "replayed", "buried", "compacted", "compacting_postponed"),
        *("certificate_taken", "certificate_refused", "signing_keys_taken", "signing_keys_refused"),
        *("keys_confirmed", "keys_unconfirmed"),
        *("journal_unshipped", "journal_shipped", "journal_fetched"),
    ),
    "level": _one_of("debug", "info", "warning", "error", "critical"),
    "timestamp": _pattern(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,15}Z"),
    "method": _pattern(r"/(capsule_api|grpc)(\.[a-z0-9]+)+\.[A-Z][A-Za-z]{1,40}/[A-Z][A-Za-z]{1,60}"),
    "code": _one_of(*grpc.StatusCode.__members__),
    "reason": _one_of(*(getattr(errors, name).reason for name in errors.__all__)),
    "flaw": _one_of(*(flaw.name.lower() for flaw in Flaw)),
    "error": _kind_of_error,
    "error_id": _pattern(r"[0-9a-f]{32}"),
    "library": _library,
    "seconds": _number,
    "count": _number,
}
"""Each key that may be logged, with the form its values have."""


def allowed(_: Any, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop what the list does not allow, and count it."""
    kept = {key: value for key, value in entry.items() if (fits := ALLOWED.get(key)) is not None and fits(value)}
    if "error" in kept:
        kept["error"] = kept["error"].__name__
    dropped = len(entry) - len(kept)
    return {**kept, "dropped": dropped} if dropped else kept


def made_log(stream: TextIO, *, service: str) -> FilteringBoundLogger:
    """Make the log of *service*, written to *stream*."""
    wrapped: FilteringBoundLogger = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            allowed,
            lambda _, __, entry: {**entry, "service": service},
            structlog.processors.JSONRenderer(lambda entry, **_: _JSON.encode(entry)),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    logger: FilteringBoundLogger = wrapped.bind()  # once: what is wrapped would be bound anew for each line
    return logger


def quieten_libraries(log: FilteringBoundLogger) -> None:
    """Let libraries say that they have something to say, and what kind of error it is, but never their own words."""
    root = logging.getLogger()
    root.handlers = [_Mention(log)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)


class _Mention(logging.Handler):
    def __init__(self, log: FilteringBoundLogger) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.exc_info[0] if record.exc_info else None
        told = {} if kind is None else {"error": kind}
        self._log.warning("library", library=_origin(record.name), **told)


def _origin(name: str) -> str:
    """Name the module that a logger belongs to, as far as it was imported."""
    name = name.removeprefix("py.")  # what the standard library calls the logger of warnings
    while name and name not in sys.modules:
        name = name.rpartition(".")[0]
    return name
