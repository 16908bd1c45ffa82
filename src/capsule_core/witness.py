"""What the ledger says of an act: who did what to whom, in commitments that die with their salts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from capsule_core.blind import commitment
from capsule_core.errors import VersionMismatch
from capsule_core.ledger import Leaf
from capsule_core.names import ActorRef, SubjectKey, TenantId
from capsule_core.records import Act, Slot, Touched, Witness
from capsule_core.vault import Vault

__all__ = ["actor_commitment", "bears_witness", "notes", "read_leaf", "subject_commitments", "wholly"]


def bears_witness(vault: Vault, act: Act) -> Witness:
    """Make the witness of an act: one leaf for all it touched, none if it touched nothing."""

    def witness(touched: Sequence[Touched]) -> bytes | None:
        if not touched:
            return None
        slots = {entry.subject: entry.slot for entry in touched}
        return _leaf(vault, act.tenant, act, slots, records=len(touched)).encode()

    return witness


def wholly(witness: Witness, count: int) -> Witness:
    """Make a witness that bears witness as *witness* does, but only of an act that touched *count* things.

    Raises:
        VersionMismatch: it is not so, and nothing is changed.
    """

    def complete(touched: Sequence[Touched]) -> bytes | None:
        if len(touched) != count:
            raise VersionMismatch
        return witness(touched)

    return complete


def notes(vault: Vault, act: Act) -> Witness:
    """Make the witness of an act that changes nobody's record or mark: its leaf names no subject."""
    return lambda _: _leaf(vault, act.tenant, act, {}, records=0).encode()


def read_leaf(vault: Vault, act: Act, slots: Mapping[SubjectKey, Slot], *, records: int) -> bytes:
    """Make the leaf of a read: it must be kept before the answer leaves."""
    return _leaf(vault, act.tenant, act, slots, records=records).encode()


def actor_commitment(vault: Vault, tenant: TenantId, actor: ActorRef) -> str:
    """Commit to who acted, under the tenant's own salt."""
    return commitment(vault.tenant(tenant).leaves, f"actor\0{actor.kind}\0{actor.id}")


def subject_commitments(vault: Vault, tenant: TenantId, slots: Mapping[SubjectKey, Slot]) -> tuple[str, ...]:
    """Commit to each subject under its own key: when the key dies, nobody can tell any more whom the leaf meant."""
    keys = vault.keys(tenant, list(slots.values()))
    return tuple(commitment(key, f"leaf\0{subject}") for subject, key in zip(slots, keys, strict=True))


def _leaf(vault: Vault, tenant: TenantId, act: Act, slots: Mapping[SubjectKey, Slot], *, records: int) -> Leaf:
    return Leaf(
        at=act.at,
        tenant=tenant,
        act=act.verb,
        use=act.use,
        actor=actor_commitment(vault, tenant, act.actor),
        subjects=subject_commitments(vault, tenant, slots),
        records=records,
        detail=act.detail,
    )
