"""What ``capsule`` can do. A command is imported when it is run: none waits for what only the others need."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any, Final

import attrs
import typer
from typer.core import TyperCommand, TyperGroup

from capsule_services.paragraphs import flow
from capsule_services.release import release

__all__ = ["COMMANDS", "ByName", "Line", "app", "begin", "loaded"]


@attrs.frozen
class Line:
    """A command in the list of them: what it does, and the *attribute* of the *module* that does it."""

    told: str
    module: str
    attribute: str


COMMANDS: Final = {
    "demo": Line(
        "Play the story: sign up, import, work, delete, restore, purge, prove; and check every step.",
        "demo.command",
        "demo",
    ),
    "up": Line("Run the services until Ctrl-C.", "deployments", "up"),
    "verify": Line(
        "Check a receipt of an erasure, offline: that it was signed, committed to the ledger, and not altered since.",
        "receipts",
        "check",
    ),
    "doctor": Line(
        "Look at a deployment, running or stopped, and say what to mend. Nothing is changed.",
        "doctor.command",
        "doctor",
    ),
    "certificates": Line(
        "Make the local authority and everybody's certificates, or renew what is near its end, without starting "
        "anything.",
        "certificates",
        "certificates",
    ),
    "probe": Line(
        "Ask a service on this machine whether it is ready: for the probes of containers, which need no shell for it.",
        "probes",
        "probe",
    ),
    "sweep": Line(
        "Destroy what has been in the trash for its time now, rather than within the minute; or say what would go.",
        "sweeps",
        "sweep",
    ),
    "clock": Line("Move the clock of a deployment that runs with --dev.", "deployments", "clock"),
    "db": Line("Keep records and logs in PostgreSQL instead of files.", "databases", "db"),
    "backup": Line("Back a deployment up, and restore it.", "backups", "backup"),
    "ledger": Line("Compare the logs of a deployment with what was signed outside it.", "ledgers", "ledger"),
    "keys": Line("Rotate and withdraw keys: those of user tokens, and the root key.", "keys", "keys"),
    "retention": Line(
        "Say how long a tenant keeps what, what goes next, and why somebody is still here.", "retention", "retention"
    ),
    "lists": Line("Save who was not needed for long, review them, and export or trash just those.", "lists", "lists"),
    "tenants": Line(
        "Say which accounts are closed and what stands in the way; keep some of one on a ground.", "tenants", "tenants"
    ),
}
"""Every command, by the word one types."""


class ByName(TyperGroup):
    """Lists commands without importing one of them; imports the one that is run."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {name: TyperCommand(name, help=line.told) for name, line in COMMANDS.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        return name, found and loaded(str(found.name)), rest


app = typer.Typer(
    cls=ByName,
    name="capsule",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="""Keep other people's contact data, and keep the promises that come with it.

[bold]Begin here[/bold]

  capsule demo                      play the whole story on this machine, and check it
  capsule up --data DIR --dev       run the services and say how to connect
  capsule verify RECEIPT --key KEY  check a receipt, offline
  capsule doctor --data DIR         look at a deployment, and say what to mend
  capsule sweep --data DIR          destroy what is due now; --dry-run says what that is

The services keep their files in the data folder and nowhere else; the demo leaves exports and receipts to look at.""",
)


def loaded(name: str) -> Any:
    """Import a command, or a group of them, that is one of :data:`COMMANDS`."""
    line = COMMANDS[name]
    found = getattr(import_module(f"capsule_services.{line.module}"), line.attribute)
    around = typer.Typer(rich_markup_mode="rich", add_completion=False)
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name)(found)
    flow(around)
    return typer.main.get_group(around).commands[name]


def _tell_release(asked: bool) -> None:
    if asked:
        typer.echo(f"capsule {release()}")
        raise typer.Exit


@app.callback()
def begin(
    *,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_tell_release, help="Say which.")
    ] = False,
) -> None:
    """Say which release this is, if that is all."""
