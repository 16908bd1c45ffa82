"""The certificates of a deployment: the local authority gives one to every service and one to people's clients.

A certificate names its service; that name is what the others know it by. Keys are files of mode 0600 in a folder of
mode 0700. What is near its end is made anew; a running service takes it up by itself, without a failed call.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from capsule_services.runtime.authority import (
    AUTHORITY,
    Step,
    advanced,
    load_authorities,
    stepped,
    store_authorities,
)
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.issuing import Pair, is_fresh, issued
from capsule_services.runtime.private import alone_in, write_private
from capsule_services.runtime.proofs import Proof
from capsule_services.runtime.room import unwritten

__all__ = ["CLIENT", "Credential", "credential_of", "next_step", "prepared", "take_step"]

CLIENT: Final = "client"
"""The name in the certificate of people's clients; no service may have it."""

_DAMAGED: Final = (ValueError, TypeError, UnsupportedAlgorithm)
"""What reading a certificate or a key raises that is none, is locked, or is of a kind that nobody here made."""


@attrs.frozen(kw_only=True)
class Credential:
    """The files one party proves itself with, and checks the others by."""

    certificate: Path
    key: Path
    authority: Path

    def read(self) -> Proof:
        """Read the files as they are.

        Raises:
            StartRefused: one of them cannot be read.
        """
        try:
            return Proof(self.certificate.read_bytes(), self.key.read_bytes(), self.authority.read_bytes())
        except OSError as error:
            raise StartRefused(
                f"cannot read {error.filename}: {error.strerror}; give a certificate, key and CA"
            ) from None

    def stamp(self) -> tuple[int, ...]:
        """Return what changes when one of the files does."""
        found = [path.stat() for path in (self.certificate, self.key, self.authority)]
        return tuple(number for each in found for number in (each.st_mtime_ns, each.st_ino, each.st_size))


def prepared(folder: Path, services: Iterable[str], *, now: datetime) -> Mapping[str, Credential]:
    """Make what is missing or near its end in *folder*, and return the credential of each service and of ``client``.

    Raises:
        StartRefused: the folder cannot be written, or the authority's files are damaged.
    """
    names = [*services, CLIENT]
    with _changing(folder):
        authorities = advanced(load_authorities(folder, now), now)
        store_authorities(folder, authorities)
        for name in names:
            if not _serves(folder, name, authorities.signing.certificate, now):
                _write(folder, name, issued(name, authorities.signing, now, serves=name != CLIENT))
    return {name: credential_of(folder, name) for name in names}


def take_step(folder: Path, step: Step, *, now: datetime) -> None:
    """Take one *step* to another authority in *folder*; :func:`prepared` then signs anew what has to be.

    Raises:
        StartRefused: it is not its turn, the folder cannot be written, or the authority's files are damaged.
    """
    with _changing(folder):
        authorities = stepped(load_authorities(folder, now), step, now)
        store_authorities(folder, authorities)


def next_step(folder: Path, *, now: datetime) -> Step | None:
    """Return what is to be done yet before one authority alone is trusted in *folder*; errors as :func:`take_step`."""
    with _changing(folder):
        return load_authorities(folder, now).next_step


def credential_of(folder: Path, name: str) -> Credential:
    """Say where the files of the party *name* are in *folder*."""
    authority = folder / f"{AUTHORITY}.pem"
    return Credential(certificate=folder / f"{name}.pem", key=folder / f"{name}.key", authority=authority)


@contextmanager
def _changing(folder: Path) -> Generator[None]:
    try:
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)
        with alone_in(folder):
            yield
    except OSError as error:
        raise unwritten(error, folder) from None
    except _DAMAGED:
        raise StartRefused(f"the authority in {folder} is damaged; put its files back, or move them away") from None


def _serves(folder: Path, name: str, authority: x509.Certificate, now: datetime) -> bool:
    """Tell whether the certificate is there, whole, from this authority, and far from its end."""
    try:
        found = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
        found.verify_directly_issued_by(authority)
        private = load_pem_private_key((folder / f"{name}.key").read_bytes(), password=None)
        return private.public_key() == found.public_key() and is_fresh(found, now)
    except (FileNotFoundError, InvalidSignature, *_DAMAGED):
        return False


def _write(folder: Path, name: str, pair: Pair) -> None:
    # The key goes first: a certificate that does not match its key is made anew at the next start.
    certificate, key = pair.pems()
    write_private(folder / f"{name}.key", key)
    write_private(folder / f"{name}.pem", certificate)
