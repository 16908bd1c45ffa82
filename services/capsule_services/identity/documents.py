"""The documents a deployment begins with; whoever runs one replaces them with their own."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from capsule_core.tenancy import Document, DocumentKind

__all__ = ["DOCUMENTS"]

_IN_FORCE: Final = datetime(2026, 1, 1, tzinfo=UTC)
_TEXTS: Final = {
    DocumentKind.TERMS: ("Terms of service", "Use the service lawfully; leave whenever you like, with your data."),
    DocumentKind.PRIVACY_POLICY: (
        "Privacy policy",
        "Of our users we keep a name, an e-mail address and what sign-in needs, for as long as they are users.",
    ),
    DocumentKind.DATA_PROCESSING_AGREEMENT: (
        "Data-processing agreement",
        "We process your contacts on your documented instructions only (GDPR Art. 28), and prove what we erase.",
    ),
}

DOCUMENTS: Final = tuple(
    Document(
        kind=kind,
        version="1",
        display_name=title,
        uri=f"https://example.org/legal/{kind.value.replace('_', '-')}/1",
        sha256=sha256(text.encode()).hexdigest(),
        effective=_IN_FORCE,
    )
    for kind, (title, text) in _TEXTS.items()
)
"""One version of each, in force from the beginning."""
