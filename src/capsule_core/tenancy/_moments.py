"""Moments as records keep them: text in UTC (RFC 3339)."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["is_due", "written"]


def written(moment: datetime) -> str:
    """Write a moment in UTC (RFC 3339)."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def is_due(moment: str, *, now: datetime) -> bool:
    """Tell whether a moment that was :func:`written` has come."""
    return datetime.fromisoformat(moment) <= now
