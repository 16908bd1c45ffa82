"""The last look: an answer leaves only while everybody it may speak of is still there.

Between opening a record and answering, a process may stand still for any time, and somebody be erased by another.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from capsule_core.names import TenantId
from capsule_core.records import Slot
from capsule_core.vault import Vault

__all__ = ["LastLook"]


@attrs.define(eq=False)
class LastLook:
    """Whose contents one call has used, and in which vault their keys lie."""

    _noted: dict[tuple[Vault, TenantId], set[Slot]] = attrs.field(factory=dict, init=False, repr=False)

    def note(self, vault: Vault, tenant: TenantId, slots: Iterable[Slot]) -> None:
        """Say that what lies under the keys in *slots* may be in an answer to come."""
        self._noted.setdefault((vault, tenant), set()).update(slots)

    def forget(self) -> None:
        """Say that nothing noted so far is in an answer to come: it has left, or is not told at all."""
        self._noted.clear()

    def take(self) -> None:
        """Let an answer pass.

        Raises:
            SubjectErased: somebody it may speak of was erased since.
        """
        for (vault, tenant), slots in self._noted.items():
            vault.keys(tenant, list(slots))
