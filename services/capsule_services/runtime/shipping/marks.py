"""The mark: how far the journal of a service was shipped, and by whom last, in a file beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import attrs

from capsule_services.runtime.private import write_private

__all__ = ["SHIPPED", "ShippingMark", "mark_in", "tell_mark"]

SHIPPED: Final = "shipped.json"
"""The file in a service's folder."""


@attrs.frozen(kw_only=True)
class ShippingMark:
    """The *place* has the *journal* up to *position*; *turn* is whose turn it was last to write there."""

    place: str = ""
    journal: str = ""
    position: int = 0
    turn: str = ""


def mark_in(folder: Path) -> ShippingMark:
    """Return what was left in *folder*; nothing if it cannot be read: then the place is asked."""
    try:
        return ShippingMark(**json.loads((folder / SHIPPED).read_bytes()))
    except (OSError, TypeError, ValueError, RecursionError):
        return ShippingMark()


def tell_mark(folder: Path, mark: ShippingMark) -> None:
    """Leave a mark."""
    write_private(folder / SHIPPED, json.dumps(attrs.asdict(mark)).encode())
