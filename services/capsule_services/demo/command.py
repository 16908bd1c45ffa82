"""``capsule demo``: play the story."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Annotated

import typer

from capsule_core.errors import CapsuleError
from capsule_services.demo.show import show
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.room import unwritten
from capsule_services.signals import end_on_signals
from capsule_services.speech import AsJson, refuse

__all__ = ["demo"]


def demo(
    *,
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Folder to keep everything in.")] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Play it on PostgreSQL: a server, as a role that may make roles and databases (capsule_... on it).",
        ),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Play the story: sign up, import, work, delete, restore, purge, prove; and check every step.

    Starts contacts, identity and privacy as processes of their own over mutual TLS, in a temporary folder that
    is removed afterwards (or in DIR, which is kept and must be new or empty); summary, exports and receipts stay.
    Exit code 0: all checks held. 1: one failed, and it says which.
    """
    with ExitStack() as stack:
        if data is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="capsule-demo-")))
            artefacts = Path(tempfile.mkdtemp(prefix="capsule-demo-artefacts-"))
        elif data.exists() and (not data.is_dir() or any(data.iterdir())):
            refuse(f"{data} is not an empty folder; the demo needs one of its own")
        else:
            folder, artefacts = data / "deployment", data / "artefacts"
        end_on_signals()
        try:
            held = show(folder, artefacts, as_json=json_, database_url=database_url)
        except (StartRefused, CapsuleError) as error:
            with suppress(OSError):
                artefacts.rmdir()  # only if nothing was put there
            refuse(str(error))
        except OSError as error:
            refuse(str(unwritten(error, folder)))
    raise typer.Exit(0 if held else 1)
