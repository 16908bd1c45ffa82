"""What was looked at, what was found, and what to do about it."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator

import attrs

__all__ = ["Finding", "Grade", "exit_code", "gathered", "good", "mend", "note", "unseen"]


class Grade(enum.Enum):
    """How it is: the mark stands in the table."""

    GOOD = "✓"
    NOTE = "·"
    MEND = "✗"
    UNSEEN = "?"


@attrs.frozen
class Finding:
    """One thing that was looked at; *do* is a sentence for whoever mends it, empty if nothing is to be done."""

    grade: Grade
    what: str
    found: str
    do: str = ""


def good(what: str, found: str) -> Finding:
    """All is well."""
    return Finding(Grade.GOOD, what, found)


def note(what: str, found: str, do: str = "") -> Finding:
    """It works, and somebody should know."""
    return Finding(Grade.NOTE, what, found, do)


def mend(what: str, found: str, do: str) -> Finding:
    """It is broken, or will be."""
    return Finding(Grade.MEND, what, found, do)


def unseen(what: str, found: str, do: str) -> Finding:
    """It could not be looked at."""
    return Finding(Grade.UNSEEN, what, found, do)


def gathered(what: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Give one finding for all that is good, and everything else as it is."""
    each = list(findings)
    worse = [finding for finding in each if finding.grade is not Grade.GOOD]
    if len(each) > len(worse):
        yield good(what, f"{len(each) - len(worse)} files are as they should be")
    yield from worse


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 1 if something is to be mended, 2 if something could not be looked at, 0 if all is well."""
    grades = {finding.grade for finding in findings}
    if Grade.MEND in grades:
        return 1
    return 2 if Grade.UNSEEN in grades else 0
