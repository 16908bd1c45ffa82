"""The local authority: made at the first start, it gives a certificate to every service and one to people's clients.

A certificate names its service; that name is what the others know it by. Keys are files of mode 0600 in a folder of
mode 0700. What is near its end is made anew; a running server takes it up with the next handshake, without a failed
call.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import attrs
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from capsule_services.runtime.faults import StartRefused

__all__ = ["CLIENT", "Credential", "prepared"]

CLIENT: Final = "client"
"""The name in the certificate of people's clients; no service may have it."""

_AUTHORITY: Final = "authority"
_AUTHORITY_LIFE: Final = timedelta(days=3650)
_LIFE: Final = timedelta(days=90)
_SKEW: Final = timedelta(minutes=5)


@attrs.frozen(kw_only=True)
class Credential:
    """The files one party proves itself with, and checks the others by."""

    certificate: Path
    key: Path
    authority: Path

    def read(self) -> tuple[bytes, bytes, bytes]:
        """Return certificate, key and authority, in PEM.

        Raises:
            StartRefused: one of the files cannot be read.
        """
        try:
            return self.certificate.read_bytes(), self.key.read_bytes(), self.authority.read_bytes()
        except OSError as error:
            raise StartRefused(
                f"cannot read {error.filename}: {error.strerror}; give a certificate, key and CA"
            ) from None

    def stamp(self) -> tuple[int, ...]:
        """Return what changes when one of the files does."""
        return tuple(path.stat().st_mtime_ns for path in (self.certificate, self.key, self.authority))


def prepared(folder: Path, services: Iterable[str], *, now: datetime) -> Mapping[str, Credential]:
    """Make what is missing or near its end in *folder*, and return the credential of each service and of ``client``.

    Raises:
        StartRefused: the folder cannot be written, or the authority's files are damaged.
    """
    names = [*services, CLIENT]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        authority = _authority(folder, now)
        for name in names:
            if not _serves(folder / f"{name}.pem", folder / f"{name}.key", authority[0], now):
                _write(folder, name, *_issued(name, authority, now))
    except OSError as error:
        raise StartRefused(
            f"cannot write {error.filename}: {error.strerror}; choose a folder you may write to"
        ) from None
    except ValueError:
        raise StartRefused(f"the authority in {folder} is damaged; put its files back, or move them away") from None
    return {name: _credential(folder, name) for name in names}


_Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def _credential(folder: Path, name: str) -> Credential:
    authority = folder / f"{_AUTHORITY}.pem"
    return Credential(certificate=folder / f"{name}.pem", key=folder / f"{name}.key", authority=authority)


def _authority(folder: Path, now: datetime) -> _Authority:
    certificate, key = folder / f"{_AUTHORITY}.pem", folder / f"{_AUTHORITY}.key"
    if not certificate.exists() and not key.exists():
        _write(folder, _AUTHORITY, *_self_signed(now))
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    if not _fresh(found, now):
        _write(folder, _AUTHORITY, *_self_signed(now))
    private = load_pem_private_key(key.read_bytes(), password=None)
    found = x509.load_pem_x509_certificate(certificate.read_bytes())
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != found.public_key():
        raise ValueError
    return found, private


def _serves(certificate: Path, key: Path, authority: x509.Certificate, now: datetime) -> bool:
    """Tell whether the certificate is there, whole, from this authority, and far from its end."""
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        found.verify_directly_issued_by(authority)
        private = load_pem_private_key(key.read_bytes(), password=None)
    except (FileNotFoundError, ValueError, TypeError, InvalidSignature):
        return False
    return private.public_key() == found.public_key() and _fresh(found, now)


def _fresh(certificate: x509.Certificate, now: datetime) -> bool:
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - life / 3


def _self_signed(now: datetime) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("capsule local authority")
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(name, name, key, now, _AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _issued(name: str, authority: _Authority, now: datetime) -> _Authority:
    issuer, issuer_key = authority
    key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName(name)]
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH]
    if name != CLIENT:
        names += [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1")), x509.IPAddress(ip_address("::1"))]
        purposes.append(ExtendedKeyUsageOID.SERVER_AUTH)
    certificate = (
        _builder(_name(name), issuer.subject, key, now, min(_LIFE, issuer.not_valid_after_utc - now))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return certificate, key


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _write(folder: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    # The key goes first: a certificate that does not match its key is made anew at the next start.
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    _replace(folder / f"{name}.key", pem)
    _replace(folder / f"{name}.pem", certificate.public_bytes(Encoding.PEM))


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(f"{path.suffix}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
