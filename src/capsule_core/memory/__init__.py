"""The ports in memory: what a library user starts with, and what every other adapter is compared to."""

from __future__ import annotations

from capsule_core.memory.keystore import MemoryKeystore
from capsule_core.memory.store import MemoryStore

__all__ = ["MemoryKeystore", "MemoryStore"]
