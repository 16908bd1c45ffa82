"""What can be reached: certificates that hold for a while yet, and services that answer and say SERVING."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from grpc_health.v1 import health_pb2

from capsule_services.doctor.findings import Finding, good, mend, note, unseen
from capsule_services.doctor.place import Place
from capsule_services.runtime.begun import BEGUN
from capsule_services.runtime.certificates import CLIENT, Credential
from capsule_services.runtime.channels import open_channel

__all__ = ["certificates", "health"]

_PATIENCE: Final = 5.0
_NOBODY: Final = "nobody answers at"
_RENEW: Final = "start the deployment anew: it renews what has less than a third of its time left"


def certificates(place: Place) -> Iterator[Finding]:
    """Every certificate is from the authority beside it, fits its key, and is not near its end."""
    authority = place.tls / "authority.pem"
    if not place.tls.is_dir() and (place.folder / BEGUN).exists():
        do = "put it back; or start: it makes a new authority, and then give everybody who calls the new client.pem"
        yield mend("certificates", "tls/ is missing, and certificates were issued from it", do)
        return
    if not place.tls.is_dir():
        yield note("certificates", "they are not kept here", "watch capsule_certificate_seconds of each service")
        return
    try:
        issuer, *others = x509.load_pem_x509_certificates(authority.read_bytes())
    except (OSError, ValueError):
        yield mend(
            "certificates",
            "tls/authority.pem is missing or damaged",
            "put it back, or move tls/ away: a start makes a new one",
        )
        return
    if others:
        yield note("authorities", f"{1 + len(others)} are trusted", "take the next step of capsule certificates")
    for file in sorted(place.tls.glob("*.pem")):
        yield _holds(place, file, issuer)


def _holds(place: Place, file: Path, issuer: x509.Certificate) -> Finding:
    what = f"certificate of {file.stem}"
    try:
        found = x509.load_pem_x509_certificate(file.read_bytes())
        found.verify_directly_issued_by(issuer)
        key = load_pem_private_key(file.with_suffix(".key").read_bytes(), password=None)
    except (OSError, ValueError, TypeError, InvalidSignature):
        return mend(what, "it is damaged, has no key, or is from another authority", _RENEW)
    if key.public_key() != found.public_key():
        return mend(what, "it does not fit its key", _RENEW)
    left, life = found.not_valid_after_utc - place.wall(), found.not_valid_after_utc - found.not_valid_before_utc
    days = left / timedelta(days=1)
    if left < timedelta():
        return mend(what, f"it ended {-days:.0f} days ago", _RENEW)
    if left < life / 3:
        return mend(what, f"{days:.0f} days left", _RENEW)
    return good(what, f"{days:.0f} days left")


def health(place: Place) -> Iterator[Finding]:
    """Whoever has said where they listen can be reached there, and says SERVING."""
    running = [each.service for each in place.services if place.runs(each.service)]
    if not running:
        yield good("health", "stopped")
        return
    asked = {service: _asked(place, f"health of {service}", service) for service in running}
    yield from asked.values()
    crashed = all(finding.found.startswith(_NOBODY) for finding in asked.values())
    for service in (each.service for each in place.services if each.service not in asked):
        what = f"health of {service}"
        if crashed:  # whoever ran has left an address behind
            yield good(what, "stopped")
        else:
            yield mend(what, "stopped, while others run", f"see logs/{service}.log, and start it again")


def _asked(place: Place, what: str, service: str) -> Finding:
    paths = {name: place.tls / f"{stem}" for name, stem in _files().items()}
    if not all(path.exists() for path in paths.values()):
        return unseen(what, "there is no certificate to ask with", "run the doctor where tls/ is")
    address = (place.addresses / service).read_text(encoding="ascii").strip()
    request = health_pb2.HealthCheckRequest()
    try:
        with open_channel(address, service=service, credential=Credential(**paths)) as channel:
            said = _check(channel)(request, timeout=_PATIENCE).status
    except grpc.RpcError:
        do = f"see logs/{service}.log, and start it again; if nothing runs there, remove addresses/{service}"
        return mend(what, f"{_NOBODY} {address}", do)
    if said == health_pb2.HealthCheckResponse.SERVING:
        return good(what, f"SERVING at {address}")
    return mend(what, f"NOT_SERVING at {address}", f"see logs/{service}.log: it says what stands in the way")


def _check(channel: grpc.Channel) -> Any:
    request, response = health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
    return channel.unary_unary("/grpc.health.v1.Health/Check", request.SerializeToString, response.FromString)


def _files() -> dict[str, str]:
    return {"certificate": f"{CLIENT}.pem", "key": f"{CLIENT}.key", "authority": "authority.pem"}
