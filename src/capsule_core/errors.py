"""Every way in which capsule_core says no.

An error is data: its family tells a caller what kind of answer to give, its ``reason`` names the case for machines, its
attributes hold every dynamic part of the sentence that ``str()`` makes of them (AIP-193). No attribute ever carries
personal data: fields are named, values are not.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

__all__ = [
    "AlreadyExists", "AlreadyLive", "CapsuleError", "CardNumberFound", "ConfirmationRequired", "Conflict", "DataLoss",
    "DocumentsOutdated", "Exhausted", "FailedPrecondition", "Forbidden", "IdentifierSuppressed", "IdentifierTaken",
    "IndexMissing", "Invalid", "InvalidField", "KeystoreDenied", "KeystoreUnreachable", "LastSuperAdministrator",
    "LedgerBroken", "ListUnfinished", "ListsFull", "NewerSchema", "NotFound", "NotTrashed", "PageTokenInvalid",
    "PermissionDenied", "PlanStale", "RateExceeded", "ReceiptInvalid", "RequestInFlight", "RequestReused",
    "ResourceMissing", "RootKeyAbsent", "SealBroken", "SpecialCategoryFound", "StreamsExceeded", "SubjectErased",
    "SubjectHeld", "SubjectRestricted", "TenantClosed", "TooMany", "TrashExpired", "Unauthenticated", "Unavailable",
    "UndeclaredField", "VersionMismatch",
]  # fmt: skip


@attrs.define
class CapsuleError(Exception):
    """The root of all errors raised on purpose by this library."""

    reason: ClassVar[str] = "CAPSULE_ERROR"
    sentence: ClassVar[str] = "the operation was refused"

    def __str__(self) -> str:
        return self.sentence.format_map(self.metadata)

    @property
    def metadata(self) -> dict[str, str]:
        """Every dynamic part of the sentence, as ``google.rpc.ErrorInfo.metadata`` wants it."""
        return {name: str(value) for name, value in attrs.asdict(self, recurse=False).items()}


class Invalid(CapsuleError):
    """What was sent is malformed, whatever the state of the system."""


class NotFound(CapsuleError):
    """It is not there, or the caller may not know that it is."""


class AlreadyExists(CapsuleError):
    """It is there already."""


class Unauthenticated(CapsuleError):
    """The caller did not show who they are."""

    reason = "UNAUTHENTICATED"
    sentence = "sign in again: the credentials are missing, expired or not valid"


class Forbidden(CapsuleError):
    """The caller may not."""


class FailedPrecondition(CapsuleError):
    """Well-formed, but the system is in a state in which it cannot be done."""


class Conflict(CapsuleError):
    """Somebody else was faster; read again and decide anew."""


class Unavailable(CapsuleError):
    """It cannot be answered now; trying again later may work."""

    reason = "UNAVAILABLE"
    sentence = "the service cannot answer now; try again in a moment"


class Exhausted(CapsuleError):
    """The caller has used up their share for now; others have theirs."""


class IndexMissing(Unavailable):
    """What a tenant's records are found by was lost with a crash, a failover or a restore."""

    reason = "INDEX_MISSING"
    sentence = "what records are found by is being made again after a crash; try again in a moment"


class KeystoreUnreachable(Unavailable):
    """Where the page keys are does not answer, or not as a keystore."""

    reason = "KEYSTORE_UNREACHABLE"
    sentence = "the keystore does not answer; see whether it runs, is unsealed and set up, and try again"


class KeystoreDenied(Unavailable):
    """Where the page keys are does not let us in."""

    reason = "KEYSTORE_DENIED"
    sentence = "the keystore does not let us in; renew the token or the policy it is opened with, and try again"


class RootKeyAbsent(Unavailable):
    """What wraps the page keys is not where it was, or was replaced and not handed on."""

    reason = "ROOT_KEY_ABSENT"
    sentence = "the keystore is under a root key that is not at hand; put it where root.key is, and try again"


class DataLoss(CapsuleError):
    """Stored bytes are not what was stored; nobody gets garbage."""


@attrs.define
class InvalidField(Invalid):
    """One field is malformed; *field* is its path (``emails[2].address``)."""

    reason = "INVALID_FIELD"
    sentence = "{field} {problem}"
    field: str
    problem: str


@attrs.define
class CardNumberFound(Invalid):
    """A payment card number was about to be stored."""

    reason = "CARD_NUMBER"
    sentence = "{field} contains what looks like a payment card number; card numbers are never stored, remove it"
    field: str


@attrs.define
class SpecialCategoryFound(Invalid):
    """Data of a special category (GDPR Art. 9) was about to be stored."""

    reason = "SPECIAL_CATEGORY"
    sentence = "{field} declares the special category {category}, which may not be kept (GDPR Art. 9)"
    field: str
    category: str


@attrs.define
class UndeclaredField(Invalid, TypeError):
    """A model has a field that declares neither what it is nor what it is for."""

    reason = "UNDECLARED_FIELD"
    sentence = "{model}.{field} {problem}"
    model: str
    field: str
    problem: str = "declares no category and purpose; annotate it with Personal(...) or Plain(...)"


class PageTokenInvalid(Invalid):
    """A page token was altered, or sent along with other arguments than it was made for."""

    reason = "PAGE_TOKEN_INVALID"
    sentence = "page_token is not one that this method returned for these arguments; start again without it"


class RequestReused(Invalid):
    """The same request id came with another request."""

    reason = "REQUEST_ID_REUSED"
    sentence = "request_id was already used for a different request; make a new one"


@attrs.define
class ReceiptInvalid(Invalid):
    """A receipt does not prove what it says."""

    reason = "RECEIPT_INVALID"
    sentence = "the receipt is not valid: {problem}"
    problem: str


@attrs.define
class TooMany(Invalid):
    """The request covers more than can be done at once."""

    reason = "TOO_MANY"
    sentence = "{field} covers more than {limit}; narrow it"
    field: str
    limit: int


@attrs.define
class ResourceMissing(NotFound):
    """There is no such resource here; *resource* is its kind, never its name."""

    reason = "NOT_FOUND"
    sentence = "no such {resource}"
    resource: str


@attrs.define
class IdentifierTaken(AlreadyExists):
    """Another record holds an identifier that must be unique."""

    reason = "IDENTIFIER_TAKEN"
    sentence = "another {resource} already has this {field}"
    resource: str
    field: str


@attrs.define
class AlreadyLive(AlreadyExists):
    """It is not in the trash (AIP-164)."""

    reason = "ALREADY_LIVE"
    sentence = "the {resource} is not in the trash"
    resource: str


@attrs.define
class PermissionDenied(Forbidden):
    """The caller's role or scope does not allow it; foreign and unknown resources answer the same (AIP-211)."""

    reason = "PERMISSION_DENIED"
    sentence = "permission '{permission}' denied on the resource (or it might not exist)"
    permission: str


class SubjectErased(FailedPrecondition):
    """The person was erased: nothing of theirs can be read or written any more."""

    reason = "SUBJECT_ERASED"
    sentence = "the person was erased; nothing of theirs can be read or written any more"


@attrs.define
class IdentifierSuppressed(FailedPrecondition):
    """A record carries what somebody was known by who was erased at their own request."""

    reason = "IDENTIFIER_SUPPRESSED"
    sentence = "{field} is of somebody who was erased at their request; only their own new consent lets it in again"
    field: str


class TenantClosed(FailedPrecondition):
    """The tenant's keys were destroyed, and its id is not used again."""

    reason = "TENANT_CLOSED"
    sentence = "the account was closed; nothing can be read or kept in it any more"


@attrs.define
class SubjectRestricted(FailedPrecondition):
    """Processing of the person's data is restricted (GDPR Art. 18) for the use that was declared."""

    reason = "SUBJECT_RESTRICTED"
    sentence = "the person's data is restricted; {use} is not among the uses still allowed (GDPR Art. 18(2))"
    use: str


class SubjectHeld(FailedPrecondition):
    """A hold keeps the data from being destroyed."""

    reason = "SUBJECT_HELD"
    sentence = "a hold keeps this from being destroyed; release it first"


class ConfirmationRequired(FailedPrecondition):
    """Destroying needs an explicit confirmation besides the permission."""

    reason = "CONFIRMATION_REQUIRED"
    sentence = "destroying cannot be undone; set confirm to say that you mean it"


@attrs.define
class NotTrashed(FailedPrecondition):
    """Only what is in the trash can be destroyed at once (AIP-164)."""

    reason = "NOT_TRASHED"
    sentence = "the {resource} is not in the trash; delete it first"
    resource: str


class TrashExpired(FailedPrecondition):
    """The time in the trash is over: what was thrown away is not given back, whatever still keeps it from going."""

    reason = "TRASH_EXPIRED"
    sentence = "its 30 days in the trash are over; it is not taken back any more"


class ListUnfinished(FailedPrecondition):
    """A saved list is still being filled: not everybody is on it yet who was meant."""

    reason = "LIST_UNFINISHED"
    sentence = "the list is not whole yet; fill it until it is ready, and review it then"


@attrs.define
class ListsFull(FailedPrecondition):
    """A tenant has as many saved lists as it may."""

    reason = "LISTS_FULL"
    sentence = "there are {limit} saved lists already; delete one first"
    limit: int


class PlanStale(FailedPrecondition):
    """The facts moved since the plan was made."""

    reason = "PLAN_STALE"
    sentence = "what the plan was made from has changed since; make a new plan"


class LastSuperAdministrator(FailedPrecondition):
    """A tenant always keeps at least one super administrator."""

    reason = "LAST_SUPER_ADMINISTRATOR"
    sentence = "the tenant would be left without a super administrator; appoint another one first"


@attrs.define
class DocumentsOutdated(FailedPrecondition):
    """The current version of a legal document was not accepted."""

    reason = "DOCUMENTS_OUTDATED"
    sentence = "the current version of {document} must be accepted first"
    document: str


@attrs.define
class NewerSchema(FailedPrecondition):
    """The bytes were written by a newer version of this software."""

    reason = "NEWER_SCHEMA"
    sentence = "{what} was written by a newer version of this software; upgrade before opening it"
    what: str


class VersionMismatch(Conflict):
    """The etag or version sent is not the current one (AIP-154)."""

    reason = "ETAG_MISMATCH"
    sentence = "the record has changed since it was read; read it again and repeat the change"


class RequestInFlight(Conflict):
    """The same request is being worked on right now."""

    reason = "REQUEST_IN_FLIGHT"
    sentence = "the same request is being worked on; ask again in a moment"


@attrs.define
class RateExceeded(Exhausted):
    """A tenant asks more often than it may."""

    reason = "RATE_EXCEEDED"
    sentence = "too many calls at once; wait {milliseconds} ms and repeat this one"
    milliseconds: int


@attrs.define
class StreamsExceeded(Exhausted):
    """A tenant has as many imports and exports under way as it may."""

    reason = "STREAMS_EXCEEDED"
    sentence = "{limit} imports or exports are under way already; wait until one ends"
    limit: int


@attrs.define
class SealBroken(DataLoss):
    """Sealed bytes do not open: they were changed, swapped, or belong to another record or version."""

    reason = "SEAL_BROKEN"
    sentence = "a sealed {what} does not open: it was altered or is not the one that belongs here"
    what: str


@attrs.define
class LedgerBroken(DataLoss):
    """A ledger is not the one its checkpoints speak of."""

    reason = "LEDGER_BROKEN"
    sentence = "the ledger is broken at leaf {index}: {problem}"
    index: int
    problem: str
