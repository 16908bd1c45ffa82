"""The ledger contract, of the wire and of the domain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from capsule_api.ledger.v1 import ledger_pb2 as pb
from capsule_core.errors import InvalidField

__all__ = ["checkpoint_to", "parsed_log", "proof_to"]

_LOG: Final = re.compile(r"tenants/[A-Za-z0-9][A-Za-z0-9_.-]{0,63}/logs/(changes|reads)")


def parsed_log(name: str) -> str:
    """Return which log is meant: changes or reads.

    Raises:
        InvalidField: it is no such name.
    """
    found = _LOG.fullmatch(name)
    if found is None:
        raise InvalidField("name", "must be like tenants/{tenant}/logs/changes, or end with reads")
    return found[1]


def checkpoint_to(note: str, origin: str, size: int, root: bytes) -> pb.Checkpoint:
    """Write a checkpoint: as it was signed, and what it says."""
    return pb.Checkpoint(note=note, origin=origin, size=size, root=root)


def proof_to(hashes: Sequence[bytes]) -> pb.Proof:
    """Write a proof."""
    return pb.Proof(hashes=hashes)
