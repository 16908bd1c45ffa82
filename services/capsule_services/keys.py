"""``capsule keys``: rotate and withdraw the keys that user tokens are signed with, while the deployment runs or not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from capsule_core.errors import CapsuleError, InvalidField
from capsule_services.identity.keychain import KEYS, changing, fresh_key, load_keys
from capsule_services.identity.signing import SigningKey
from capsule_services.rootkeys import rotate_root
from capsule_services.runtime.certificates import CLIENT, credential_of
from capsule_services.runtime.channels import Peers
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.keys import kids_published
from capsule_services.speech import AsJson, folded, named, refuse, tell

__all__ = ["keys", "rotate", "show", "withdraw"]

keys = typer.Typer(no_args_is_help=True, help="Rotate and withdraw keys: those of user tokens, and the root key.")

_STILL: Final = 1

_Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the deployment.")]


@keys.command("list")
def show(data: _Data, json_: AsJson = False) -> None:
    """Say which keys are believed, which one signs, and until when. Nothing is changed."""
    now = wall_time()
    try:
        known = load_keys(data / "identity" / KEYS)
    except StartRefused as error:
        refuse(str(error))
    signing, believed = known.signing(now), known.believed(now)
    if json_:
        told = [
            {"kid": each.kid, "made": _time(each.made), "believed_until": _time(each.believed_until)}
            for each in believed
        ]
        typer.echo(json.dumps({"signing": signing.kid, "keys": told}, indent=2))
        return
    key = named("key", (each.kid for each in believed))  # whole: withdrawing one takes its name
    table = Table(key, *folded("made", "what it does"), title="Signing keys of tokens")
    for each in believed:
        table.add_row(each.kid, _time(each.made) or "", _told(each, believed, signing, now))
    tell(table)


@keys.command()
def rotate(data: _Data) -> None:
    """Make a new key: in ten seconds it signs, and the old one is believed as long as anything it signed may work.

    Nobody has to sign in again. The services take it up by themselves; do it as the user who runs them.
    """
    now, fresh = wall_time(), fresh_key(wall_time())
    try:
        with changing(data / "identity" / KEYS) as (known, store):
            store(known.rotated(fresh, now))
    except StartRefused as error:
        refuse(str(error))
    before = known.signing(now)
    typer.echo(f"{fresh.kid} signs in a moment; {before.kid} is believed as long as its tokens work")


# A name may begin with a hyphen, as an option does.
@keys.command(context_settings={"ignore_unknown_options": True})
def withdraw(
    kids: Annotated[list[str], typer.Argument(metavar="KID...", help="The keys, as capsule keys list names them.")],
    data: _Data,
) -> None:
    """Withdraw keys at once, because somebody else may have them: no service believes them a second later.

    Whoever has a token of theirs signs in again. If no key is left to sign, there is a new one. Exit code 0: done, and
    identity says so if it runs. 1: identity still publishes one of them. 2: refused; nothing is changed.
    """
    now = wall_time()
    try:
        with changing(data / "identity" / KEYS) as (known, store):
            left = known.withdrawn(kids, fresh_key(now), now)
            store(left)
    except (StartRefused, InvalidField) as error:
        refuse(str(error))
    typer.echo(f"{left.signing(now).kid} signs; withdrawn: {', '.join(kids)}")
    _confirm(data, kids)


keys.command("rotate-root")(rotate_root)


def _confirm(data: Path, kids: Sequence[str]) -> None:
    """Ask identity whether it knows, so that nobody relies on a file that it cannot read."""
    peers = Peers(data / "addresses", credential_of(data / "tls", CLIENT))
    try:
        still = kids_published(peers) & set(kids)
    except (CapsuleError, StartRefused):
        typer.echo("identity cannot be asked from here; if it runs, it has read the file before it answers again")
        return
    finally:
        peers.close()
    if still:
        refuse(f"identity still publishes {min(still)}; see logs/identity.log, or start it anew", code=_STILL)
    typer.echo("identity publishes them no more")


def _told(key: SigningKey, believed: Sequence[SigningKey], signing: SigningKey, now: datetime) -> str:
    if key == signing:
        return "signs" if key.until is None else f"signs until {_time(key.until)}"
    if not key.signs(now):
        return f"is believed until {_time(key.believed_until)}"
    return f"signs from {_time(believed[believed.index(key) - 1].until)} on"


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"
