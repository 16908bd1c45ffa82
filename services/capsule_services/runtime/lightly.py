"""Importing a library without something that it would import if it is there, and that is never used through it."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

__all__ = ["without"]


@contextmanager
def without(name: str) -> Generator[None]:
    """Let the module *name* look as if it were not installed, to whatever is imported for the first time meanwhile."""
    modules: dict[str, Any] = sys.modules
    before = {name: modules[name]} if name in modules else {}
    modules[name] = None
    try:
        yield
    finally:
        del modules[name]
        modules.update(before)
