"""``capsule retention``: what a tenant's policy will have go, what another would change, why somebody is still here.

The running services are asked, as a user of the tenant with that user's permissions: whoever runs a deployment is not
thereby somebody who may look into it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table

from capsule_core.errors import CapsuleError
from capsule_services.progress import bar
from capsule_services.runtime.asking import Asker, asking
from capsule_services.runtime.faults import StartRefused

__all__ = ["explain", "policy", "preview", "retention", "simulate"]

T = TypeVar("T")

retention = typer.Typer(
    no_args_is_help=True, help="Say how long a tenant keeps what, what goes next, and why somebody is still here."
)

_REFUSED: Final = 2
_PASSWORD: Final = "CAPSULE_PASSWORD"  # noqa: S105  the name of a variable
_DONE: Final = {"TRASH": "to the trash", "DESTROY": "destroyed", "DEPERSONALISE": "emptied", "ASK": "to be looked at"}

_Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the running deployment.")]
_Tenant = Annotated[str, typer.Option("--tenant", metavar="TENANT", help="Whose address book it is.")]
_Email = Annotated[
    str,
    typer.Option(
        "--as",
        metavar="EMAIL",
        help=f"Which administrator asks. The password is asked for, or is in {_PASSWORD}.",
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
_Weeks = Annotated[int, typer.Option("--weeks", min=1, max=104, metavar="N", help="How many weeks to look ahead.")]


@retention.command()
def policy(*, data: _Data, tenant: _Tenant, email: _Email) -> None:
    """Print the policy of a tenant as JSON, as capsule retention simulate reads it.

    Exit code 0: it is printed. 2: refused.
    """
    with _signed_in(data, tenant, email) as asker:
        said = asker.policy()
    rules = [_lowered(rule) for rule in said.get("rules", [])]
    typer.echo(json.dumps({"zone": said.get("time_zone", "UTC"), "rules": rules}, indent=2, ensure_ascii=False))


@retention.command()
def preview(*, data: _Data, tenant: _Tenant, email: _Email, weeks: _Weeks = 12, json_: _Json = False) -> None:
    """Say what goes in the next weeks, how many records of which kind, and by which rules. Nothing is touched.

    Exit code 0: it is said. 2: refused.
    """
    with _signed_in(data, tenant, email) as asker:
        found = _watched(f"looking {weeks} weeks ahead", lambda: asker.preview(weeks))
    if json_:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table("week of", "kind", "records", "go", "by the rules", title=f"what goes in {weeks} weeks")
    for each in found:
        done = _DONE[each["effect"]]
        table.add_row(_day(each["week_start_time"]), each["kind"], each["records"], done, ", ".join(each["because"]))
    _show(table if found else f"nothing goes in the next {weeks} weeks")


@retention.command()
def simulate(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The policy to try, as capsule retention policy prints one.")
    ],
    *,
    data: _Data,
    tenant: _Tenant,
    email: _Email,
    weeks: _Weeks = 52,
    json_: _Json = False,
) -> None:
    """Say what would go sooner or later if the policy in FILE were set now. Nothing is set, and nothing is touched.

    Exit code 0: it is said. 2: refused; the sentence names the place in the policy.
    """
    document = _loaded(file)
    with _signed_in(data, tenant, email) as asker:
        found = _watched(f"comparing {weeks} weeks", lambda: asker.simulate(document, weeks))
    if json_:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table("kind", "records", "would go", "the first on", "by the rules", title="what would change")
    for each in found:
        when = "sooner" if each.get("sooner") else "later, or not"
        table.add_row(each["kind"], each["records"], when, _day(each["first_time"]), ", ".join(each["because"]))
    _show(table if found else f"nothing would change in the next {weeks} weeks")


@retention.command()
def explain(
    contact: Annotated[str, typer.Argument(metavar="CONTACT", help="The contact, by its name or its id.")],
    *,
    data: _Data,
    tenant: _Tenant,
    email: _Email,
    json_: _Json = False,
) -> None:
    """Say why a contact is still here, until when, and by which rules and holds.

    Exit code 0: it is said. 2: refused.
    """
    with _signed_in(data, tenant, email) as asker:
        found = asker.explain(contact)
    if json_:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo(_sentence(found))
    table = Table("rule", "then", "began", "is over", title="the rules about it")
    for run in found.get("runs", []):
        began, over = run.get("begin_time"), run.get("end_time")
        done = _DONE.get(run["effect"], "kept until then")
        table.add_row(run["rule"], done, _day(began) if began else "not yet", _day(over) if over else "")
    for guard in found.get("guards", []):
        table.add_row(guard["reason"], f"kept: {guard['mark']}", _day(guard["since_time"]), "")
    if table.row_count:
        _show(table)


def _sentence(found: dict[str, Any]) -> str:
    because = ", ".join(found.get("because", [])) or "no rule lets it go"
    time = _day(found["time"]) if "time" in found else ""
    if found["effect"] == "KEEP":
        return f"it stays until {time}: {because}" if time else f"it stays: {because}"
    return f"since {time} it is {_DONE[found['effect']]}: {because}"


@contextmanager
def _signed_in(data: Path, tenant: str, email: str) -> Generator[Asker]:
    password = os.environ.get(_PASSWORD) or typer.prompt("Password", hide_input=True)
    try:
        with asking(data, tenant.removeprefix("tenants/"), email, password) as asker:
            yield asker
    except (CapsuleError, StartRefused, OSError) as error:
        _refuse(str(error))


def _loaded(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        _refuse(f"{file} cannot be read as JSON: {error}")
    if not isinstance(document, dict):
        _refuse(f"{file} holds no policy: it must be an object with rules")
    return document


def _watched(what: str, ask: Callable[[], T]) -> T:
    with bar(what) as progress:
        progress(0, 1)
        found = ask()
        progress(1, 1)
    return found


def _lowered(rule: dict[str, Any]) -> dict[str, Any]:
    return {key: value.lower() if key in {"effect", "since"} else value for key, value in rule.items()}


def _day(time: str) -> str:
    return time[:10]


def _show(what: Table | str) -> None:
    Console(width=None if sys.stdout.isatty() else 200).print(what, soft_wrap=True)


def _refuse(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(_REFUSED)
