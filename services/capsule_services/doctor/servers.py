"""What a PostgreSQL database says: tenants are kept apart, it is of this release, whole, and nothing is left undone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import attrs

from capsule_core.checkpoints import open_checkpoint, parse_verifier
from capsule_core.errors import CapsuleError, LedgerBroken
from capsule_core.ledger import audit
from capsule_services.doctor.findings import Finding, good, mend, note, unseen
from capsule_services.doctor.place import Place, Premises
from capsule_services.runtime.opening import DATABASE
from capsule_sql import indexing, marking
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role
from capsule_sql.postgres import Postgres, open_postgres
from capsule_sql.standing import Exposed, examine

__all__ = ["databases"]

_LOG = "read the service's log"


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
        yield from _database(premises, runs=place.runs(premises.service))


def _database(premises: Premises, *, runs: bool) -> Iterator[Finding]:
    what = f"database of {premises.service}"
    try:
        url = (premises.folder / DATABASE).read_text(encoding="utf-8").strip()
        examine(url)
        data, reads = open_postgres(url, Role.DATA), open_postgres(url, Role.LEDGER)
    except Exposed as exposed:
        yield mend(what, exposed.what, exposed.remedy)
        return
    except CapsuleError as error:
        yield unseen(what, str(error), "see that the server runs and lets the service in, and look again")
        return
    try:
        yield good(what, "keeps tenants apart, and is of this release")
        for check in (_outbox, _erasures, _index):
            yield check(premises.service, data, runs=runs)
        for title, database in (("changes", data), ("reads", reads)):
            yield _audited(f"log of {title} of {premises.service}", database, premises)
    finally:
        data.close()
        reads.close()


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


def _audited(what: str, database: Postgres, premises: Premises) -> Finding:
    looked: Any = _Look(database)  # what it passes on is what a ledger asks for
    ledger = SqlLedger(looked)
    try:
        kept = ledger.latest()
        verifier = parse_verifier((premises.folder / "receipts.pub").read_text(encoding="ascii")) if kept else None
        against = open_checkpoint(kept, verifier) if kept and verifier else None
        size = audit(ledger, against).size
    except LedgerBroken:
        return mend(what, "it was altered", "keep a copy as evidence, and restore the data from a backup")
    return good(what, f"{size} leaves" + (f", {against.size} of them under a checkpoint" if against else ""))
