"""Refusing marketing mail: an address is on the operator's own list before a user's record says so."""

from __future__ import annotations

from capsule_core.unsubscribes import Unsubscribes
from capsule_services.runtime.calls import Call
from capsule_services.runtime.holding import Holding, verb

__all__ = ["list_of", "refuse"]


def list_of(holding: Holding) -> Unsubscribes:
    """Return the operator's list."""
    return Unsubscribes(holding.repository.store, holding.repository.identifiers)


def refuse(holding: Holding, call: Call, email: str) -> None:
    """Put an address on the list; there already, it changes nothing."""
    list_of(holding).add(email, verb=verb(call), now=holding.now())
