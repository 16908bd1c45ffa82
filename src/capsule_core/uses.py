"""What an operation uses data for, and whose data it may therefore touch.

Every operation declares one :class:`Use`. The store never learns what a use is: it is told which marks a subject may
carry and still be admitted (GDPR Art. 18(2), 21(2)-(3)).
"""

from __future__ import annotations

import enum
from typing import Final

from capsule_core.errors import CapsuleError, SubjectErased, SubjectHeld, SubjectRestricted
from capsule_core.records import GONE, Mark

__all__ = ["Use", "admits", "refusal"]


class Use(enum.Enum):
    """What an operation uses personal data for."""

    STORE = "store"
    EDIT = "edit"
    DISPLAY = "display"
    SEARCH = "search"
    IMPORT = "import"
    EXPORT = "export"
    MARKETING = "marketing"
    SUBJECT_ACCESS = "subject_access"
    LEGAL_CLAIM = "legal_claim"
    ERASE = "erase"
    SECURITY = "security"
    ADMINISTER = "administer"


_ALWAYS: Final = Mark.HELD | Mark.OBLIGED
_OF_WHAT_IS_KEPT: Final = frozenset({Use.SUBJECT_ACCESS, Use.LEGAL_CLAIM, Use.ERASE})
_WHILE_RESTRICTED: Final = frozenset({Use.STORE, Use.SUBJECT_ACCESS, Use.LEGAL_CLAIM, Use.ERASE})


def admits(use: Use) -> Mark:
    """Return the marks a subject may carry and still be touched for *use*.

    A fence or a finished erasure is never among them. What is kept of somebody erased is there for claims, for
    themselves, and to be destroyed in the end.
    """
    marks = _ALWAYS
    if use in _OF_WHAT_IS_KEPT:
        marks |= Mark.KEPT
    if use is not Use.MARKETING:
        marks |= Mark.OBJECTED
    if use in _WHILE_RESTRICTED:
        marks |= Mark.RESTRICTED
    return marks


def refusal(marks: Mark, use: Use) -> CapsuleError:
    """Say why a subject carrying *marks* is refused for *use*; the gravest reason speaks."""
    if marks & GONE:
        return SubjectErased()
    if marks & (Mark.RESTRICTED | Mark.OBJECTED):
        return SubjectRestricted(use.value)
    return SubjectHeld()
