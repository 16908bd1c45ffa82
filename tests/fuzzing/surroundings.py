"""What operators and their machines give: the environment, files of keys and certificates, a clock, addresses."""

from __future__ import annotations

import atexit
import json
import tempfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Final

from capsule_core.errors import InvalidField, SealBroken, Unavailable
from capsule_core.wrapping import WRAPPED_BYTES, Row
from capsule_services.identity.keychain import load_keys, load_or_create_keys
from capsule_services.identity.signing import SigningKey, SigningKeys
from capsule_services.runtime.authority import load_authorities
from capsule_services.runtime.certificates import prepared
from capsule_services.runtime.channels import address_of, publish_address
from capsule_services.runtime.clock import Clock, advance
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.openbao.address import address_from
from capsule_services.runtime.openbao.shards import Head, decode_seals, encode_seals, rows_in, rows_of
from capsule_services.runtime.settings import settings_from
from capsule_services.runtime.tracing import tracing_from
from capsule_sql.failures import DamagedKey
from capsule_sql.root_key import load_or_create_root_key
from tests.fuzzing.target import Drawn, Target

__all__ = ["TARGETS"]

NOW: Final = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
NEEDED: Final = {
    f"CAPSULE_{name}": f"/{name.lower()}" for name in ("DATA", "CERTIFICATE", "KEY", "AUTHORITY", "ADDRESSES")
}


def _variables(data: bytes) -> dict[str, str]:
    lines = Drawn(data.replace(b"\0", b"")).text().split("\n")
    return dict(line.split("=", 1) for line in lines if "=" in line)


def _settings(data: bytes) -> None:
    variables = {**NEEDED, **_variables(data)}
    settings = settings_from(variables)
    assert settings_from(variables) == settings
    address = address_from(variables)
    if address is not None:
        assert f"https://{address.url.removeprefix('https://')}" == address.url
    if variables.get("OTEL_TRACES_EXPORTER") != "otlp":
        tracing_from(variables, "contacts").close()


@cache
def _folder() -> Path:
    """A folder of this process's own, which a process that was forked off before does not share."""
    kept = tempfile.TemporaryDirectory()
    atexit.register(kept.cleanup)
    return Path(kept.name)


def _clock(data: bytes) -> None:
    file = _folder() / "clock"
    file.write_bytes(data)
    before = Clock(file).now()
    assert before.tzinfo is UTC
    advance(file, timedelta(seconds=1))
    assert Clock(file).now() > before


def _address(data: bytes) -> None:
    (_folder() / "contacts").write_bytes(data)
    address = address_of(_folder(), "contacts")
    publish_address(_folder(), "contacts", address)
    assert address_of(_folder(), "contacts") == address


def _root_key(data: bytes) -> None:
    file = _folder() / "root.key"
    file.write_bytes(data)
    assert load_or_create_root_key(file) == data


def _signing_keys(data: bytes) -> None:
    file = _folder() / "tokens.key"
    file.write_bytes(data)
    keys = load_keys(file)
    assert load_or_create_keys(file, NOW) == keys
    assert SigningKeys.from_bytes(keys.to_bytes()) == keys
    assert keys.signing(NOW) in keys.believed(NOW)


_FILES: Final = ("authority.pem", "authority.key", "authority-next.key", "contacts.pem", "contacts.key")


@cache
def _certificates() -> Mapping[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        prepared(Path(folder), ["contacts"], now=NOW)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir() if path.suffix in {".pem", ".key"}}


def _damaged(data: bytes) -> None:
    """A damaged file is made anew where that harms nobody, and is refused where somebody trusts what it was."""
    drawn = Drawn(data)
    name = _FILES[drawn.number(len(_FILES))]
    folder = _folder() / "tls"
    folder.mkdir(exist_ok=True)
    for file, content in _certificates().items():
        (folder / file).write_bytes(content)
    (folder / "authority-next.key").unlink(missing_ok=True)
    (folder / name).write_bytes(drawn.left)
    made = prepared(folder, ["contacts"], now=NOW)
    again = {path: path.read_bytes() for each in made.values() for path in (each.certificate, each.key, each.authority)}
    prepared(folder, ["contacts"], now=NOW)
    assert {path: path.read_bytes() for path in again} == again


OWNER: Final = bytes(16)
ROWS: Final = {page: Row(OWNER, page, bytes([page] * 8), bytes([page] * WRAPPED_BYTES)) for page in (1, 7, 250)}


def _secret(data: bytes) -> None:
    """What a secrets engine answers is JSON, whatever is in it."""
    told = json.loads(data)
    if not isinstance(told, dict):
        raise SealBroken("page key")
    taken = 0
    for read in (_head, _rows, _seals):
        try:
            read(told)
        except SealBroken as error:
            refused = error
        else:
            taken += 1
    if not taken:
        raise refused


def _head(told: Mapping[str, object]) -> None:
    head = Head.of(OWNER, 3, told)
    assert Head.of(OWNER, 3, json.loads(json.dumps(head.data()))) == head


def _rows(told: Mapping[str, object]) -> None:
    rows = rows_of(OWNER, told)
    assert rows_of(OWNER, rows_in(rows)) == rows


def _seals(told: Mapping[str, object]) -> None:
    seals = decode_seals(told)
    assert decode_seals(encode_seals(seals)) == seals


def _secrets() -> Iterator[bytes]:
    head = Head(owner=OWNER, version=3, root=bytes(8), rows=ROWS, done=("a",))
    for each in (
        head,
        head.closed(Row(OWNER, 0, bytes(8), bytes(WRAPPED_BYTES)), root=bytes(8), change="b"),
        head.changed([Row(OWNER, 600, bytes(8), bytes(WRAPPED_BYTES))], root=bytes(8), change="c"),
    ):
        yield json.dumps(dict(each.data())).encode()
    yield json.dumps(dict(encode_seals([b"one", b"two"]))).encode()
    yield b"{}"


def _keys() -> Iterator[bytes]:
    keys = SigningKeys((SigningKey.from_seed(bytes(32), NOW),))
    yield keys.to_bytes()
    yield keys.rotated(SigningKey.from_seed(bytes(range(32)), NOW), NOW).to_bytes()
    yield bytes(32)
    yield keys.to_bytes().replace(b"2026-05-04T09:30:00+00:00", b"0001-01-01T00:00:00+23:59")


TARGETS: Final = (
    Target(
        name="settings",
        take=_settings,
        parsers=(settings_from, address_from, tracing_from),
        samples=lambda: [
            b"CAPSULE_LISTEN=[::1]:0\nCAPSULE_DEV=1\nCAPSULE_METRICS=9\nCAPSULE_RATE=10\nCAPSULE_DRAIN=0.5",
            b"CAPSULE_PHONE_REGION=DE\nCAPSULE_WORKERS=2\nCAPSULE_PARENT=7\nCAPSULE_DATABASE=/x",
            b"CAPSULE_KEYSTORE=https://[::1]:8200/secret/a\nCAPSULE_KEYSTORE_TOKEN=/t\nOTEL_TRACES_EXPORTER=none",
            b"CAPSULE_RATE=" + b"9" * 5000,
            b"CAPSULE_METRICS=" + b"1" * 5000,
        ],
        raises=(StartRefused,),
        longest=8192,
        runs=500,
    ),
    Target(
        name="clock-file",
        take=_clock,
        parsers=(Clock.now, advance),
        samples=lambda: [b"0\n", b"2592000000000\n", b"-5", b"9" * 30, b"1_0", b"\xff", "٣".encode(), b""],
        raises=(StartRefused, InvalidField),
        runs=500,
    ),
    Target(
        name="address-file",
        take=_address,
        parsers=(address_of,),
        samples=lambda: [b"127.0.0.1:4000\n", b"\xff", b""],
        raises=(Unavailable,),
        runs=500,
    ),
    Target(
        name="root-key-file",
        take=_root_key,
        parsers=(load_or_create_root_key,),
        samples=lambda: [bytes(32), bytes(31), b""],
        raises=(DamagedKey,),
        runs=500,
    ),
    Target(
        name="signing-keys-file",
        take=_signing_keys,
        parsers=(SigningKeys.from_bytes, load_keys, load_or_create_keys),
        samples=_keys,
        raises=(StartRefused,),
        runs=500,
    ),
    Target(
        name="certificate-file",
        take=_damaged,
        parsers=(prepared, load_authorities),
        samples=lambda: [bytes([place]) + _certificates().get(name, b"") for place, name in enumerate(_FILES)],
        raises=(StartRefused,),
        runs=150,
    ),
    Target(
        name="keystore-secret",
        take=_secret,
        parsers=(Head.of, rows_of, decode_seals),
        samples=_secrets,
        raises=(SealBroken, ValueError, RecursionError),  # what is no JSON is refused before it gets there
        runs=500,
    ),
)
