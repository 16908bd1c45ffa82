"""That a journal's place is not lost together with what it is there for."""

from __future__ import annotations

from pathlib import Path

from capsule_services.places.place import lies_in
from capsule_services.runtime.faults import StartRefused

__all__ = ["check_apart"]


def check_apart(address: str, deployment: Path) -> None:
    """Let pass a place that is not lost together with the folder of the *deployment*.

    Raises:
        StartRefused: it is in that folder.
    """
    if lies_in(address, deployment):
        raise StartRefused(
            f"the journal's place {address} lies in {deployment} and would be lost with it; name one on another "
            "medium in CAPSULE_JOURNAL_PLACE"
        )
