"""``capsule lists``: find who is not needed any more, save who that is, look at it, and act on just those.

The running services are asked, as a user of the tenant with that user's permissions.
"""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from capsule_services.entrance import Email, Folder, Tenant, day, signed_in
from capsule_services.progress import bar
from capsule_services.runtime.asking import Asker
from capsule_services.runtime.clock import Clock
from capsule_services.speech import AsJson, folded, named, refuse, tell

__all__ = ["delete", "export", "lists", "review", "save", "show_lists", "trash", "undo"]

lists = typer.Typer(
    no_args_is_help=True, help="Save who was not needed for long, review them, and export or trash just those."
)

_OBSTACLES: Final = {
    "UPDATED": "updated since",
    "OPENED": "opened since",
    "CONTACTED": "contacted since",
    "HELD": "held",
    "RESTRICTED": "restricted",
    "TRASHED": "in the trash already",
}
_FORMS: Final = {"json": ".json", "csv": ".csv", "vcard": ".vcf"}
_ID: Final = re.compile(r"(tenants/[^/]+/contactLists/)?[a-z0-9]+")
_SHOWN: Final = 20
"""People named in the table of who was left out."""


def _list_id(text: str) -> str:
    if not _ID.fullmatch(text):
        refuse("LIST must be the id of a list, as capsule lists show says it")
    return text


_List = Annotated[
    str, typer.Argument(metavar="LIST", help="The id of the list, as capsule lists show says it.", callback=_list_id)
]
_Since = Annotated[str, typer.Option(metavar="DATE", help="A day, 2024-01-31, or a time, 2024-01-31T12:00:00Z.")]


@lists.command()
def save(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call the list.")],
    *,
    data: Folder,
    tenant: Tenant,
    email: Email,
    not_updated_since: _Since = "",
    not_opened_since: _Since = "",
    not_contacted_since: _Since = "",
    json_: AsJson = False,
) -> None:
    """Save a list of the contacts that were not updated, opened or contacted since; all that is given must hold.

    Who is on a list stays on it, and nobody comes to it later. Exit code 0: it is saved. 2: refused.
    """
    given = {"updated": not_updated_since, "opened": not_opened_since, "contacted": not_contacted_since}
    now = Clock(data / "clock").now()
    since = {event: _moment(f"--not-{event}-since", text, now) for event, text in given.items() if text}
    if not name.strip():
        refuse("NAME must not be empty")
    if not since:
        refuse("say since when nothing has happened: --not-updated-since, --not-opened-since, --not-contacted-since")
    with signed_in(data, tenant, email) as asker, bar(f"saving {name}") as progress:
        saved = asker.save_list(name, since)
        while saved["state"] == "FILLING":
            progress(saved.get("contacts", 0), saved.get("contacts", 0) + 1)
            saved = asker.fill_list(saved["name"])
    if json_:
        typer.echo(json.dumps(saved, indent=2, ensure_ascii=False))
        return
    tell(f"{saved.get('contacts', 0)} contacts are on {_id(saved)}; look at them: capsule lists review {_id(saved)}")


@lists.command("show")
def show_lists(*, data: Folder, tenant: Tenant, email: Email, json_: AsJson = False) -> None:
    """Show the saved lists of a tenant, the newest first.

    Exit code 0: they are shown. 2: refused.
    """
    with signed_in(data, tenant, email) as asker:
        found = asker.lists()
    if json_:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    table = Table(
        named("list", map(_id, found)), *folded("called", "contacts", "saved on", "nothing since"), title="saved lists"
    )
    for each in found:
        since = ", ".join(f"{key[4:-6]} {day(at)}" for key, at in each["stale"].items())
        table.add_row(_id(each), each["display_name"], str(each.get("contacts", 0)), day(each["create_time"]), since)
    tell(table if found else "no list is saved")


@lists.command()
def review(contact_list: _List, *, data: Folder, tenant: Tenant, email: Email, json_: AsJson = False) -> None:
    """Show who is on a list, and what would keep each of them from being thrown away with it.

    Restricted people are not shown. Exit code 0: they are shown. 2: refused.
    """
    with signed_in(data, tenant, email) as asker:
        found = [each for page in _pages(asker, contact_list) for each in page]
    if json_:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    ids = [_id(each["contact"]) for each in found]
    table = Table(named("contact", ids), *folded("name", "changed on", "stays, because"), title="who is on the list")
    for each in found:
        contact = each["contact"]
        because = _OBSTACLES.get(each.get("obstacle", ""), "")
        table.add_row(_id(contact), contact.get("display_name", ""), day(contact["update_time"]), because)
    tell(table if found else "nobody is on the list")


@lists.command()
def export(
    contact_list: _List,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to write; it must not be there yet.")],
    *,
    data: Folder,
    tenant: Tenant,
    email: Email,
    form: Annotated[
        str,
        typer.Option("--format", metavar="FORMAT", help="json, csv or vcard; else as FILE ends: .json, .csv, .vcf."),
    ] = "",
) -> None:
    """Write who is on a list to a file: those who are neither in the trash nor restricted.

    Exit code 0: it is written. 2: refused; then no file is left.
    """
    form = form or next((name for name, suffix in _FORMS.items() if suffix == file.suffix.lower()), "")
    if form not in _FORMS:
        refuse(f"FILE must end in {', '.join(_FORMS.values())}, or --format be one of {', '.join(_FORMS)}")
    if file.exists():
        refuse(f"{file} is there already; choose another name")
    try:
        with (
            signed_in(data, tenant, email) as asker,
            bar(f"writing {file}") as progress,
            open(file, "xb", opener=_for_us_alone) as out,
        ):
            for piece in asker.export_list(contact_list, form.upper()):
                out.write(piece)
                progress(out.tell(), out.tell() + 1)
    except typer.Exit:
        if file.exists() and not file.stat().st_size:
            file.unlink()
        raise
    tell(f"written to {file}")


@lists.command()
def trash(contact_list: _List, *, data: Folder, tenant: Tenant, email: Email, json_: AsJson = False) -> None:
    """Throw away who is on a list, but who was touched since it was saved, is held or restricted; say who and why.

    For 30 days capsule lists undo takes all of it back. Exit code 0: done. 2: refused.
    """
    with signed_in(data, tenant, email) as asker, bar("throwing away") as progress:
        answer, went = asker.trash_list(contact_list, ""), 0
        while True:
            went += answer.get("contacts", 0)
            progress(went, went + answer.get("remaining", 0))
            if not answer.get("remaining"):
                break
            answer = asker.trash_list(contact_list, answer["batch"])
    if json_:
        typer.echo(json.dumps({**answer, "contacts": went}, indent=2))
        return
    skipped = answer.get("skipped", [])[:_SHOWN]
    if skipped:
        ids = [each["contact"].rpartition("/")[2] for each in skipped]
        table = Table(named("contact", ids), *folded("stays, because"), title="who was left out")
        for name, each in zip(ids, skipped, strict=True):
            table.add_row(name, _OBSTACLES[each["obstacle"]])
        tell(table)
    if left := ", ".join(f"{each['contacts']} {_OBSTACLES[each['obstacle']]}" for each in answer.get("counts", [])):
        tell(f"left out: {left}{'; --json names them all' if len(answer['skipped']) > len(skipped) else ''}")
    taking = f"; take them back: capsule lists undo {answer['batch']}" if went else ""
    tell(f"{went} contacts are in the trash{taking}")


@lists.command()
def undo(
    batch: Annotated[str, typer.Argument(metavar="BATCH", help="What capsule lists trash said.")],
    *,
    data: Folder,
    tenant: Tenant,
    email: Email,
) -> None:
    """Take back everything that was thrown away together, or nothing.

    Exit code 0: it is back. 2: refused.
    """
    with signed_in(data, tenant, email) as asker:
        records = asker.take_back(batch).get("records", 0)
    tell(f"{records} record{' is' if records == 1 else 's are'} back")


@lists.command()
def delete(contact_list: _List, *, data: Folder, tenant: Tenant, email: Email) -> None:
    """Throw a list away; who is on it stays.

    Exit code 0: it is in the trash. 2: refused.
    """
    with signed_in(data, tenant, email) as asker:
        gone = asker.delete_list(contact_list)
    tell(f"{_id(gone)} is in the trash until {day(gone['purge_time'])}")


def _pages(asker: Asker, contact_list: str) -> list[list[dict[str, Any]]]:
    found: list[list[dict[str, Any]]] = []
    with bar("looking") as progress:
        total, done = asker.saved_list(contact_list).get("contacts", 0), 0
        for page in asker.listed(contact_list):
            done += len(page)
            found.append(page)
            progress(done, total)
    return found


def _id(resource: dict[str, Any]) -> str:
    return str(resource["name"]).rpartition("/")[2]


def _for_us_alone(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _moment(option: str, text: str, now: datetime) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        refuse(f"{option} must be a day like 2024-01-31, or a time like 2024-01-31T12:00:00Z")
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    if at > now:
        refuse(f"{option} must not be in the future")
    return at
