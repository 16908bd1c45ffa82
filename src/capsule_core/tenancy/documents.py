"""The documents a customer accepts: which version is in force, and who must be asked again."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from datetime import datetime

import attrs

from capsule_core.errors import DocumentsOutdated
from capsule_core.tenancy._moments import written

__all__ = ["Acceptance", "Document", "DocumentKind", "agree", "current", "to_accept"]


class DocumentKind(enum.Enum):
    """Which of the documents a customer accepts is meant."""

    TERMS = "terms"
    PRIVACY_POLICY = "privacy_policy"
    DATA_PROCESSING_AGREEMENT = "data_processing_agreement"


@attrs.frozen(kw_only=True)
class Document:
    """One version of a document, in force from *effective* on; *sha256* is of its text, in hexadecimal digits.

    A *material* version asks everybody again.
    """

    kind: DocumentKind
    version: str
    display_name: str
    uri: str
    sha256: str
    effective: datetime
    material: bool = True


@attrs.frozen(kw_only=True)
class Acceptance:
    """That *user* accepted one version of a document, and when, in UTC (RFC 3339); it is never taken away."""

    kind: DocumentKind
    version: str
    sha256: str
    user: str
    accepted_at: str


def current(documents: Iterable[Document], *, now: datetime) -> tuple[Document, ...]:
    """Return the version of each document that is in force at *now*."""
    newest: dict[DocumentKind, Document] = {}
    for document in _in_force(documents, now):
        newest[document.kind] = document
    return tuple(newest[kind] for kind in DocumentKind if kind in newest)


def to_accept(
    documents: Sequence[Document], acceptances: Iterable[Acceptance], *, now: datetime
) -> tuple[Document, ...]:
    """Return the documents that must be accepted (again): a material version came after the one that was accepted."""
    accepted = {(each.kind, each.version) for each in acceptances}
    asked: dict[DocumentKind, bool] = {}
    for document in _in_force(documents, now):
        pending = asked.get(document.kind, True) or document.material
        asked[document.kind] = pending and (document.kind, document.version) not in accepted
    return tuple(document for document in current(documents, now=now) if asked[document.kind])


def agree(
    documents: Sequence[Document], said: Iterable[tuple[DocumentKind, str]], *, user: str, now: datetime
) -> tuple[Acceptance, ...]:
    """Take down that *user* accepts the current version of every document, as they *said* by kind and version.

    Raises:
        DocumentsOutdated: they did not say so of one of them.
    """
    agreed = set(said)
    in_force = current(documents, now=now)
    for document in in_force:
        if (document.kind, document.version) not in agreed:
            raise DocumentsOutdated(document.kind.value)
    return tuple(
        Acceptance(
            kind=document.kind,
            version=document.version,
            sha256=document.sha256,
            user=user,
            accepted_at=written(now),
        )
        for document in in_force
    )


def _in_force(documents: Iterable[Document], now: datetime) -> list[Document]:
    return sorted((each for each in documents if each.effective <= now), key=lambda each: each.effective)
