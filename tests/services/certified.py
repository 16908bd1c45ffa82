"""Certificates as they should not be: every way in which a new one can be bad, and how to put it in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import attrs

from capsule_services.runtime.certificates import Credential
from capsule_services.runtime.issuing import Pair, issued, made_authority
from capsule_services.runtime.proofs import Flaw, Proof
from tests.services.chassis import wall


@attrs.frozen
class Maker:
    """An authority, and what it makes for the service *name*."""

    authority: Pair = attrs.field(factory=lambda: made_authority(wall()))
    name: str = "contacts"

    def proof(self, *, name: str | None = None, days: float = 0, serves: bool = True) -> Proof:
        """Make a proof of the service, or of another *name*, valid from so many days on."""
        pair = issued(name or self.name, self.authority, wall() + timedelta(days=days), serves=serves)
        certificate, key = pair.pems()
        return Proof(certificate, key, self.authority.pems()[0])


BAD: Final[dict[str, tuple[Callable[[Maker], Proof], Flaw]]] = {
    "garbage": (lambda maker: attrs.evolve(maker.proof(), certificate=b"garbage"), Flaw.DAMAGED),
    "empty": (lambda maker: attrs.evolve(maker.proof(), certificate=b""), Flaw.DAMAGED),
    "cut off": (lambda maker: attrs.evolve(maker.proof(), certificate=maker.proof().certificate[:300]), Flaw.DAMAGED),
    "no key": (lambda maker: attrs.evolve(maker.proof(), key=b"garbage"), Flaw.DAMAGED),
    "no authority": (lambda maker: attrs.evolve(maker.proof(), authority=b""), Flaw.DAMAGED),
    "the key of another": (lambda maker: attrs.evolve(maker.proof(), key=maker.proof().key), Flaw.KEY),
    "expired": (lambda maker: maker.proof(days=-100), Flaw.TIME),
    "of tomorrow": (lambda maker: maker.proof(days=1), Flaw.TIME),
    "of another authority": (
        lambda maker: attrs.evolve(Maker(name=maker.name).proof(), authority=maker.proof().authority),
        Flaw.AUTHORITY,
    ),
    "of another service": (lambda maker: maker.proof(name="elsewhere"), Flaw.NAME),
    "of a client": (lambda maker: maker.proof(serves=False), Flaw.PURPOSE),
}
"""Each way of being bad, by its name: how it is made, and which flaw it has."""


def put(proof: Proof, credential: Credential) -> None:
    """Put *proof* where the files of *credential* are, one file after the other."""
    content = ((credential.authority, proof.authority), (credential.key, proof.key))
    for path, data in (*content, (credential.certificate, proof.certificate)):
        _replace(path, data)


def _replace(path: Path, data: bytes) -> None:
    path.with_suffix(".put").write_bytes(data)
    os.replace(path.with_suffix(".put"), path)
