"""What a party proves itself with over TLS, and what may be wrong with it."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Protocol, TypeVar

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

__all__ = ["Flaw", "Proof", "Proving", "flaw_of"]

E = TypeVar("E", bound=x509.ExtensionType)

_BOTH: Final = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


@attrs.frozen
class Proof:
    """A certificate, its key, and the certificates of all authorities that are trusted, in PEM."""

    certificate: bytes
    key: bytes = attrs.field(repr=False)
    authority: bytes


class Proving(Protocol):
    """Whoever has a proof to show: files as they are, or what was found good in them."""

    def read(self) -> Proof:
        """Return the proof to show now."""
        ...


class Flaw(enum.Enum):
    """Why a proof is not to be used."""

    DAMAGED = "is damaged, or its key or authority is"
    KEY = "does not fit its key"
    TIME = "is not valid at this time"
    AUTHORITY = "is not signed by the authority beside it"
    NAME = "is made out to somebody else"
    PURPOSE = "may not be used by servers and clients alike"


def flaw_of(proof: Proof, *, name: str, now: datetime) -> Flaw | None:
    """Judge the *proof* of the service *name*, which serves and calls; return its first flaw, None if it has none.

    A chain in the certificate's file is followed (RFC 8446 section 4.4.2): the service's own comes first.
    """
    try:
        chain = x509.load_pem_x509_certificates(proof.certificate)
        key = load_pem_private_key(proof.key, password=None)
        trusted = x509.load_pem_x509_certificates(proof.authority)
        return _flaw(chain, key.public_key(), trusted, name, now)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension):
        return Flaw.DAMAGED


def _flaw(
    chain: Sequence[x509.Certificate], key: object, trusted: Sequence[x509.Certificate], name: str, now: datetime
) -> Flaw | None:
    own = chain[0]
    if own.public_key() != key:
        return Flaw.KEY
    if not _is_valid(own, now):
        return Flaw.TIME
    if not _leads_to(chain, trusted, now):
        return Flaw.AUTHORITY
    names = _extension(own, x509.SubjectAlternativeName)
    if names is None or name not in names.get_values_for_type(x509.DNSName):
        return Flaw.NAME
    purposes = _extension(own, x509.ExtendedKeyUsage)
    return None if purposes is None or set(purposes) >= _BOTH else Flaw.PURPOSE


def _leads_to(chain: Sequence[x509.Certificate], trusted: Sequence[x509.Certificate], now: datetime) -> bool:
    """Tell whether each certificate of the chain is signed by the next, until one is signed by who is trusted."""
    believed = [each for each in trusted if _is_valid(each, now)]
    for number, each in enumerate(chain):
        if not _is_valid(each, now):
            return False
        if any(_is_signed(each, issuer) for issuer in believed):
            return True
        if not any(_is_signed(each, issuer) for issuer in chain[number + 1 : number + 2]):
            return False
    return False


def _is_signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _is_valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc


def _extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None
