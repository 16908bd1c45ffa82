"""``capsule up``: run a deployment, and ``capsule clock``: move its time."""

from __future__ import annotations

import json
import re
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer
from phonenumbers import SUPPORTED_REGIONS

from capsule_core.errors import CapsuleError
from capsule_services.runtime.clock import advance
from capsule_services.runtime.deployment import Options, running
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.room import unwritten
from capsule_services.signals import end_on_signals
from capsule_services.speech import refuse

__all__ = ["clock", "put_ahead", "up"]

clock = typer.Typer(no_args_is_help=True, help="Move the clock of a deployment that runs with --dev.")

_SPAN: Final = re.compile(r"(-?)([0-9]{1,9})([a-z]+)")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def up(
    *,
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the deployment; made if it is new.")],
    dev: Annotated[bool, typer.Option("--dev", help="gRPC reflection, and a clock that can be put ahead.")] = False,
    region: Annotated[str, typer.Option(metavar="CC", help="Where national phone numbers are at home.")] = "GB",
    contacts_port: Annotated[int, typer.Option(help="Port of contacts; 0 is any free one.")] = 0,
    identity_port: Annotated[int, typer.Option(help="Port of identity; 0 is any free one.")] = 0,
    privacy_port: Annotated[int, typer.Option(help="Port of privacy; 0 is any free one.")] = 0,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes for each of identity and contacts; 2 or more need PostgreSQL.")
    ] = 1,
    metrics_port: Annotated[
        int,
        typer.Option(min=0, max=65000, help="First port to serve numbers at, the next process at the next; 0: none."),
    ] = 0,
) -> None:
    """Run the services until Ctrl-C.

    Prints one line of JSON when all of them report SERVING: every address, the CA, the client certificate, and how to
    connect. A service that ends by itself ends them all, with exit code 1; but one of several processes of a service is
    started anew.
    """
    if region.upper() not in SUPPORTED_REGIONS:
        refuse("--region must be a country in two letters (ISO 3166-1), such as DE")
    end_on_signals()
    ports = {"contacts": contacts_port, "identity": identity_port, "privacy": privacy_port}
    options = Options(dev=dev, region=region.upper(), ports=ports, workers=workers)
    try:
        with running(data, options.numbered(metrics_port) if metrics_port else options) as deployment:
            typer.echo(json.dumps(deployment.connection()))
            while (ended := deployment.failed()) is None:
                for name in deployment.replaced():
                    sys.stderr.write(
                        f"capsule: {name} ended by itself and is started anew; see {data}/logs/{name}.log\n"
                    )
                time.sleep(0.2)
            refuse(f"{ended} {deployment.end_of(ended)}; see {data}/logs/{ended}.log", code=1)
    except KeyboardInterrupt:
        return
    except StartRefused as error:
        refuse(str(error))


@clock.command("advance", context_settings={"ignore_unknown_options": True})  # -30d is no option
def put_ahead(
    span: Annotated[str, typer.Argument(metavar="SPAN", help="How far: 90s, 15m, 12h, 30d or 2w.")],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the deployment.")] = Path(),
) -> None:
    """Put the clock of a deployment with --dev ahead; it never goes back. What is due then is swept at once."""
    by = _by(span)
    if not (data / "tls").is_dir():
        refuse(f"{data} is not the folder of a deployment; say --data DIR as for capsule up")
    if not (data / "clock").is_file():
        refuse(f"the deployment in {data} never ran with --dev; its clock cannot be moved")
    try:
        ahead = advance(data / "clock", by)
    except OSError as error:
        refuse(str(unwritten(error, data)))
    except (CapsuleError, StartRefused) as error:
        refuse(str(error))
    typer.echo(f"the clock is {ahead} ahead")


def _by(span: str) -> timedelta:
    """Read how far the clock is to be put ahead."""
    found = _SPAN.fullmatch(span)
    if found is None:
        refuse("SPAN must be a number and a unit: 90s, 15m, 12h, 30d or 2w")
    if found[1]:
        refuse(f"{span} would put the clock back, and it goes forward only; say 90s, 15m, 12h, 30d or 2w")
    if found[3] not in _UNITS:
        refuse(f"{found[3]} is no unit: s, m, h, d and w are, such as in 30d or 2w; a year is 365d")
    try:
        return timedelta(**{_UNITS[found[3]]: int(found[2])})
    except OverflowError:
        refuse(f"{span} leads out of the calendar; say less, such as 30d")
