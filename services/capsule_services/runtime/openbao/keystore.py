"""Page keys in OpenBao or Vault, wrapped with the root key as in a file, for any number of machines.

A key is destroyed by a new version of the secret it is in, of which the server keeps one. What a call decides it
decides with one write: it is done or not, whatever is lost on the way, and nobody is told that a key is gone before the
server has said that it has no other version.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

import attrs

from capsule_core.errors import FailedPrecondition, KeystoreUnreachable, RootKeyAbsent, SealBroken
from capsule_core.names import TenantId
from capsule_core.pages import KeyMoved, PageKey
from capsule_core.sealing import KEY_BYTES, NONCE_BYTES
from capsule_core.wrapping import (
    RootKey,
    Roots,
    Row,
    at_hand,
    names_under,
    owner_of,
    root_id,
    seal_names,
    unwrap,
    wrap,
    wrap_again,
)
from capsule_services.runtime.openbao.heads import TRIES, Heads
from capsule_services.runtime.openbao.shards import Head, decode_seals, encode_seals, shard_of
from capsule_services.runtime.openbao.wire import Bao
from capsule_sql.failures import ForeignKeystore

__all__ = ["SEALS", "BaoKeystore", "KeepsVersions"]

SEALS: Final = "seals"
"""The secret with the wrapped names key."""

_CHANGE_BYTES: Final = 8
_Expected = tuple[bytes | None, PageKey]


@attrs.define
class KeepsVersions(FailedPrecondition):
    """The server would keep what is destroyed."""

    reason = "KEYSTORE_KEEPS_VERSIONS"
    sentence = (
        "the keystore at {url} keeps old versions of keys; set max_versions=1 and cas_required=true in its config"
    )
    url: str


@attrs.define(eq=False)
class BaoKeystore:
    """A keystore in a folder of a secrets engine; it is made at first use.

    Raises:
        ForeignKeystore: what is there was made with another root key.
        KeepsVersions: a destroyed key would stay there.
        Unavailable: it cannot be reached.
    """

    _bao: Bao
    _roots: Roots = attrs.field(converter=at_hand, repr=False)
    _random: Callable[[int], bytes]
    _heads: Heads = attrs.field(init=False)
    _names: bytes = attrs.field(init=False, repr=False)
    _root: RootKey = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._heads = Heads(self._bao)
        if self._bao.settings().get("max_versions") != 1:
            raise KeepsVersions(self._bao.url)
        if self._bao.read(SEALS) is None:
            sealed = seal_names(self._random(KEY_BYTES), root=self._roots.first, nonce=self._random(NONCE_BYTES))
            self._bao.write(SEALS, encode_seals([sealed]), over=0)  # or another process was faster
        try:
            newest = self._seals()[1][-1]
            self._names, self._root = names_under(newest, roots=self._roots), self._roots.named(root_id(newest))
        except (RootKeyAbsent, SealBroken):
            raise ForeignKeystore(self._bao.url) from None

    @property
    def mirrors(self) -> int:
        """How many copies are kept, as far as we know: how often the server keeps it is the server's."""
        return 1

    def put(self, keys: Sequence[PageKey]) -> None:
        """Keep new keys."""
        self._change([(None, key) for key in keys])

    def get(self, tenant: TenantId, pages: Sequence[int]) -> Sequence[PageKey | None]:
        """Return the keys of pages, in order; None for one that has none."""
        owner = owner_of(self._names, tenant)
        rows = self._rows(self._heads.settled(owner), pages)
        return [None if row is None else self._opened(tenant, row) for row in map(rows.get, pages)]

    def replace(self, keys: Sequence[tuple[bytes, PageKey]]) -> None:
        """Destroy the keys whose ids are given and put new ones in their places."""
        self._change(keys, destroys=True)

    def close(self, mark: PageKey) -> None:
        """Destroy all keys of the mark's tenant; the mark is what it has from then on: it lies in the head."""
        owner, change = owner_of(self._names, mark.tenant), self._named()
        for _ in range(TRIES):
            head = self._heads.settled(owner)
            if change in head.done:  # the answer was lost, not the change
                break
            if not head.version:
                self._heads.write(attrs.evolve(head, root=self._root.id))
                continue
            root = self._root_for(head)
            row = wrap(mark, names=self._names, root=root, nonce=self._random(NONCE_BYTES))
            if self._heads.write(head.closed(row, root=root.id, change=change)).done:
                break
        else:
            raise KeystoreUnreachable
        self._heads.settled(owner)
        self._heads.scour_head(owner, clean=False)

    def adopt(self, root: RootKey) -> None:
        """Wrap whatever is new under *root* from now on."""
        sealed = seal_names(self._names, root=root, nonce=self._random(NONCE_BYTES))
        self._reseal(lambda seals: seals if root_id(seals[-1]) == root.id else (*seals, sealed))

    def rewrap(self) -> Iterator[int]:
        """Wrap everything else under it too; give how many keys, as they come."""
        root = self._learn()
        for owner in self._heads.owners():
            yield from filter(None, self._rewrap(owner, root))

    def let_go(self) -> None:
        """Need no other root key any more."""
        while sum(self.rewrap()):  # until nothing came in between
            continue
        self._reseal(lambda seals: seals[-1:])
        self._heads.scour(SEALS, clean=False)

    def level(self) -> None:
        """Nothing: what a crash left undone of a tenant's keys is finished by whoever asks for them next."""

    def _change(self, keys: Sequence[_Expected], *, destroys: bool = False) -> None:
        """Put each key in the place of the one whose id is given, or where there is none; all or nothing."""
        if not keys:
            return
        (tenant,) = {key.tenant for _, key in keys}
        owner, change, clean = owner_of(self._names, tenant), self._named(), False
        for _ in range(TRIES):
            head = self._heads.settled(owner)
            if change in head.done:  # the answer was lost, not the change
                break
            if not head.version:
                self._heads.write(attrs.evolve(head, root=self._root.id))
                continue
            root = self._root_for(head)
            head = head.changed(self._replaced(head, keys, root), root=root.id, change=change)
            written = self._heads.write(head)
            clean = written.clean
            if written.done:
                break
        else:
            raise KeystoreUnreachable
        if not head.settled:
            self._heads.settled(owner)
        if destroys:
            self._heads.scour_head(owner, clean=clean and head.settled)

    def _replaced(self, head: Head, keys: Sequence[_Expected], root: RootKey) -> list[Row]:
        rows = self._rows(head, [key.page for _, key in keys])
        for expected, key in keys:
            held = rows.get(key.page)
            if expected != (held.id if held is not None else None):
                raise KeyMoved
        return [wrap(key, names=self._names, root=root, nonce=self._random(NONCE_BYTES)) for _, key in keys]

    def _rows(self, head: Head, pages: Sequence[int]) -> Mapping[int, Row]:
        rows = dict(head.rows)
        for shard in {shard_of(page) for page in pages} - {0}:
            rows |= self._heads.rows(head.owner, shard)
        return rows

    def _rewrap(self, owner: bytes, root: RootKey) -> Iterator[int]:
        """Wrap a tenant's keys again: the head first, for it says under what everything new is wrapped."""
        for _ in range(TRIES):
            head = self._heads.settled(owner)
            stale = [row for row in head.rows.values() if root_id(row.wrapped) != root.id]
            if not head.version or (head.root == root.id and not stale):
                break
            fresh = head.changed([self._again(row, root) for row in stale], root=root.id, change=self._named())
            if self._heads.write(fresh).done:
                yield len(stale)
        else:
            raise KeystoreUnreachable
        for shard in self._heads.shards(owner):
            counts: list[int] = []
            self._heads.change(owner, shard, lambda rows, counts=counts: self._all_again(rows, root, counts))  # type: ignore[misc]
            yield counts[-1]

    def _all_again(self, rows: Mapping[int, Row], root: RootKey, counts: list[int]) -> Mapping[int, Row]:
        stale = {page: row for page, row in rows.items() if root_id(row.wrapped) != root.id}
        counts.append(len(stale))
        return {**rows, **{page: self._again(row, root) for page, row in stale.items()}}

    def _root_for(self, head: Head) -> RootKey:
        """Return the root key to write under: the head's, which a replacement moves on, or what is current by now.

        A head without keys may be older than a replacement that never saw it: then only the seals tell.
        """
        return self._root if head.rows and head.root == self._root.id else self._learn()

    def _learn(self) -> RootKey:
        self._root = root = self._roots.named(root_id(self._seals()[1][-1]))
        return root

    def _seals(self) -> tuple[int, tuple[bytes, ...]]:
        secret = self._bao.read(SEALS)
        if secret is None:
            raise SealBroken("keystore")
        return secret.version, decode_seals(secret.data)

    def _reseal(self, change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]]) -> None:
        for _ in range(TRIES):
            version, seals = self._seals()
            fresh = change(seals)
            if fresh == seals or self._bao.write(SEALS, encode_seals(fresh), over=version).done:
                return
        raise KeystoreUnreachable

    def _named(self) -> str:
        return self._random(_CHANGE_BYTES).hex()

    def _again(self, row: Row, root: RootKey) -> Row:
        with self._doubting(row):
            return wrap_again(row, roots=self._roots, root=root, nonce=self._random(NONCE_BYTES))

    def _opened(self, tenant: TenantId, row: Row) -> PageKey:
        with self._doubting(row):
            return unwrap(row, tenant, roots=self._roots)

    @contextmanager
    def _doubting(self, row: Row) -> Generator[None]:
        """Tell a row under a root key that is not at hand from one that names none of the keystore's."""
        try:
            yield
        except RootKeyAbsent:
            if root_id(row.wrapped) in map(root_id, self._seals()[1]):
                raise
            raise SealBroken("page key") from None
