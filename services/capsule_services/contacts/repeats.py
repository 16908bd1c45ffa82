"""What was answered to a request that speaks of nobody, for whoever sends it again."""

from __future__ import annotations

import json
from collections.abc import Sequence

from capsule_core import answers
from capsule_core.answers import Request
from capsule_services.runtime.calls import Call
from capsule_services.runtime.holding import Holding

__all__ = ["keep_answer", "recalled"]


def recalled(holding: Holding, call: Call, request: Request | None) -> list[int | str] | None:
    """Return what the same request was answered; None if it was not.

    Raises:
        RequestReused: the request id came with another request.
    """
    if request is None:
        return None
    body = answers.recall(holding.repository.store, holding.vault, call.within(), request)
    found: list[int | str] | None = None if body is None else json.loads(body)
    return found


def keep_answer(holding: Holding, call: Call, request: Request | None, told: Sequence[int | str]) -> None:
    """Keep what is answered, which outlives everybody: nobody's id is in it."""
    if request is not None:
        body = json.dumps(list(told)).encode()
        holding.repository.store.keep(answers.seal(body, holding.vault, call.within(), request))
