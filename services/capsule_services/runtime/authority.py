"""The local authority in its folder, and how another takes its place without a failed call.

``authority.pem`` may hold several certificates: all of them are trusted, the first one signs. ``authority.key`` is the
key of the one that signs, ``authority-next.key`` of one that is announced. Another authority comes in three steps, and
at each of them everybody trusts whatever certificate anybody else may show:

1. *announce* it: it is trusted beside the old one, and signs nothing;
2. *adopt* it: it signs everybody's certificate anew, and both are trusted;
3. *retire* the old one: the new one alone is trusted.

An authority near its end is followed by another in the same steps, without being asked.
"""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import attrs
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.issuing import Pair, is_fresh, made_authority
from capsule_services.runtime.private import write_private

__all__ = ["AUTHORITY", "Authorities", "Step", "advanced", "load_authorities", "stepped", "store_authorities"]

AUTHORITY: Final = "authority"
"""The stem of its files."""

_NEXT: Final = f"{AUTHORITY}-next.key"
_KNOWN_AFTER: Final = timedelta(days=1)
_HURRY: Final = 6
"""So small a part of its time is left to an authority when the one that was announced takes its place."""


class Step(enum.StrEnum):
    """A step on the way to another authority."""

    ANNOUNCE = "announce"
    ADOPT = "adopt"
    RETIRE = "retire"


@attrs.frozen(kw_only=True)
class Authorities:
    """Whom a deployment trusts: the authority that signs, one that is announced, and those that signed before."""

    signing: Pair
    announced: Pair | None = None
    former: tuple[x509.Certificate, ...] = ()

    @property
    def next_step(self) -> Step | None:
        """What is to be done yet before one authority alone is trusted."""
        if self.announced is not None:
            return Step.ADOPT
        return Step.RETIRE if self.former else None

    def bundle(self) -> bytes:
        """Write the certificates of all that are trusted in PEM, the one that signs first."""
        announced = () if self.announced is None else (self.announced.certificate,)
        return b"".join(
            each.public_bytes(Encoding.PEM) for each in (self.signing.certificate, *announced, *self.former)
        )


def stepped(authorities: Authorities, step: Step, now: datetime) -> Authorities:
    """Take one *step*.

    Raises:
        StartRefused: it is not its turn; the text says what is.
    """
    expected = authorities.next_step or Step.ANNOUNCE
    if step is not expected:
        raise StartRefused(f"it is not the turn of {step}: {_STANDS[authorities.next_step]}; next is {expected}")
    if step is Step.ANNOUNCE:
        return attrs.evolve(authorities, announced=made_authority(now))
    if authorities.announced is None:
        return attrs.evolve(authorities, former=())
    former = (authorities.signing.certificate, *authorities.former)
    return Authorities(signing=authorities.announced, former=former)


_STANDS: Final = {
    None: "one authority is trusted",
    Step.ADOPT: "a new authority is announced and signs nothing yet",
    Step.RETIRE: "a former authority is trusted yet",
}


def advanced(authorities: Authorities, now: datetime) -> Authorities:
    """Do what time asks for: drop who has ended, announce who follows, adopt who was announced a day before at least.

    An authority that has ended already is followed at once: nobody believes it any more.
    """
    former = tuple(each for each in authorities.former if now < each.not_valid_after_utc)
    kept, signing = attrs.evolve(authorities, former=former), authorities.signing.certificate
    has_ended = not signing.not_valid_before_utc <= now < signing.not_valid_after_utc
    if kept.announced is None and not is_fresh(signing, now):
        kept = attrs.evolve(kept, announced=made_authority(now))
    if kept.announced is not None and (has_ended or (not is_fresh(signing, now, left=_HURRY) and _is_known(kept, now))):
        return stepped(kept, Step.ADOPT, now)
    return kept


def load_authorities(folder: Path, now: datetime) -> Authorities:
    """Read who is trusted from *folder*, or make the first authority.

    Raises:
        OSError: a file cannot be read.
        ValueError: the files are damaged, or do not belong together.
    """
    certificate, key = folder / f"{AUTHORITY}.pem", folder / f"{AUTHORITY}.key"
    if not certificate.exists() and not key.exists():
        return Authorities(signing=made_authority(now))
    if not certificate.exists():
        raise ValueError
    trusted = x509.load_pem_x509_certificates(certificate.read_bytes())
    signing, announced = _pair(key, trusted), _pair(folder / _NEXT, trusted)
    if signing is None:
        raise ValueError
    if announced == signing:
        announced = None
    known = {signing.certificate, announced and announced.certificate}
    former = tuple(each for each in trusted if each not in known)
    return Authorities(signing=signing, announced=announced, former=former)


def store_authorities(folder: Path, authorities: Authorities) -> None:
    """Write who is trusted to *folder*, so that a crash on the way leaves one step or the other."""
    # Whatever key is there, its certificate is trusted.
    if authorities.announced is not None:
        _write(folder / _NEXT, authorities.announced.pems()[1])
    _write(folder / f"{AUTHORITY}.pem", authorities.bundle())
    _write(folder / f"{AUTHORITY}.key", authorities.signing.pems()[1])
    if authorities.announced is None:
        (folder / _NEXT).unlink(missing_ok=True)


def _is_known(authorities: Authorities, now: datetime) -> bool:
    announced = authorities.announced
    return announced is not None and announced.certificate.not_valid_before_utc + _KNOWN_AFTER <= now


def _pair(key: Path, trusted: list[x509.Certificate]) -> Pair | None:
    if not key.exists():
        return None
    private = load_pem_private_key(key.read_bytes(), password=None)
    found = next((each for each in trusted if each.public_key() == private.public_key()), None)
    if found is None or not isinstance(private, ec.EllipticCurvePrivateKey):
        return None
    return Pair(found, private)


def _write(path: Path, content: bytes) -> None:
    if not path.exists() or path.read_bytes() != content:
        write_private(path, content)
