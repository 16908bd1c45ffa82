"""What a PostgreSQL database says: tenants are kept apart, it is of this release, whole, and nothing is left undone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from typing import Any, ClassVar, Final

import attrs

from capsule_core.checkpoints import open_checkpoint, parse_verifier
from capsule_core.errors import CapsuleError, LedgerBroken, NewerSchema, Unavailable
from capsule_core.ledger import audit
from capsule_core.names import micros
from capsule_core.records import GUARDED
from capsule_services.doctor.findings import Finding, good, mend, note, unseen
from capsule_services.doctor.logs import Log, newer
from capsule_services.doctor.place import Place, Premises
from capsule_services.runtime.layout import DATABASE
from capsule_sql import indexing, marking
from capsule_sql.connecting import UrlUnusable
from capsule_sql.guarding import UNGUARDED
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role
from capsule_sql.postgres import Postgres, open_postgres
from capsule_sql.refusals import NotPrepared, ServerRefused, UnprovenServer, UnsafeConnection
from capsule_sql.standing import Exposed, examine
from capsule_sql.statements import Connection
from capsule_sql.tenants import each_tenant

__all__ = ["databases"]

_LOG: Final = "read the service's log"
_AGAIN: Final = f"run capsule db init, or correct {DATABASE}"
_BROKEN: Final[Sequence[tuple[type[CapsuleError], str, str]]] = (
    (UnsafeConnection, "it is on another machine, and nothing proves which", f"say sslmode=verify-full in {DATABASE}"),
    (
        UnprovenServer,
        "the server does not prove who it is",
        f"correct sslrootcert in {DATABASE}, or the certificate there",
    ),
    (ServerRefused, "it does not let the service in", _AGAIN),
    (NotPrepared, "it is not prepared for this release", "run capsule db init"),
    (NewerSchema, "a newer release wrote it", "run the release that wrote it, or newer"),
)
_ANSWERS: Final = f"start the server, or correct {DATABASE}, and look again"


@attrs.frozen
class _Look:
    """A database in which nobody numbers leaves that have not got their places yet: only who serves does."""

    database: Postgres
    shared: ClassVar[bool] = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.database, name)


def databases(place: Place) -> Iterator[Finding]:
    """Look at the database of every service that has one."""
    on_server = [premises for premises in place.services if premises.on_server]
    if not on_server:
        yield good("databases", "all in files of the folder")
    for premises in on_server:
        yield from _database(place, premises)


def _database(place: Place, premises: Premises) -> Iterator[Finding]:
    what = f"database of {premises.service}"
    with ExitStack() as stack:
        try:
            data, reads = _opened(premises, stack)
        except OSError as error:
            do = "run the doctor as the user who runs the services"
            yield unseen(what, f"{DATABASE} cannot be read ({error.strerror})", do)
            return
        except UnicodeDecodeError:
            yield mend(what, f"{DATABASE} is no text", _AGAIN)
            return
        except CapsuleError as error:
            yield _refused(what, error)
            return
        yield good(what, "keeps tenants apart, and is of this release")
        try:
            yield from _looked_at(place, premises, data, reads)
        except CapsuleError as error:
            yield _refused(what, error)


def _opened(premises: Premises, stack: ExitStack) -> tuple[Postgres, Postgres]:
    url = (premises.folder / DATABASE).read_text(encoding="utf-8").strip()
    examine(url)
    data = stack.enter_context(closing(open_postgres(url, Role.DATA)))
    return data, stack.enter_context(closing(open_postgres(url, Role.LEDGER)))


def _refused(what: str, error: CapsuleError) -> Finding:
    """Tell why a database cannot be looked at: what may pass by itself is not known to be broken."""
    if isinstance(error, Exposed):
        return mend(what, error.what, error.remedy)
    if isinstance(error, UrlUnusable):
        return mend(what, f"{DATABASE} {error.problem}", _AGAIN)
    told = next(((found, do) for kind, found, do in _BROKEN if isinstance(error, kind)), None)
    return mend(what, *told) if told else unseen(what, "it does not answer", _ANSWERS)


def _looked_at(place: Place, premises: Premises, data: Postgres, reads: Postgres) -> Iterator[Finding]:
    service, runs = premises.service, place.runs(premises.service)
    for check in (_outbox, _erasures, _index):
        yield check(service, data, runs=runs)
    yield _trash(service, data, runs=runs, over=micros(place.overdue(premises)))
    for title, database in (("changes", data), ("reads", reads)):
        yield _audited(f"log of {title} of {service}", database, Log(premises, title))


def _outbox(service: str, data: Postgres, *, runs: bool) -> Finding:
    ((waiting,),) = data.rows("SELECT count(*) FROM outbox", ())
    if waiting and not runs:
        found = f"{waiting} entries did not reach the journal"
        return mend(f"outbox of {service}", found, "start the service: it sends them first")
    return good(f"outbox of {service}", f"{waiting} entries under way" if waiting else "empty")


def _erasures(service: str, data: Postgres, *, runs: bool) -> Finding:
    what = f"erasures of {service}"
    begun = len({(tenant, reason.id) for tenant, reason in data.read(marking.unfinished)})
    if begun and not runs:
        return mend(what, f"{begun} begun and not finished", "start the service: it finishes them before it serves")
    if begun:
        return note(what, f"{begun} under way", f"look again in a minute; if they stay, {_LOG}")
    return good(what, "all finished")


def _index(service: str, data: Postgres, *, runs: bool) -> Finding:
    missing, what = len(indexing.missing(data)), f"search index of {service}"
    if not missing:
        return good(what, "whole")
    do = f"look again in a minute; if they stay, {_LOG}" if runs else "start the service: it makes them again"
    return note(what, f"lost for {missing} tenants in a crash of the server", do)


def _trash(service: str, data: Postgres, *, runs: bool, over: int) -> Finding:
    """Nothing stays in the trash for two sweeps longer than it should, unless something keeps it."""
    what = f"trash of {service}"
    select = f"""SELECT count(*) FROM records r JOIN subjects s ON s.no = r.subject_no
        WHERE r.tenant_no = ? AND r.trashed IS NOT NULL AND r.until <= ? AND (s.anywhere & ?) = 0
            AND {UNGUARDED}"""  # noqa: S608  our own names

    def count(connection: Connection) -> int:
        asked = ((number, over, int(GUARDED)) for number, _ in each_tenant(connection))
        return sum(connection.execute(select, values).fetchall()[0][0] for values in asked)

    due = data.read(count)
    if not due:
        return good(what, "nothing is overdue")
    do = "read the service's log for sweep_postponed" if runs else "start the service: it destroys them at once"
    return mend(what, f"{due} records are overdue", do)


def _audited(what: str, database: Postgres, log: Log) -> Finding:
    looked: Any = _Look(database)  # what it passes on is what a ledger asks for
    ledger = SqlLedger(looked)
    try:
        kept = ledger.latest()
        verifier = parse_verifier((log.premises.folder / "receipts.pub").read_text(encoding="ascii")) if kept else None
        against = newer(log, open_checkpoint(kept, verifier) if kept and verifier else None)
        size = audit(ledger, against).size
    except OSError:
        return unseen(what, "receipts.pub cannot be read", "see what is said about receipts")
    except LedgerBroken:
        return mend(what, "it was altered", "keep a copy as evidence, and restore the data from a backup")
    except Unavailable:
        raise
    except (CapsuleError, ValueError):
        return mend(
            what, "its checkpoint was not signed by this service", "put back the receipts.pub that belongs to it"
        )
    return good(what, f"{size} leaves" + (f", {against.size} of them under a checkpoint" if against else ""))
