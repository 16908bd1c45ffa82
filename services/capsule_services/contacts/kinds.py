"""What the contacts service keeps."""

from __future__ import annotations

from typing import Final

from capsule_core.closing import Closing
from capsule_core.contacts import ContactList, Entry, Listed, Organisation, Person, Photo
from capsule_core.holds import Hold
from capsule_core.personal import kind_of
from capsule_core.rulebook import StandingPolicy

__all__ = ["KINDS"]

KINDS: Final = tuple(
    map(kind_of, (Person, Organisation, Entry, Photo, ContactList, Listed, Hold, StandingPolicy, Closing))
)
"""Everything it has records of."""
