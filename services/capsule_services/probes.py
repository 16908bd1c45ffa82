"""``capsule probe``: ask a service whether it is ready."""

from __future__ import annotations

from http.client import HTTPConnection
from typing import Annotated, Final

import typer

__all__ = ["probe"]

_PATIENCE: Final = 5.0


def probe(
    port: Annotated[
        int, typer.Argument(metavar="PORT", help="Where the service serves its metrics (CAPSULE_METRICS).")
    ],
    live: Annotated[bool, typer.Option("--live", help="Ask whether it is alive at all.")] = False,
) -> None:
    """Ask a service on this machine whether it is ready: for the probes of containers, which need no shell for it.

    Exit code 0: it is. 1: it is not, or does not answer.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=_PATIENCE)
    try:
        connection.request("GET", "/livez" if live else "/readyz")
        well = connection.getresponse().status == 200
    except OSError:
        well = False
    finally:
        connection.close()
    raise typer.Exit(0 if well else 1)
