"""What a deployment consists of, and what the files in a service's folder are called."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from capsule_services.runtime.faults import StartRefused

__all__ = ["DATABASE", "ENGINE", "ORDER", "SWEEPING", "url_in"]

ORDER: Final = ("identity", "contacts", "privacy")
"""In this order services are started, and in the reverse they are stopped."""

SWEEPING: Final = ("identity", "contacts")
"""The services that destroy what is due."""

DATABASE: Final = "database.url"
"""The file in a service's folder that says how it connects to its PostgreSQL database."""

ENGINE: Final = "engine.url"
"""The file in a service's folder that says how its durable engine connects to its PostgreSQL database."""


def url_in(file: Path, variable: str) -> str:
    """Return the URL of a database that *file* holds, which the *variable* names.

    Raises:
        StartRefused: it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise StartRefused(f"{file} cannot be read; run capsule db init, or correct {variable}") from None
