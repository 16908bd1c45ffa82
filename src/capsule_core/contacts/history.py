"""What happened with a contact: notes, calls, e-mails, meetings; and their photo."""

from __future__ import annotations

from typing import Annotated, Final

import attrs

from capsule_core.contacts._checks import check, image_data, instant, line, lines, one_of
from capsule_core.contacts.party import PURPOSE
from capsule_core.personal import Category, Personal, Plain, kind

__all__ = ["CHANNELS", "DIRECTIONS", "MEDIA_TYPES", "Entry", "Photo"]

CHANNELS: Final = ("note", "email", "call", "meeting")
"""What an entry may be."""

DIRECTIONS: Final = ("", "in", "out")
"""Who began it: nobody in particular, the contact, or the tenant."""

MEDIA_TYPES: Final = ("image/jpeg", "image/png", "image/gif", "image/webp")
"""What a photo may be: images that every browser shows and none runs."""

_COMMUNICATION: Final = Personal(Category.COMMUNICATION, purpose=PURPOSE)


@kind("entry", subject="contact", server_ids=True, contacted="contacted_at")
@attrs.frozen(kw_only=True)
class Entry:
    """One thing that happened with a contact; *author* is the user who wrote it down.

    Raises:
        InvalidField: a field does not hold what it may.
    """

    id: str
    contact: str
    channel: Annotated[str, Plain("what it is"), one_of(*CHANNELS)]
    occurred_at: Annotated[str, Plain("when it was, in UTC (RFC 3339)"), instant]
    direction: Annotated[str, Plain("who began it"), one_of(*DIRECTIONS)] = ""
    subject_line: Annotated[str, _COMMUNICATION, line] = ""
    body: Annotated[str, _COMMUNICATION, lines] = ""
    author: Annotated[str, Plain("the user who wrote it down")] = ""

    def __attrs_post_init__(self) -> None:
        check(self)

    @property
    def contacted_at(self) -> str:
        """When there was contact, in UTC (RFC 3339); empty for a note, which nobody but its author has seen."""
        return "" if self.channel == "note" else self.occurred_at


@kind("photo", subject="contact", server_ids=True)
@attrs.frozen(kw_only=True)
class Photo:
    """The picture of a contact; *data* is in base64 (RFC 4648 section 4), at most 2 MiB before that.

    Raises:
        InvalidField: a field does not hold what it may.
    """

    id: str
    contact: str
    media_type: Annotated[str, Plain("how the picture is encoded"), one_of(*MEDIA_TYPES)]
    data: Annotated[str, Personal(Category.IMAGE, purpose=PURPOSE), image_data]

    def __attrs_post_init__(self) -> None:
        check(self)
