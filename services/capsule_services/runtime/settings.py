"""What a service is told by its environment, and nothing by anything else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from phonenumbers import SUPPORTED_REGIONS

from capsule_services.runtime.certificates import Credential
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.lightly import without

with without("boto3"):  # for a store of secrets that is not asked: a quarter of a start
    import environ
    from environ.exceptions import ConfigError, MissingEnvValueError

__all__ = ["Settings", "environment", "settings_from"]

_NUMBER: Final = re.compile(r"[0-9]{1,9}")
_SECONDS: Final = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")
_ADDRESS: Final = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})")


def _address(text: str) -> str:
    found = _ADDRESS.fullmatch(text)
    if found is None or int(found[2]) > 65535:
        raise StartRefused("CAPSULE_LISTEN must be HOST:PORT, such as 127.0.0.1:0 for any free port")
    return text


def _region(text: str) -> str:
    if text not in SUPPORTED_REGIONS:
        raise StartRefused("CAPSULE_PHONE_REGION must be a country in two capital letters (ISO 3166-1), such as DE")
    return text


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _number(text: str | None) -> int | None:
    if not text:
        return None
    if _NUMBER.fullmatch(text):
        return int(text)
    raise StartRefused("CAPSULE_PARENT and CAPSULE_METRICS must be whole numbers")


def _count(text: str) -> int:
    if _NUMBER.fullmatch(text) and int(text):
        return int(text)
    raise StartRefused("CAPSULE_RATE and CAPSULE_BURST must be whole numbers of calls, at least 1")


def _workers(text: str) -> int:
    if _NUMBER.fullmatch(text) and int(text):
        return int(text)
    raise StartRefused("CAPSULE_WORKERS must be a whole number of processes, at least 1")


def _ranges(text: str) -> int:
    if _NUMBER.fullmatch(text) and 1 <= int(text) <= 4096:
        return int(text)
    raise StartRefused("CAPSULE_SWEEP_RANGES and CAPSULE_SWEEP_AT_ONCE must be whole numbers from 1 to 4096")


def _minutes(text: str) -> float:
    if _SECONDS.fullmatch(text) and float(text):
        return float(text)
    raise StartRefused("CAPSULE_SWEEP_EVERY must be a number of minutes above 0, such as 1, or 1440 for each night")


def _hours(text: str) -> float:
    if _SECONDS.fullmatch(text) and float(text):
        return float(text)
    raise StartRefused("CAPSULE_CLOCK_JUMP and CAPSULE_ENGINE_HISTORY must be numbers of hours above 0, such as 25")


def _seconds(text: str) -> float:
    if _SECONDS.fullmatch(text):
        return float(text)
    raise StartRefused("CAPSULE_DRAIN must be a number of seconds from 0 on, such as 0.5")


@environ.config(prefix="CAPSULE", frozen=True)
class Settings:
    """The settings of one service; each is the variable of its name in capitals behind ``CAPSULE_``."""

    data: Path = environ.var(converter=Path, help="folder of the service's files")
    certificate: Path = environ.var(converter=Path, help="certificate of the service, PEM")
    key: Path = environ.var(converter=Path, help="key of that certificate, PEM")
    authority: Path = environ.var(converter=Path, help="certificate of the authority that everybody trusts, PEM")
    addresses: Path = environ.var(converter=Path, help="folder in which each running service writes its address")
    database: Path | None = environ.var(
        None,
        converter=_path,
        help="file with the URL of the PostgreSQL database; without it SQLite files in the folder",
    )
    engine: Path | None = environ.var(
        None,
        converter=_path,
        help="file with the URL of the PostgreSQL database of the durable engine; without it a file in the folder, and "
        "of several processes one does the sweeps",
    )
    keystore: str | None = environ.var(
        None, help="https://HOST:PORT/MOUNT of an OpenBao or Vault that keeps the page keys; without it a file"
    )
    keystore_token: Path | None = environ.var(
        None, converter=_path, help="file with the token for it, or in two lines role and secret of an AppRole"
    )
    keystore_authority: Path | None = environ.var(
        None, converter=_path, help="certificate that it is checked with, PEM; without it the system's"
    )
    journal_place: str | None = environ.var(
        None,
        help="folder, or s3://BUCKET/PREFIX, that keeps the journal too, sealed; what is not there is not "
        "acknowledged; without it the journal is in the service's folder and on its mirror alone",
    )
    listen: str = environ.var("127.0.0.1:0", converter=_address, help="HOST:PORT to listen at; port 0 is any free one")
    dev: bool = environ.bool_var(default=False, help="reflection, and a clock that can be put ahead")
    clock: Path | None = environ.var(None, converter=_path, help="file of the clock's offset, read with dev only")
    parent: int | None = environ.var(
        None, converter=_number, help="inherited descriptor; the service ends when it closes"
    )
    metrics: int | None = environ.var(None, converter=_number, help="port of the loopback to serve metrics at")
    rate: int = environ.var("200", converter=_count, help="calls a second that each tenant may make for long")
    burst: int = environ.var("400", converter=_count, help="calls that each tenant may make at once after a pause")
    workers: int = environ.var(
        "1", converter=_workers, help="processes that share the folder and the port; more than one needs PostgreSQL"
    )
    sweep_every: float = environ.var("1", converter=_minutes, help="minutes from one look at what is due to the next")
    sweep_ranges: int = environ.var(
        "64", converter=_ranges, help="ranges that the tenants are swept in, each a work of its own, at most 4096"
    )
    sweep_at_once: int = environ.var("4", converter=_ranges, help="ranges that one process sweeps at the same time")
    clock_jump: float = environ.var(
        "25", converter=_hours, help="hours that the clock may jump ahead, unexplained, before sweeps ask about it"
    )
    engine_history: float = environ.var(
        "168", converter=_hours, help="hours for which the engine remembers what has ended"
    )
    drain: float = environ.var(
        "0.5", converter=_seconds, help="seconds to go on answering after saying that the service ends"
    )
    phone_region: str = environ.var("GB", converter=_region, help="country of phone numbers without a country code")

    @property
    def credential(self) -> Credential:
        return Credential(certificate=self.certificate, key=self.key, authority=self.authority)

    @property
    def offset_file(self) -> Path | None:
        return self.clock if self.dev else None


def settings_from(variables: Mapping[str, str]) -> Settings:
    """Read the settings from environment *variables*.

    Raises:
        StartRefused: one is missing or malformed, or does not go with another.
    """
    try:
        settings: Settings = environ.to_config(Settings, dict(variables))
    except MissingEnvValueError as error:
        raise StartRefused(f"set {', '.join(map(str, error.args))}: the service cannot start without") from None
    except ConfigError:
        raise StartRefused("the settings cannot be read; see the reference of the CAPSULE_ variables") from None
    if settings.workers > 1 and settings.database is None:
        raise StartRefused("CAPSULE_WORKERS above 1 needs PostgreSQL: run capsule db init, and set CAPSULE_DATABASE")
    return settings


def environment(credential: Credential, **values: str | float | bool | Path) -> dict[str, str]:
    """Write the variables that :func:`settings_from` reads; *values* are named as the settings are.

    gRPC itself is told to be quiet: its own log knows the addresses of callers.
    """
    files = {"certificate": credential.certificate, "key": credential.key, "authority": credential.authority}
    written = {f"CAPSULE_{name.upper()}": str(value) for name, value in {**files, **values}.items()}
    return {**written, "GRPC_VERBOSITY": "NONE"}
