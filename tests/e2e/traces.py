"""What would give somebody away: their words, the keys to them, and what still opens with the keys that are left."""

from __future__ import annotations

import hmac
import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import attrs

from capsule_core.errors import CapsuleError
from capsule_core.journal import SealedPage
from capsule_core.names import SubjectKey, TenantId
from capsule_core.pages import PageKey, open_page
from capsule_core.records import Mark, Sealed, Shelf, Slot, Where
from capsule_core.sealing import KEY_BYTES, Identity, open_blob, open_bytes
from capsule_core.vault import Vault
from capsule_core.wrapping import ROOT_ID_BYTES, WRAPPED_BYTES, RootKey, Row, owner_of, root_id
from capsule_services.demo.forensics import search
from capsule_services.runtime.layout import DATABASE, url_in
from capsule_services.runtime.safekeeping import open_keystore
from capsule_sql.database import open_database
from capsule_sql.journals import SqlJournal
from capsule_sql.keystores import SqlKeystore
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from capsule_sql.records import SqlStore
from capsule_sql.statements import TENANT, Transactions
from capsule_sql.tenants import each_tenant

_ANY: Final = 0xFFFF
_PIECE: Final = 24
"""Bytes of what is sealed that are looked for: few, for files are cut into pages."""


@attrs.frozen
class Books:
    """What a service keeps, opened by the library's own ports beside the running service."""

    data: Transactions
    store: SqlStore
    keystore: SqlKeystore
    vault: Vault

    def tenants(self) -> list[TenantId]:
        return [tenant for _, tenant in self.data.read(lambda each: list(each_tenant(each)))]

    def records(self, tenant: TenantId, **which: Any) -> Iterator[Sealed]:
        where, after = Where(tenant=tenant, shelf=Shelf.ANY, **which), None
        while True:
            page = self.store.select(where, admits=~Mark.NONE, limit=1000, after=after)
            yield from page.records
            after = page.after
            if after is None:
                return

    def answers(self, tenant: TenantId, subject: str | None = None) -> list[Any]:
        """Return of each answer its key, where its own key lies, and its body."""
        select = "SELECT key, page, place, body, subject FROM answers WHERE body IS NOT NULL AND tenant_no = "
        rows = self.data.rows(select + TENANT, (tenant,), tenant=tenant)
        return [row[:4] for row in rows if subject is None or row[4] == subject]


@contextmanager
def books(service: Path, data: Path | None = None) -> Iterator[Books]:
    """Open the *service*'s folder; with *data*, another file of records beside its keys and its journal."""
    with ExitStack() as stack:

        def opened(path: Path, role: Role) -> Transactions:
            database = open_database(path, role)
            stack.callback(database.close)
            return database

        if data is None and (service / DATABASE).exists():
            records: Transactions = open_postgres(url_in(service / DATABASE, ""), Role.DATA)
            stack.callback(records.close)
        else:
            records = opened(data or service / "data.db", Role.DATA)
        keystore = open_keystore(service, None, stack)
        assert isinstance(keystore, SqlKeystore)
        journals = (service / "journal.db", service / "mirror" / "journal.db")
        journal = SqlJournal(*(opened(path, Role.JOURNAL) for path in journals))
        store = SqlStore(records, journal)
        yield Books(records, store, keystore, Vault(store, keystore, journal, secrets.token_bytes))


@attrs.frozen(kw_only=True)
class Secrets:
    """What opens one person's records, and what they are sealed in; taken while they were there."""

    page: SealedPage
    index: int
    row: Row
    page_key: bytes = attrs.field(repr=False)
    key: bytes = attrs.field(repr=False)
    records: tuple[Sealed, ...]
    answers: tuple[tuple[bytes, bytes], ...]
    tokens: tuple[int, ...]

    @classmethod
    def of(cls, service: Path, tenant: str, contact: str) -> Secrets:
        name, subject = TenantId(tenant), SubjectKey(contact)
        with books(service) as opened:
            (person,) = opened.store.subjects(name, [subject])
            assert person is not None
            (page,) = opened.store.pages(name, [person.slot.page])
            assert page is not None
            (page_key,) = opened.keystore.get(name, [page.number])
            assert page_key is not None
            return cls(
                page=page,
                index=person.slot.index,
                row=_row(opened.keystore, page_key),
                page_key=page_key.key,
                key=opened.vault.keys(name, [person.slot])[0],
                records=tuple(opened.records(name, subjects=(subject,))),
                answers=tuple((bytes(key), bytes(body)) for key, _, _, body in opened.answers(name, contact)),
                tokens=_own_tokens(opened.data, name, contact),
            )

    def opened_by(self, keys: Iterable[bytes]) -> bytes:
        """Try each of *keys* as the key of the page, and open with what is in it; return what can be read then."""
        read: list[bytes] = []
        for key in keys:
            try:
                own = open_page(self.page, key=key).key(self.index)
            except CapsuleError:
                continue
            read += [opened_record(each, own) for each in self.records]
            read += [open_bytes(body, key=own, bound=b"answer\0" + name, what="answer") for name, body in self.answers]
        return b"\n".join(read)

    def page_keys_in(self, content: bytes, roots: Iterable[RootKey]) -> set[bytes]:
        """Return the keys of the page that somebody finds in a file who has the root keys: wherever one is wrapped."""
        found: set[bytes] = set()
        for root in roots:
            at = content.find(root.id)
            while at >= 0:
                wrapped, name = content[at : at + WRAPPED_BYTES], content[max(0, at - ROOT_ID_BYTES) : at]
                for each in (name, self.row.id):
                    bound = attrs.evolve(self.row, id=each).bound()
                    try:
                        found.add(open_bytes(wrapped[ROOT_ID_BYTES:], key=root.key, bound=bound, what="page key"))
                    except CapsuleError:
                        continue
                at = content.find(root.id, at + 1)
        return found

    def spellings(self) -> dict[bytes, str]:
        """Say what is looked for, as bytes, and what it is."""
        blobs = [self.page.blob, *(record.blob for record in self.records), *(body for _, body in self.answers)]
        return {
            **dict.fromkeys(_numbers(self.tokens), "token"),
            **{blob[-_PIECE - 16 : -16]: "sealed" for blob in blobs},
            self.row.wrapped: "page key, wrapped",
            self.page_key: "page key",
            self.key: "key",
        }


def opened_record(record: Sealed, key: bytes) -> bytes:
    identity = Identity(record.tenant, record.subject, record.kind, record.id, record.version)
    return open_blob(record.blob, key=key, identity=identity, schema=_ANY)[1]


def opens(service: Path, data: Path | None = None) -> Iterator[bytes]:
    """Give whatever of a service's records and answers opens with the keys that are left."""
    with books(service, data) as opened:
        for tenant in opened.tenants():
            for record in opened.records(tenant):
                for key in _keys(opened.vault, tenant, record.slot):
                    yield opened_record(record, key)
            for name, page, place, body in opened.answers(tenant):
                for key in _keys(opened.vault, tenant, None if page is None else Slot(page, place)):
                    yield open_bytes(bytes(body), key=key, bound=b"answer\0" + bytes(name), what="answer")


@attrs.frozen
class Scan:
    """Where each trace was found, by what it is; *read* is which words could be read with the keys that are left."""

    found: Mapping[str, Collection[str]]
    read: Collection[str]

    def places(self, what: str) -> set[str]:
        """Name the places in which *what* was found: the first part of each path."""
        return {path.partition("/")[0] for path in self.found.get(what, ())}


def scan(
    places: Mapping[str, Path],
    words: Sequence[str | bytes],
    people: Sequence[Secrets],
    living: Secrets,
    services: Sequence[tuple[Path, Path | None]],
) -> Scan:
    """Look through every byte of *places*; and open what can be opened, of *people* and in *services*.

    Of somebody *living* the tokens are looked for, which should be found.
    """
    wanted: dict[str | bytes, str] = dict.fromkeys(words, "word") | dict.fromkeys(_numbers(living.tokens), "living")
    for person in people:
        wanted |= person.spellings()
    roots = {RootKey(key) for service, _ in services if len(key := (service / "root.key").read_bytes()) == KEY_BYTES}
    found: dict[str, set[str]] = defaultdict(set)
    keys: set[bytes] = set()
    for name, folder in places.items():
        for each in search(folder, wanted):
            found[wanted[each.word]].add(f"{name}/{each.path.relative_to(folder)}")
        for content in _contents(folder):
            keys |= {key for person in people for key in person.page_keys_in(content, roots)}
    plain = [each for service, data in services for each in opens(service, data)]
    plain += [person.opened_by(keys) for person in people]
    everything = b"\n".join(plain)
    return Scan(found, {word for word in words if isinstance(word, str) and word.encode() in everything})


def _contents(folder: Path) -> Iterator[bytes]:
    for path in (path for path in folder.rglob("*") if path.is_file()):
        with suppress(FileNotFoundError):  # somebody is at work there
            yield path.read_bytes()


def _row(keystore: SqlKeystore, key: PageKey) -> Row:
    """Return the key as it lies in the file."""
    owner = owner_of(keystore._names, key.tenant)
    select = "SELECT wrapped FROM keys WHERE tenant = ? AND page = ? AND id = ?"
    ((wrapped,),) = keystore._database.rows(select, (owner, key.page, key.id))
    assert root_id(wrapped)
    return Row(owner, key.page, key.id, wrapped)


def _own_tokens(data: Transactions, tenant: TenantId, contact: str) -> tuple[int, ...]:
    """Return what nobody else is found by: their tokens, and the four numbers of their signatures."""
    select = """SELECT t.token, s.key FROM tokens t
        JOIN records r ON r.no = t.record_no JOIN subjects s ON s.no = r.subject_no"""
    whose: dict[int, set[str]] = defaultdict(set)
    for token, key in data.rows(select, (), tenant=tenant):
        whose[token].add(key)
    select = """SELECT g.s0, g.s1, g.s2, g.s3, s.key FROM signatures g
        JOIN records r ON r.no = g.record_no JOIN subjects s ON s.no = r.subject_no"""
    for *numbers, key in data.rows(select, (), tenant=tenant):
        for number in numbers:
            whose[number].add(key)
    return tuple(number for number, keys in whose.items() if keys == {contact} and abs(number) >> 48)


def _numbers(tokens: Iterable[int]) -> list[bytes]:
    return [number.to_bytes(8, order, signed=True) for number in tokens for order in ("big", "little")]


def _keys(vault: Vault, tenant: TenantId, slot: Slot | None) -> list[bytes]:
    try:
        if slot is None:
            return [hmac.digest(vault.tenant(tenant).answers, b"seal", "sha256")]
        return list(vault.keys(tenant, [slot]))
    except CapsuleError:
        return []
