"""Which release of this software runs."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["release"]


def release() -> str:
    """Return the version that is installed; a checkout that is not installed has none."""
    try:
        return version("capsule-core")
    except PackageNotFoundError:
        return "0+source"
