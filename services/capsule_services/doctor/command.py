"""``capsule doctor``: look at a deployment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from capsule_services.doctor.examine import as_json, as_table, examine
from capsule_services.doctor.findings import exit_code
from capsule_services.doctor.place import Place
from capsule_services.speech import AsJson, tell

__all__ = ["doctor"]


def doctor(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the deployment.")],
    json_: AsJson = False,
) -> None:
    """Look at a deployment, running or stopped, and say what to mend. Nothing is changed.

    Exit code 0: all is well. 1: something is to be mended. 2: something could not be looked at.
    """
    findings = examine(Place(folder=data))
    if json_:
        typer.echo(json.dumps(as_json(findings), indent=2))
    else:
        tell(as_table(findings))
    raise typer.Exit(exit_code(findings))
