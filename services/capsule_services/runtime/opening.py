"""Open what a service keeps: in its folder, or the records and logs in a PostgreSQL database.

::

    data.db       records, key pages, changes log           (what a backup holds; or schema data of the database)
    reads.db      the log of reads                          (likewise; or schema reads of the database)
    restored.json what a restore left to do                 (gone when it is done)
    begun.json    that it was begun, on files or a server   (see ``begun``)
    keystore.db   page keys, wrapped by root.key            (never in a backup; or in OpenBao, see ``safekeeping``)
    engine.db     what the sweeps have begun               (never in a backup; or a database of its own)
    journal.db    what a restored backup must be told       (never in a backup; at a place too, see ``shipping``)
    mirror/       second copies of keystore and journal; put the folder on another medium
    root.key, receipts.key, pages.key, journal.key          (mode 0600)
    receipts.pub  the public key receipts are checked with
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Final

import attrs

from capsule_core.checkpoints import Signer, log_names
from capsule_core.compacting import compact
from capsule_core.erasure import Eraser
from capsule_core.holder import RecordHolder
from capsule_core.journal import Journal
from capsule_core.ledger import LedgerStore
from capsule_core.names import made_id
from capsule_core.pages import Keystore
from capsule_core.personal import Kind
from capsule_core.repository import Repository
from capsule_core.vault import Vault
from capsule_services.runtime.anchorer import Anchorer
from capsule_services.runtime.begun import FILES, SERVER, check_begun, tell_begun
from capsule_services.runtime.calls import noting
from capsule_services.runtime.clockwatch import ClockWatch, in_bulk
from capsule_services.runtime.compactor import Compactor
from capsule_services.runtime.health import Ailment, Health, Look
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.layout import url_in
from capsule_services.runtime.logcheck import check_logs
from capsule_services.runtime.metrics import Reading, readings_of
from capsule_services.runtime.openbao.address import Address, address_at
from capsule_services.runtime.paging import Paging
from capsule_services.runtime.process import Host
from capsule_services.runtime.reads import ReadLog
from capsule_services.runtime.restored import Restored, put_right, restored_in, tell_restored
from capsule_services.runtime.room import find_room, rooms_of
from capsule_services.runtime.safekeeping import open_keystore
from capsule_services.runtime.settings import Settings
from capsule_services.runtime.shipping.keeping import Keeping, fetch_lost, place_of
from capsule_services.runtime.signer import made_signer
from capsule_sql.bonds import join, join_anew
from capsule_sql.database import Database, open_database
from capsule_sql.journals import SqlJournal
from capsule_sql.keypages import has_pages
from capsule_sql.ledgers import SqlLedger
from capsule_sql.migration import Role
from capsule_sql.outbox import bond
from capsule_sql.postgres import open_postgres
from capsule_sql.records import SqlStore
from capsule_sql.root_key import load_or_create_root_key
from capsule_sql.standing import examine
from capsule_sql.statements import Transactions

__all__ = ["Opened", "open_holding"]

_MIRROR: Final = "mirror"


def _nothing() -> None:
    return


@attrs.frozen(kw_only=True)
class Opened:
    """A holding, the page tokens of its lists, its signer and journal, how to close it all, and numbers to watch.

    *rehearsals* find out whether its two logs can be written; *mend* finishes what another process left half done, and
    what a restore left to do; *ship* brings the journal what it lacks, *compact* shortens it; *shared* is whether there
    may be others.
    """

    holding: Holding
    paging: Paging
    signer: Signer
    keeping: Keeping
    stack: ExitStack
    readings: Mapping[str, Reading] = attrs.field(factory=dict)
    rehearsals: Mapping[Ailment, Look] = attrs.field(factory=dict)
    mend: Callable[[], None] = _nothing
    ship: Callable[[], None] = _nothing
    compact: Callable[[], int] = int
    shared: bool = False

    def watched(self, health: Health) -> Mapping[Ailment, Look]:
        """Let *health* hear of what could not be logged or shipped; say how to find out what can be written again."""
        self.holding.reads.failed = lambda: health.ails(Ailment.READS)
        return {**self.rehearsals, **self.keeping.watched(health, self._finish)}

    def resume(self) -> None:
        """Lead what a crash interrupted to its end, a crash of this process or of another; before anybody is served."""
        self.mend()
        self.keeping.patiently(self._finish)

    @property
    def journal(self) -> Journal:
        return self.keeping.journal

    def _finish(self) -> None:
        """Acknowledge what was done, and finish the erasures that were begun."""
        self.ship()
        self.holding.eraser.resume(now=self.holding.now())

    def compactor(self, host: Host) -> Compactor:
        """Make what shortens the journal while the service runs."""
        return Compactor(self.compact, host.stopped, host.log)

    def anchorer(self, host: Host) -> Anchorer:
        """Make what signs the two logs while the service runs."""
        holding = self.holding
        changes, reads = log_names(holding.service)
        logs = {changes: holding.ledger, reads: holding.reads.ledger}
        return Anchorer(logs, self.journal, self.signer, host.clock, host.stopped, host.log)

    def close(self) -> None:
        """Close every file."""
        self.stack.close()


def open_holding(
    host: Host,
    service: str,
    kinds: Sequence[Kind],
    *,
    revoked: Sequence[str] = (),
    revoke: Callable[[], None] = _nothing,
) -> Opened:
    """Open the folder of a service, made at first use.

    A restore ends what was good before it: records of the kinds *revoked*, and whatever *revoke* ends.

    Raises:
        CapsuleError: a file is of a newer schema, of another deployment, damaged, or cannot be written; nothing is
            changed.
        StartRefused: what was begun here is missing; nothing is changed.
    """
    folder, on_server = host.settings.data, host.settings.database is not None
    restored = restored_in(folder)
    check_begun(folder, folder, service, on_server=on_server)
    with ExitStack() as stack:
        signer = made_signer(folder, service)
        data, log = _databases(stack, host)
        keystore = open_keystore(folder, _safe(host.settings, service), stack, used=lambda: has_pages(data))
        keeping = _kept_journal(host, service, stack, data, unreplayed=restored is not None and restored.unreplayed)
        journal = keeping.journal
        store, ledger = SqlStore(data, journal), SqlLedger(data)
        repository = _repository(host, store, keystore, journal, kinds)
        eraser = Eraser(store, repository.vault, ledger, signer, service, repository.identifiers)
        read_ledger = SqlLedger(log)
        reads = stack.enter_context(ReadLog(read_ledger))
        holding = _holding(host, service, repository, eraser=eraser, ledger=ledger, reads=reads)
        holding.openings.start()
        stack.callback(holding.openings.close)
        readings = readings_of(holding, unshipped=lambda: data.rows("SELECT count(*) FROM outbox", ())[0][0])

        rooms = rooms_of(folder)

        def rehearse() -> None:
            for room in rooms:
                find_room(room)
            ledger.rehearse()

        def compacting() -> int:
            count = compact(journal, keystore)
            keeping.tidy()
            return count

        def mend() -> None:
            keystore.level()
            keeping.begin()
            told = restored_in(folder)  # once more: another process may have done it meanwhile
            if told is None and store.is_behind():
                told = Restored()
                tell_restored(folder, told)
            if told is not None:
                revoke()
                put_right(folder, told, holding, journal, signer=signer, revoked=revoked, log=host.log)
            check_logs(holding, journal, signer)

        tell_begun(folder, {service: SERVER if on_server else FILES})
        return Opened(
            holding=holding,
            paging=Paging(load_or_create_root_key(folder / "pages.key")),
            signer=signer,
            keeping=keeping,
            stack=stack.pop_all(),
            readings={**readings, **keeping.readings},
            rehearsals={Ailment.STORE: rehearse, Ailment.READS: read_ledger.rehearse},
            mend=mend,
            ship=store.ship,
            compact=compacting,
            shared=store.shared,
        )
    raise AssertionError  # pragma: no cover


def _repository(host: Host, store: SqlStore, keystore: Keystore, journal: Journal, kinds: Sequence[Kind]) -> Repository:
    shared = store.shared or host.settings.keystore is not None
    vault = Vault(store, keystore, journal, secrets.token_bytes, shared=shared)
    return Repository(store, vault, kinds, host.settings.phone_region, noting(vault))


def _holding(
    host: Host, service: str, repository: Repository, *, eraser: Eraser, ledger: LedgerStore, reads: ReadLog
) -> Holding:
    def new_erasure() -> str:
        return made_id("e", now=host.clock.now(), randomness=secrets.token_bytes(10))

    bound = timedelta(hours=host.settings.clock_jump)
    return Holding(
        watch=ClockWatch(host.clock, host.settings.data, bound, in_bulk(repository.store)),
        service=service,
        repository=repository,
        eraser=eraser,
        holder=RecordHolder(service, repository, eraser, new_erasure),
        ledger=ledger,
        reads=reads,
        clock=host.clock,
        random=secrets.token_bytes,
    )


def _kept_journal(host: Host, service: str, stack: ExitStack, data: Transactions, *, unreplayed: bool) -> Keeping:
    """Open the journal, and let it and the data belong together."""
    folder = host.settings.data
    place, files = place_of(host.settings.journal_place, folder, service), _journals(folder)
    if not unreplayed:
        fetch_lost(place, bond(data).journal, files, host.log)
    journal = SqlJournal(*(_file(stack, file, Role.JOURNAL) for file in files))
    if unreplayed:
        join_anew(data, journal, new_id=_new_id)
    else:
        join(data, journal, place=str(folder), new_id=_new_id)
    return Keeping(journal, place.shipper(journal) if place else None, host.log)


def _new_id() -> str:
    return secrets.token_hex(16)


def _journals(folder: Path) -> tuple[Path, Path]:
    """Say where the journal is, and its mirror."""
    return folder / "journal.db", folder / _MIRROR / "journal.db"


def _databases(stack: ExitStack, host: Host) -> tuple[Transactions, Transactions]:
    """Open where the records and the log of reads are."""
    folder, server = host.settings.data, host.settings.database
    if server is None:
        return _file(stack, folder / "data.db", Role.DATA), _file(stack, folder / "reads.db", Role.LEDGER)
    url = url_in(server, "CAPSULE_DATABASE")
    examine(url)
    opened = open_postgres(url, Role.DATA), open_postgres(url, Role.LEDGER)
    for database in opened:
        stack.callback(database.close)
    return opened


def _safe(settings: Settings, service: str) -> Address | None:
    """Say in which OpenBao the page keys are; None if they are in a file."""
    if settings.keystore is None:
        return None
    token, authority = settings.keystore_token, settings.keystore_authority
    return address_at(settings.keystore, token=token, authority=authority).below(service)


def _file(stack: ExitStack, path: Path, role: Role) -> Database:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = open_database(path, role)
    stack.callback(database.close)
    return database
