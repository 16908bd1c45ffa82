"""``capsule tenants``: which accounts are closed, what goes when, what stands in the way, and what is kept on a ground.

The running services are asked, with the certificate of one of them: whoever may read the folder runs the deployment.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import uuid4

import typer
from rich.table import Column, Table

from capsule_core.closing import Ground
from capsule_core.errors import CapsuleError, InvalidField, ResourceMissing, TenantClosed, Unavailable
from capsule_core.names import record_id, tenant_id
from capsule_core.obstacles import Obstacle
from capsule_core.records import Mark
from capsule_services.progress import bar
from capsule_services.runtime.certificates import credential_of
from capsule_services.runtime.channels import Peers
from capsule_services.runtime.clock import Clock
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.holders.closings import Closed, Kept, closings_at, retained
from capsule_services.runtime.layout import ORDER
from capsule_services.speech import AsJson, refuse, tell

__all__ = ["retain", "show", "tenants"]

tenants = typer.Typer(
    no_args_is_help=True, help="Say which accounts are closed and what stands in the way; keep some of one on a ground."
)

_AS: Final = "identity"
"""Whose certificate is shown."""
_GROUNDS: Final = ", ".join(each.value for each in Ground)
_NAMES: Final = {Mark.HELD: "hold", Mark.OBLIGED: "obligation", Mark.RESTRICTED: "restriction"}
_ENDS: Final = {Mark.HELD: "released", Mark.OBLIGED: "discharged", Mark.RESTRICTED: "lifted"}

_Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the running deployment.")]


@tenants.command("list")
def show(*, data: _Data, json_: AsJson = False) -> None:
    """List the accounts that are closed: until when each can be reopened, when its data goes, what keeps some of it.

    In the way are holds (until they are released), obligations (until they are discharged) and restrictions (until they
    are lifted), each on so many records or on all that the tenant has; and the grounds on which the account holder's
    own data is kept, each until its end. An account is listed as long as a service has anything of it. Nothing is
    changed.

    Exit code 0: they are listed. 2: refused, or a service does not run.
    """
    with _asking(data) as peers, bar("asking the services") as progress:
        found: dict[str, list[Closed]] = {}
        for number, service in enumerate(ORDER, start=1):
            for each in _answered(data, service, closings_at(peers, service)):
                found.setdefault(each.tenant, []).append(each)
            progress(number, len(ORDER))
    now = Clock(data / "clock").now()
    lines = sorted(found.values(), key=lambda told: (told[0].closed, told[0].tenant))
    if json_:
        typer.echo(json.dumps([_line(told, now) for told in lines], indent=2))
        return
    if not lines:
        typer.echo("no account is closed")
        return
    account, way = Column("account", no_wrap=True), Column("in the way", overflow="fold")
    table = Table(account, way, title="Closed accounts", show_lines=True)
    for told in lines:
        table.add_row(_account(told, now), "\n".join(_in_the_way(told, now)) or "nothing")
    tell(table)


@tenants.command()
def retain(
    tenant: Annotated[str, typer.Argument(metavar="TENANT", help="Which account; closed now, or it was.")],
    ground: Annotated[str, typer.Argument(metavar="GROUND", help=f"Why: {_GROUNDS}.")],
    *,
    until: Annotated[
        str, typer.Option("--until", metavar="TIME", help="When the ground ends: 2028-01-31, or with a time and zone.")
    ],
    data: _Data,
    user: Annotated[
        str, typer.Option("--user", metavar="USER", help="Keep this user's data alone, not all of the account's.")
    ] = "",
    json_: AsJson = False,
) -> None:
    """Keep an account holder's own data for longer than twelve months after closing, on one of eight grounds.

    There is no ground without an end; a day means its beginning in UTC. The same ground of the same user again gets the
    new end. Customer data is kept by no ground. Prints all grounds that are on record of the account.

    Exit code 0: it is on record. 2: refused; nothing is changed.
    """
    wanted, end = _ground(ground), _moment(until)
    if end <= Clock(data / "clock").now():
        refuse(f"--until must lie ahead; {until} is over, and a ground that is over keeps nothing")
    name, whose = _id("TENANT", tenant.removeprefix("tenants/")), _id("--user", user.rpartition("/")[2]) if user else ""
    with _asking(data) as peers:
        try:
            kept = retained(peers, name, wanted, until=end, user=whose, request_id=str(uuid4()))
        except (ResourceMissing, TenantClosed) as error:
            gone = isinstance(error, TenantClosed)
            refuse(f"{name} {'is closed for good, and nothing of it is left' if gone else 'never was closed'}")
        except Unavailable:
            refuse(_silent(data, "identity"))
    if json_:
        typer.echo(json.dumps([_told(each) for each in kept], indent=2))
        return
    table = Table("ground", "until", "keeps", title=f"On record of {name}")
    for each in kept:
        table.add_row(each.ground, _minute(each.until), _whose(each))
    tell(table)


def _account(told: list[Closed], now: datetime) -> str:
    one = told[0]
    return f"""{one.tenant}
closed {_minute(one.closed)}
customer data goes {_minute(one.reopen_until)}
account goes by {_minute(one.account_until)}
now: {_state(told, now)}"""


def _in_the_way(told: list[Closed], now: datetime) -> list[str]:
    held = [f"{each.service}: {_sentence(obstacle)}" for each in told for obstacle in each.obstacles]
    return held + [f"ground {kept.ground} until {_minute(kept.until)}, {_whose(kept)}" for kept in _standing(told, now)]


def _sentence(obstacle: Obstacle) -> str:
    name, ends = _NAMES[obstacle.mark], _ENDS[obstacle.mark]
    if obstacle.since is not None:
        return f"{name} on all of it since {_minute(obstacle.since)}, until {ends}"
    return f"{name} on {obstacle.records} record{'' if obstacle.records == 1 else 's'}, until {ends}"


def _state(told: list[Closed], now: datetime) -> str:
    begun = [each.service for each in told if each.begun is not None]
    if begun:
        return f"being destroyed; left at {', '.join(each.service for each in told)}"
    return "can be reopened" if now < told[0].reopen_until else "due"


def _standing(told: list[Closed], now: datetime) -> list[Kept]:
    return [kept for each in told for kept in each.grounds if now < kept.until]


def _whose(kept: Kept) -> str:
    return f"user {kept.user}" if kept.user else "all of the account's data"


def _line(told: list[Closed], now: datetime) -> dict[str, Any]:
    one = told[0]
    return {
        "tenant": one.tenant,
        "closed": _exact(one.closed),
        "reopen_until": _exact(one.reopen_until),
        "account_until": _exact(one.account_until),
        "begun": {each.service: _exact(each.begun) for each in told if each.begun is not None},
        "left_at": [each.service for each in told],
        "obstacles": [_obstacle(each.service, obstacle) for each in told for obstacle in each.obstacles],
        "grounds": [_told(kept) for kept in _standing(told, now)],
    }


def _obstacle(service: str, obstacle: Obstacle) -> dict[str, Any]:
    what: dict[str, Any] = {"service": service, "kind": _NAMES[obstacle.mark], "until": _ENDS[obstacle.mark]}
    if obstacle.since is not None:
        return {**what, "on": "tenant", "since": _exact(obstacle.since)}
    return {**what, "on": "records", "records": obstacle.records}


def _told(kept: Kept) -> dict[str, str | None]:
    return {"ground": kept.ground, "until": _exact(kept.until), "user": kept.user or None}


def _ground(text: str) -> Ground:
    try:
        return Ground(text.strip().lower().replace("-", "_"))
    except ValueError:
        refuse(f"{text} is no ground; one of: {_GROUNDS}")


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        refuse(f"--until must be a day like 2028-01-31, or a time like 2028-01-31T12:00:00Z, not {text}")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _id(what: str, text: str) -> str:
    try:
        return record_id(text) if what == "--user" else tenant_id(text)
    except InvalidField as error:
        refuse(f"{what} {error.problem}")


@contextmanager
def _asking(data: Path) -> Generator[Peers]:
    if not (data / "tls").is_dir():
        refuse(f"{data} is not the folder of a deployment; say --data DIR as for capsule up")
    peers = Peers(data / "addresses", credential_of(data / "tls", _AS))
    try:
        yield peers
    except (CapsuleError, StartRefused, OSError) as error:
        refuse(str(error))
    finally:
        peers.close()


def _answered(data: Path, service: str, closings: Iterable[Closed]) -> list[Closed]:
    try:
        return list(closings)
    except Unavailable:
        refuse(_silent(data, service))


def _silent(data: Path, service: str) -> str:
    return f"{service} does not answer; start it: capsule up --data {data}"


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _exact(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
