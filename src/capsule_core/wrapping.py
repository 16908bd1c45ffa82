"""Wrap page keys with a root key, so that a keystore's own files are worth nothing alone.

A keystore has two keys of its own. The *root key* wraps everything in it, lies elsewhere, and can be replaced: each
wrapping says which root key it is under, and while one is replaced by the next both are at hand. The *names key* hides
which tenant a row is of; it never changes, and lies in the keystore, wrapped like the rest.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import attrs

from capsule_core.errors import RootKeyAbsent, SealBroken
from capsule_core.names import TenantId
from capsule_core.pages import PageKey
from capsule_core.sealing import KEY_BYTES, NONCE_BYTES, open_bytes, seal_bytes

__all__ = [
    "OWNER_BYTES",
    "ROOT_ID_BYTES",
    "WRAPPED_BYTES",
    "Rewrapping",
    "RootKey",
    "Roots",
    "Row",
    "at_hand",
    "names_under",
    "owner_of",
    "root_id",
    "seal_names",
    "unwrap",
    "wrap",
    "wrap_again",
]

OWNER_BYTES: Final = 16
ROOT_ID_BYTES: Final = 8
WRAPPED_BYTES: Final = ROOT_ID_BYTES + NONCE_BYTES + KEY_BYTES + 16
_NAMES: Final = b"capsule keystore names"


@attrs.frozen
class RootKey:
    """32 bytes that wrap others; *id* tells root keys apart and says nothing about them."""

    key: bytes = attrs.field(repr=False)
    id: bytes = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        digest = hmac.digest(self.key, b"capsule root key", "sha256")
        object.__setattr__(self, "id", digest[:ROOT_ID_BYTES])


@attrs.define(eq=False)
class Roots:
    """The root keys at hand: what *load* gave last, the one that new keystores begin with first.

    Where an id is not among them *load* is asked again: that is how a process learns that the root key is replaced.
    """

    _load: Callable[[], Sequence[bytes]] = attrs.field(repr=False)
    _keys: tuple[RootKey, ...] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._keys = tuple(map(RootKey, self._load()))

    @property
    def first(self) -> RootKey:
        """The root key that a new keystore begins with."""
        return self._keys[0]

    def named(self, name: bytes) -> RootKey:
        """Return the root key of that id.

        Raises:
            RootKeyAbsent: it is not at hand.
        """
        found = self._among(name)
        if found is None:
            self._keys = tuple(map(RootKey, self._load()))
            found = self._among(name)
        if found is None:
            raise RootKeyAbsent
        return found

    def _among(self, name: bytes) -> RootKey | None:
        return next((root for root in self._keys if root.id == name), None)


def at_hand(given: bytes | Roots) -> Roots:
    """Take one root key for all there are."""
    return given if isinstance(given, Roots) else Roots(lambda: (given,))


@attrs.frozen
class Row:
    """A page key as a keystore keeps it, always of the same length; *owner* stands for its tenant."""

    owner: bytes
    page: int
    id: bytes
    wrapped: bytes = attrs.field(repr=False)

    def bound(self) -> bytes:
        """What the wrapped key is bound to: no row opens in another's place."""
        return self.owner + self.page.to_bytes(8, "big") + self.id


class Rewrapping(Protocol):
    """What a keystore offers whose root key can be replaced while others use it.

    The steps are taken in this order, and each may be repeated after a crash.
    """

    def adopt(self, root: RootKey) -> None:
        """Wrap whatever is new under *root* from now on; what is there stays under the one before."""
        ...

    def rewrap(self) -> Iterator[int]:
        """Wrap everything else under it too; give how many keys, as they come.

        Raises:
            SealBroken: one of them does not open; the root key before it must be kept.
        """
        ...

    def let_go(self) -> None:
        """Need no other root key any more.

        Raises:
            Unavailable: there still is a key under another.
        """
        ...


def owner_of(names: bytes, tenant: TenantId) -> bytes:
    """Hide which tenant a row is of: 16 bytes of HMAC-SHA-256 under the names key."""
    return hmac.digest(names, b"tenant\0" + tenant.encode(), "sha256")[:OWNER_BYTES]


def wrap(key: PageKey, *, names: bytes, root: RootKey, nonce: bytes) -> Row:
    """Wrap a page key: root key id (8), nonce (12), ciphertext (32) and tag (16)."""
    bare = Row(owner_of(names, key.tenant), key.page, key.id, b"")
    return attrs.evolve(bare, wrapped=root.id + seal_bytes(key.key, key=root.key, bound=bare.bound(), nonce=nonce))


def unwrap(row: Row, tenant: TenantId, *, roots: Roots) -> PageKey:
    """Undo :func:`wrap`.

    Raises:
        RootKeyAbsent: the row names a root key that is not at hand, or was altered.
        SealBroken: it was altered, or belongs elsewhere.
    """
    return PageKey(tenant=tenant, page=row.page, id=row.id, key=_opened(row, roots))


def wrap_again(row: Row, *, roots: Roots, root: RootKey, nonce: bytes) -> Row:
    """Wrap the key of a row under another *root*; errors as :func:`unwrap`."""
    key = _opened(row, roots)
    return attrs.evolve(row, wrapped=root.id + seal_bytes(key, key=root.key, bound=row.bound(), nonce=nonce))


def seal_names(names: bytes, *, root: RootKey, nonce: bytes) -> bytes:
    """Wrap the names key; this is what tells whether a root key is the keystore's."""
    return root.id + seal_bytes(names, key=root.key, bound=_NAMES, nonce=nonce)


def names_under(sealed: bytes, *, roots: Roots) -> bytes:
    """Undo :func:`seal_names`.

    Raises:
        RootKeyAbsent: the root key it is under is not at hand.
        SealBroken: it was altered.
    """
    root = roots.named(root_id(sealed))
    return open_bytes(sealed[ROOT_ID_BYTES:], key=root.key, bound=_NAMES, what="keystore")


def root_id(wrapped: bytes) -> bytes:
    """Return the id of the root key that something is wrapped under."""
    return wrapped[:ROOT_ID_BYTES]


def _opened(row: Row, roots: Roots) -> bytes:
    root = roots.named(root_id(row.wrapped))
    key = open_bytes(row.wrapped[ROOT_ID_BYTES:], key=root.key, bound=row.bound(), what="page key")
    if len(key) != KEY_BYTES:
        raise SealBroken("page key")
    return key
