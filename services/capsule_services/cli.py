"""The ``capsule`` command."""

from __future__ import annotations

import sys

__all__ = ["main"]

_MISSING = "capsule: {} is not installed; run: pip install 'capsule-core[services]'\n"


def main() -> int:
    """Run the command line; without the extra it needs, say so in one sentence."""
    try:
        from capsule_services.commands import app  # noqa: PLC0415  the extra may be missing, and must be named if it is

        app()
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package.startswith("capsule_"):
            raise
        sys.stderr.write(_MISSING.format(package))
        return 2
    return 0
