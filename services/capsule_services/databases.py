"""``capsule db``: prepare a PostgreSQL server for a deployment."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import unquote, urlsplit

import typer
from rich.table import Table

from capsule_core.errors import CapsuleError
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.layout import DATABASE, ENGINE, ORDER
from capsule_services.runtime.room import unwritten
from capsule_services.speech import refuse, tell
from capsule_sql.provisioning import DEPLOYMENT, database_of, provision, provision_engine, remove, survey

__all__ = ["check_free", "clear", "db", "init", "places", "prepare"]

db = typer.Typer(no_args_is_help=True, help="Keep records and logs in PostgreSQL instead of files.")

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,29}")


@db.callback()
def _begin() -> None:
    """Keep records and logs in PostgreSQL instead of files."""


@db.command()
def init(
    admin_url: Annotated[
        str, typer.Option("--admin-url", metavar="URL", help="The server, as a role that may make roles and databases.")
    ],
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the deployment; made if it is new.")],
    name: Annotated[
        str, typer.Option(metavar="NAME", help="What its databases and roles begin with; one for each deployment.")
    ] = DEPLOYMENT,
) -> None:
    """Make a database and a role of its own for each service, and for its engine, and write down how it connects.

    Repeat it after an upgrade: it brings the tables to the new version and changes nothing else. The files with the
    URLs hold passwords; they are readable by their owner only. Then: capsule up --data DIR.
    """
    try:
        files = prepare(data, admin_url, name)
    except (CapsuleError, StartRefused) as error:
        refuse(str(error))
    table = Table("service", "database and role", "how it connects", title="Prepared", title_style="bold green")
    for called, file in files.items():
        table.add_row(file.parent.name, called, str(file))
    tell(table)


def prepare(folder: Path, admin_url: str, name: str) -> Mapping[str, Path]:
    """Prepare the server for every service of the deployment in *folder*; return for each database how it connects.

    Raises:
        CapsuleError: the server cannot be prepared; the text says why.
        StartRefused: a file cannot be written, or the name is none.
    """
    if not _NAME.fullmatch(name):
        raise StartRefused("--name must be small letters, digits and underscores, at most 30 and a letter first")
    files = {called: folder / place for called, place in places(name).items()}
    known = {called: _password(file) for called, file in files.items()}
    survey(admin_url, {called: not password for called, password in known.items()})
    with ExitStack() as stack:
        keep = {called: stack.enter_context(_draft(file)) for called, file in files.items()}
        for called, password in known.items():
            make = provision_engine if files[called].name == ENGINE else provision
            keep[called](make(admin_url, called, password=password or secrets.token_urlsafe(32), fresh=not password))
    return files


def places(name: str) -> Mapping[str, Path]:
    """Name the databases of a deployment, and in its folder the file that says how each is connected to.

    A service's durable engine has one of its own, with a role that can reach no other.
    """
    return {
        called: Path(service) / file
        for service in ORDER
        for called, file in ((database_of(service, name), DATABASE), (database_of(f"{service}_engine", name), ENGINE))
    }


def check_free(admin_url: str, name: str) -> None:
    """Let pass a *name* that no deployment has; nothing is made.

    Raises:
        CapsuleError: one has it, or the server cannot be prepared; the text says why.
    """
    survey(admin_url, dict.fromkeys(places(name), True))


def clear(admin_url: str, name: str) -> None:
    """Remove the databases and roles of a deployment, with everything in them."""
    for called in places(name):
        remove(admin_url, called)


@contextmanager
def _draft(file: Path) -> Generator[Callable[[str], None]]:
    """Begin to write *file* while nothing is made yet that it must tell of; what is given ends it, whole."""
    draft = file.with_suffix(".new")
    try:
        file.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # its mode is not for parents made beside it
        file.parent.mkdir(mode=0o700, exist_ok=True)
        draft.unlink(missing_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as written:

            def keep(url: str) -> None:
                written.write(f"{url}\n")
                written.flush()
                draft.replace(file)

            yield keep
    except OSError as error:
        raise unwritten(error, file.parent) from None
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def _password(file: Path) -> str:
    """Return the password that the service may be using at this moment; none before the first time."""
    try:
        return unquote(urlsplit(file.read_text(encoding="utf-8").strip()).password or "")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except (OSError, ValueError):
        raise StartRefused(f"{file} cannot be read; correct it, or remove it with the role it names") from None
