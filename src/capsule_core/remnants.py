"""What outlives a person's erasure, because a hold or an obligation keeps it: a key class of its own.

A person is two subjects to a store: themselves, and what is kept of them under a key of its own. Records of kinds that
are declared obliged lie there from the beginning; what a hold keeps is sealed anew and handed over when the person is
erased. So the ordinary key dies at once, and the other when its last ground has ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from capsule_core.names import SubjectKey

__all__ = ["is_remnant", "partner_of", "person_of", "remnant_of", "with_remnants"]

_KEPT: Final = ".kept"


def is_remnant(subject: SubjectKey) -> bool:
    """Tell whether *subject* stands for what is kept of somebody."""
    return subject.endswith(_KEPT)


def remnant_of(subject: SubjectKey) -> SubjectKey:
    """Return what stands for what is kept of a person."""
    return subject if is_remnant(subject) else SubjectKey(f"{subject}{_KEPT}")


def person_of(subject: SubjectKey) -> SubjectKey:
    """Return the person of whom *subject* is, or is kept."""
    return SubjectKey(subject.removesuffix(_KEPT))


def partner_of(subject: SubjectKey) -> SubjectKey:
    """Return the other half: whoever is gone with one of them, for the other nothing is written either."""
    return person_of(subject) if is_remnant(subject) else remnant_of(subject)


def with_remnants(subjects: Iterable[SubjectKey]) -> tuple[SubjectKey, ...]:
    """Return *subjects* and what is kept of each, for whoever means all there is of a person."""
    return tuple(each for subject in subjects for each in (person_of(subject), remnant_of(subject)))
