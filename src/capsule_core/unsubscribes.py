"""The operator's own list of addresses that want no mail from whoever runs the deployment; no tenant's end reaches it.

Kept is a keyed hash of the canonical address, and since when, as ``suppression`` keeps them. The key is the operator's
own: whoever holds a backup learns nothing from a hash, and neither an erasure nor a closing destroys the list.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

import attrs

from capsule_core.errors import InvalidField, ResourceMissing
from capsule_core.names import OPERATOR, ActorRef
from capsule_core.personal import Form
from capsule_core.readmission import readmit
from capsule_core.records import Act
from capsule_core.stores import Store
from capsule_core.suppression import Identifiers
from capsule_core.uses import Use
from capsule_core.witness import notes

__all__ = ["CLERK", "Unsubscribes"]

CLERK: Final = ActorRef("operator", "unsubscribes")
"""Who acts in each leaf: the list outlives the user, so its leaves must say nothing of them."""

_UNREADABLE: Final = 'must be an e-mail address, such as "name@example.org"'


@attrs.frozen
class Unsubscribes:
    """The list in one store; *identifiers* hashes for it."""

    _store: Store
    _identifiers: Identifiers

    def among(self, emails: Sequence[str], *, field: str = "emails") -> list[bool]:
        """Tell of each address, in any spelling, whether it is on the list; *field* is where they were given.

        Raises:
            InvalidField: one is no address; the path says which (``emails[2]``).
        """
        hashes = [self._hashed(email, f"{field}[{place}]") for place, email in enumerate(emails)]
        listed = self._store.suppressed(OPERATOR, list(dict.fromkeys(hashes)))
        return [hashed in listed for hashed in hashes]

    def add(self, email: str, *, verb: str, now: datetime) -> bool:
        """Put an address on the list; return whether it was not on it. Added again, it stays since when it was.

        Raises:
            InvalidField: it is none.
        """
        act = _act(verb, now)
        hashed = self._hashed(email, "email")
        act = attrs.evolve(act, witness=notes(self._identifiers.vault, act))
        return bool(self._store.suppress([hashed], act=act))

    def lift(self, email: str, *, evidence: str, verb: str, now: datetime) -> bool:
        """Take an address off the list, by its owner's own new consent; return whether it was on it.

        The leaf commits to the *evidence*, as that of ``readmission`` does, whose errors are raised too but for this:
        what is not on the list is not missing.
        """
        try:
            readmit(self._store, self._identifiers, Form.EMAIL, email, evidence=evidence, act=_act(verb, now))
        except ResourceMissing:
            return False
        return True

    def _hashed(self, email: str, field: str) -> bytes:
        hashed = self._identifiers.hashed(OPERATOR, Form.EMAIL, email)
        if hashed is None:
            raise InvalidField(field, _UNREADABLE)
        return hashed


def _act(verb: str, now: datetime) -> Act:
    return Act(tenant=OPERATOR, actor=CLERK, verb=verb, use=Use.STORE.value, at=now)
