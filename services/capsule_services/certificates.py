"""``capsule certificates``: make them, renew them, replace who signs them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from capsule_services.runtime.authority import Step
from capsule_services.runtime.certificates import next_step, prepared, take_step
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.handing import hand_out
from capsule_services.runtime.layout import ORDER
from capsule_services.speech import refuse

__all__ = ["certificates"]


def certificates(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder whose tls/ has the authority.")],
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DIR", help="Hand out to a folder for each service.")
    ] = None,
    authority: Annotated[
        Step | None,
        typer.Option(
            "--authority",
            metavar="STEP",
            help="Replace the authority: announce a new one, let everybody adopt it, retire the old one.",
        ),
    ] = None,
) -> None:
    """Make the local authority and everybody's certificates, or renew what is near its end, without starting anything.

    With --to each service gets a folder with its own certificate and key and the authority's certificate alone. With
    --authority STEP a new authority takes the place of the old one without a failed call, in three steps: announce
    (both are trusted), adopt (the new one signs everybody's certificate), retire (the new one alone is trusted). Before
    the next step everybody must have what the last one made.
    """
    try:
        now, tls = wall_time(), data / "tls"
        if authority is not None:
            take_step(tls, authority, now=now)
        made, following = prepared(tls, ORDER, now=now), next_step(tls, now=now)
        if to is not None:
            hand_out(made, to)
    except StartRefused as error:
        refuse(str(error))
    typer.echo(f"certificates are in {to or tls}")
    if following is not None:
        typer.echo(f"two authorities are trusted; when everybody has these: --authority {following}")
