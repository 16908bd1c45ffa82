"""``capsule retention``: what a tenant's policy will have go, what another would change, why somebody is still here.

The running services are asked, as a user of the tenant with that user's permissions: whoever runs a deployment is not
thereby somebody who may look into it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import typer
from rich.table import Table

from capsule_core.errors import InvalidField
from capsule_core.policies import governed, parse_policy
from capsule_core.retention import Policy
from capsule_services.contacts.kinds import KINDS
from capsule_services.entrance import Email, Folder, Tenant, day, signed_in
from capsule_services.progress import bar
from capsule_services.speech import AsJson, refuse, tell

__all__ = ["explain", "policy", "preview", "put", "retention", "simulate"]

T = TypeVar("T")

retention = typer.Typer(
    no_args_is_help=True, help="Say how long a tenant keeps what, what goes next, and why somebody is still here."
)

_DONE: Final = {"TRASH": "to the trash", "DESTROY": "destroyed", "DEPERSONALISE": "emptied", "ASK": "to be looked at"}
_MARKS: Final = {"held": "hold", "obliged": "obligation", "restricted": "restriction"}
_KINDS: Final = governed({each.name: each for each in KINDS})

_Weeks = Annotated[int, typer.Option("--weeks", min=1, max=104, metavar="N", help="How many weeks to look ahead.")]


@retention.command()
def policy(*, data: Folder, tenant: Tenant, email: Email) -> None:
    """Print the policy of a tenant as JSON, as capsule retention simulate and set read it.

    Exit code 0: it is printed. 2: refused.
    """
    with signed_in(data, tenant, email) as asker:
        said = asker.policy()
    typer.echo(json.dumps(_document(said), indent=2, ensure_ascii=False))


@retention.command()
def preview(*, data: Folder, tenant: Tenant, email: Email, weeks: _Weeks = 12, json_: AsJson = False) -> None:
    """Say what goes in the next weeks, how many records of which kind, and by which rules. Nothing is touched.

    Exit code 0: it is said. 2: refused.
    """
    with signed_in(data, tenant, email) as asker:
        found = _watched(f"looking {weeks} weeks ahead", lambda: asker.preview(weeks))
    if json_:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table("week of", "kind", "records", "go", "by the rules", "but", title=f"what goes in {weeks} weeks")
    for each in found:
        done, because = _DONE[each["effect"]], ", ".join(each["because"])
        table.add_row(day(each["week_start_time"]), each["kind"], each["records"], done, because, _waits(each))
    tell(table if found else f"nothing goes in the next {weeks} weeks")


@retention.command()
def simulate(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The policy to try, as capsule retention policy prints one.")
    ],
    *,
    data: Folder,
    tenant: Tenant,
    email: Email,
    weeks: _Weeks = 52,
    json_: AsJson = False,
) -> None:
    """Say what would go sooner or later if the policy in FILE were set now. Nothing is set, and nothing is touched.

    Exit code 0: it is said. 2: refused; the sentence names the place in the policy.
    """
    wanted = _policy_in(file)
    with signed_in(data, tenant, email) as asker:
        found = _watched(f"comparing {weeks} weeks", lambda: asker.simulate(wanted, weeks))
    if json_:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table("kind", "records", "would go", "the first on", "by the rules", "but", title="what would change")
    for each in found:
        when, because = "sooner" if each.get("sooner") else "later, or not", ", ".join(each["because"])
        table.add_row(each["kind"], each["records"], when, day(each["first_time"]), because, _waits(each))
    tell(table if found else f"nothing would change in the next {weeks} weeks")


@retention.command("set")
def put(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The policy to set, as capsule retention policy prints one.")
    ],
    *,
    data: Folder,
    tenant: Tenant,
    email: Email,
    json_: AsJson = False,
) -> None:
    """Put the policy in FILE in the place of the one before, all of it; try it first: capsule retention simulate.

    What keeps longer counts at once; what the policy before kept and this one lets go stays for a grace period, and
    the answer says until when. Exit code 0: it is set. 2: refused, and the policy before stays; the sentence names the
    place in the policy.
    """
    wanted = _policy_in(file)
    with signed_in(data, tenant, email) as asker:
        said = asker.set_policy(wanted)
    if json_:
        grace = {key: said[key] for key in ("grace_end_time",) if key in said}
        typer.echo(json.dumps({**_document(said), **grace}, indent=2, ensure_ascii=False))
        return
    tell(f"the policy is set; its rules: {', '.join(rule['id'] for rule in said.get('rules', [])) or 'none'}")
    if "grace_end_time" in said:
        tell(f"what the policy before kept and this one lets go stays until {day(said['grace_end_time'])}")
    tell("see what goes: capsule retention preview")


@retention.command()
def explain(
    contact: Annotated[str, typer.Argument(metavar="CONTACT", help="The contact, by its name or its id.")],
    *,
    data: Folder,
    tenant: Tenant,
    email: Email,
    json_: AsJson = False,
) -> None:
    """Say why a contact is still here, until when, and by which rules and holds.

    Exit code 0: it is said. 2: refused.
    """
    with signed_in(data, tenant, email) as asker:
        found = asker.explain(contact)
    if json_:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(_sentence(found))
    table = Table("rule", "then", "began", "is over", title="the rules about it")
    for run in found.get("runs", []):
        began, over = run.get("begin_time"), run.get("end_time")
        done = _DONE.get(run["effect"], "kept until then")
        table.add_row(run["rule"], done, day(began) if began else "not yet", day(over) if over else "")
    for guard in found.get("guards", []):
        table.add_row(guard["reason"], f"kept: {guard['mark']}", day(guard["since_time"]), "")
    if table.row_count:
        tell(table)


def _sentence(found: dict[str, Any]) -> str:
    if "otherwise" in found:
        marks = dict.fromkeys(guard["mark"] for guard in found["guards"])
        return f"{_waits({'waits_for': list(marks)})}; without, {_decided(found['otherwise'])}"
    return _decided(found)


def _decided(found: dict[str, Any]) -> str:
    because = ", ".join(found.get("because", [])) or "no rule lets it go"
    time = day(found["time"]) if "time" in found else ""
    if found["effect"] == "KEEP":
        return f"it stays until {time}: {because}" if time else f"it stays: {because}"
    return f"since {time} it is {_DONE[found['effect']]}: {because}"


def _waits(found: dict[str, Any]) -> str:
    marks = found.get("waits_for", [])
    return f"waits for {' and '.join(_MARKS[mark] for mark in marks)}" if marks else ""


def _policy_in(file: Path) -> Policy:
    try:
        return parse_policy(file.read_text(encoding="utf-8-sig"), _KINDS)
    except InvalidField as error:
        refuse(f"{file}: {error}")
    except FileNotFoundError:
        refuse(f"{file} does not exist; capsule retention policy prints the policy that is set, to begin with")
    except UnicodeDecodeError:
        refuse(f"{file} is no policy: it must be JSON in UTF-8")
    except OSError as error:
        refuse(f"{file} cannot be read: {(error.strerror or 'no reason is given').lower()}")


def _watched(what: str, ask: Callable[[], T]) -> T:
    with bar(what) as progress:
        progress(0, 1)
        found = ask()
        progress(1, 1)
    return found


def _document(said: dict[str, Any]) -> dict[str, Any]:
    """Write the policy that was answered as one is read from a file."""
    return {"zone": said.get("time_zone", "UTC"), "rules": [_lowered(rule) for rule in said.get("rules", [])]}


def _lowered(rule: dict[str, Any]) -> dict[str, Any]:
    return {key: value.lower() if key in {"effect", "since"} else value for key, value in rule.items()}
