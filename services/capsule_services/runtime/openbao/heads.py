"""The secrets of tenants: how one write decides about many of them, and how they are brought to what was decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import attrs

from capsule_core.errors import KeystoreUnreachable
from capsule_core.wrapping import OWNER_BYTES, Row
from capsule_services.runtime.openbao.shards import Head, rows_in, rows_of, shard_of
from capsule_services.runtime.openbao.wire import Bao, Written

__all__ = ["TRIES", "Heads"]

TRIES: Final = 64
"""How often somebody else may be faster; each time it is somebody else's change that is done."""

_Change = Callable[[Mapping[int, Row]], Mapping[int, Row]]


@attrs.define(eq=False)
class Heads:
    """Everybody's secrets in one folder."""

    _bao: Bao

    def settled(self, owner: bytes) -> Head:
        """Return the head of a tenant when everything that it decided is carried out, by us if need be."""
        for _ in range(TRIES):
            head = self._head(owner)
            if head.settled:
                return head
            self._carry_out(head)
        raise KeystoreUnreachable

    def write(self, head: Head) -> Written:
        """Make *head* the version after its own, if nobody else was faster."""
        return self._bao.write(_name(head.owner, 0), head.data(), over=head.version)

    def rows(self, owner: bytes, shard: int) -> Mapping[int, Row]:
        """Return what is in one of a tenant's other secrets."""
        return self._shard(owner, shard)[1]

    def change(self, owner: bytes, shard: int, change: _Change, *, decided: Head | None = None) -> None:
        """Make of one of a tenant's other secrets what *change* makes of it, and leave nothing of what it was.

        What was *decided* must not be done once more by who comes late: if the head has moved on, others did it. It is
        looked at after the secret was read, so that whoever did it in between has made a version that we do not follow.
        """
        for _ in range(TRIES):
            version, rows = self._shard(owner, shard)
            fresh = change(rows)
            if fresh == rows:
                break
            if decided is not None and self._head(owner).version != decided.version:
                return None
            written = self._bao.write(_name(owner, shard), rows_in(fresh), over=version)
            if written.done:
                return self.scour(_name(owner, shard), clean=written.clean)
        else:
            raise KeystoreUnreachable
        if version:
            self.scour(_name(owner, shard), clean=False)
        return None

    def scour_head(self, owner: bytes, *, clean: bool) -> None:
        """Return when nothing but the newest version of a tenant's head is left."""
        self.scour(_name(owner, 0), clean=clean)

    def scour(self, name: str, *, clean: bool) -> None:
        """Return when nothing but the newest version of a secret is left.

        Args:
            name: the secret.
            clean: whether the server said that it had put the version before away; if it did not, it does at a write.
        """
        for _ in range(TRIES):
            if not clean and (secret := self._bao.read(name)) is not None:
                clean = self._bao.write(name, secret.data, over=secret.version).clean
                continue
            older = self._bao.versions(name)[:-1]
            if not older:
                return
            self._bao.destroy(name, older)
        raise KeystoreUnreachable

    def owners(self) -> list[bytes]:
        """Name every tenant that ever had a key."""
        folders = [name.rstrip("/") for name in self._bao.names() if name.endswith("/")]
        return [bytes.fromhex(name) for name in folders if len(name) == 2 * OWNER_BYTES]

    def shards(self, owner: bytes) -> list[int]:
        """Name a tenant's secrets besides its head."""
        return sorted(int(name) for name in self._bao.names(owner.hex()) if name.isdigit() and name != "0")

    def _carry_out(self, head: Head) -> None:
        if head.closing:
            for shard in self.shards(head.owner):
                self.change(head.owner, shard, lambda _: {}, decided=head)
        for shard in {shard_of(page) for page in head.intent}:
            fresh = {page: row for page, row in head.intent.items() if shard_of(page) == shard}
            self.change(head.owner, shard, lambda rows, fresh=fresh: {**rows, **fresh}, decided=head)  # type: ignore[misc]
        self.write(head.carried_out())  # if somebody else was faster, they did just that

    def _head(self, owner: bytes) -> Head:
        secret = self._bao.read(_name(owner, 0))
        return Head(owner=owner) if secret is None else Head.of(owner, secret.version, secret.data)

    def _shard(self, owner: bytes, shard: int) -> tuple[int, Mapping[int, Row]]:
        secret = self._bao.read(_name(owner, shard))
        return (0, {}) if secret is None else (secret.version, rows_of(owner, secret.data, shard=shard))


def _name(owner: bytes, shard: int) -> str:
    return f"{owner.hex()}/{shard}"
