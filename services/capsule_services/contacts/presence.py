"""Is the contact there, may it be touched, and is it the one that the caller saw?"""

from __future__ import annotations

from typing import Any, Final

from capsule_core.contacts import Contact, Organisation, Person
from capsule_core.errors import CapsuleError, ResourceMissing, SubjectErased, VersionMismatch
from capsule_core.kept import Kept
from capsule_core.names import RecordId, SubjectKey
from capsule_core.records import Mark
from capsule_services.runtime.calls import Call
from capsule_services.runtime.etags import Etag
from capsule_services.runtime.holding import Holding

__all__ = ["KINDS", "kept_contact", "living_contact", "photo_id", "require_etag"]

KINDS: Final = ("person", "organisation")
"""What a contact may be."""


def kept_contact(holding: Holding, call: Call, contact: str) -> Kept[Contact]:
    """Return a contact, in the trash or not.

    Raises:
        ResourceMissing: there is none of that id.
        SubjectErased: there was, and whoever comes late should know why it is gone.
    """
    kept = holding.repository.read(call.within(), [RecordId(contact)], use=call.use)[0]
    if kept is None or not isinstance(kept.content, (Person, Organisation)):
        raise _missing(holding, call, contact)
    return kept


def living_contact(holding: Holding, call: Call, contact: str) -> Kept[Contact]:
    """Return a contact that is not in the trash; errors as :func:`kept_contact`."""
    kept = kept_contact(holding, call, contact)
    if kept.trash is not None:
        raise ResourceMissing("contact")
    return kept


def require_etag(kept: Kept[Any], etag: Etag | None) -> None:
    """Refuse an etag that is not the current one; none asks for no check (AIP-154)."""
    if etag is not None and etag != Etag(kept.version, kept.trash is not None):
        raise VersionMismatch


def photo_id(contact: str) -> RecordId:
    """Return the id of a contact's photo: there is one at most."""
    return RecordId(f"p{contact[1:]}")


def _missing(holding: Holding, call: Call, contact: str) -> CapsuleError:
    subject = holding.repository.store.subjects(call.within(), [SubjectKey(contact)])[0]
    if subject is not None and subject.marks & (Mark.FENCED | Mark.ERASED):
        return SubjectErased()
    return ResourceMissing("contact")
