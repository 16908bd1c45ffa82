"""The table of all targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tests.fuzzing import address_books, answers, at_rest, names, policies, proofs, requests, spellings, surroundings
from tests.fuzzing.target import Target

__all__ = ["TARGETS"]

TARGETS: Final[Mapping[str, Target]] = {
    target.name: target
    for module in (address_books, spellings, names, policies, proofs, at_rest, requests, surroundings, answers)
    for target in module.TARGETS
}
