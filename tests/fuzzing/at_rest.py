"""What lies in files and databases, and may have been altered: sealed blobs, contents, the journal, wrapped keys."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Final

import attrs
from cattrs.errors import StructureHandlerNotFoundError

import capsule_core
from capsule_core import codec, journal
from capsule_core.codec import decode, decode_plain, encode, to_plain
from capsule_core.errors import InvalidField, NewerSchema, RootKeyAbsent, SealBroken
from capsule_core.journal import Anchored, Entry, Marked, PageResealed, SealedPage, Suppressed, Written
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.pages import OpenPage, PageKey, open_page, seal_page, without
from capsule_core.personal import Kind
from capsule_core.records import Mark, Reason, Sealed, Slot, Trash
from capsule_core.sealing import Identity, open_blob, open_bytes, seal_blob
from capsule_core.wrapping import RootKey, Roots, names_under, seal_names, unwrap, wrap
from capsule_services.backup.chunks import EMPTY, Ref
from capsule_services.backup.faults import BackupDamaged
from capsule_services.runtime.shipping.envelopes import Envelope, Head, JournalKey, Piece
from capsule_services.runtime.shipping.faults import ShippedDamaged, ShippedForeign
from tests.fuzzing.target import Drawn, Target

__all__ = ["TARGETS"]

NOW: Final = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
ACME: Final = TenantId("acme")
KEY: Final = bytes(range(32))
IDENTITY: Final = Identity("acme", "s1", "person", "c1", 7)


@cache
def _blobs() -> dict[bytes, tuple[int, bytes]]:
    written = ((1, b'{"id":"c1"}'), (2, b""), (9, b"of a newer schema"))
    return {
        seal_blob(text, key=KEY, identity=IDENTITY, schema=schema, nonce=bytes([schema] * 12)): (schema, text)
        for schema, text in written
    }


def _blob(data: bytes) -> None:
    assert open_blob(data, key=KEY, identity=IDENTITY, schema=2) == _blobs()[data]
    for other in (attrs.evolve(IDENTITY, version=8), attrs.evolve(IDENTITY, tenant="zeta")):
        try:
            open_blob(data, key=KEY, identity=other, schema=2)
        except SealBroken:
            continue
        raise AssertionError


_JOURNAL: Final = Envelope(JournalKey(KEY), "journal/contacts/0123/", "s3://somewhere")
_PIECE: Final = Piece(name="ab", first=2, last=3, count=2, size=9)


@cache
def _shipped() -> tuple[bytes, bytes]:
    """Return a head of a shipped journal, and the piece that it names."""
    entries = [Anchored("contacts", text) for text in ("", "a", "b")]
    rows = tuple(enumerate(entries, start=2))
    head = Head(version=7, journal="0123", position=4, digest="d", pieces=(_PIECE,), tail=rows[2:])
    return _JOURNAL.seal_head(head, bytes(12)), _JOURNAL.seal_piece("ab", rows[:2], bytes(12))


def _shipped_journal(data: bytes) -> None:
    head, piece = _shipped()
    try:
        assert _JOURNAL.open_head(data).pieces == (_PIECE,)
        assert data == head
    except ShippedDamaged:
        assert [no for no, _ in _JOURNAL.open_piece(_PIECE, data)] == [2, 3]
        assert data == piece


def _chunks(data: bytes) -> None:
    assert b"".join(ref.encode() for ref in Ref.decode_all(data)) == data


@cache
def _page() -> OpenPage:
    return OpenPage(tenant=ACME, number=3, generation=1, key_id=b"12345678", keys=bytes(range(256)) * 32)


@cache
def _pages() -> dict[bytes, SealedPage]:
    pages = (_page(), without(_page(), [0, 7], key_id=b"87654321"))
    sealed = [seal_page(page, key=KEY, nonce=bytes([page.generation] * 12)) for page in pages]
    return {page.blob: page for page in sealed}


def _sealed_page(data: bytes) -> None:
    genuine = _pages().get(data)
    shown = open_page(attrs.evolve(next(iter(_pages().values())), blob=data), key=KEY)
    assert genuine is not None
    assert shown == _page()


@cache
def _kinds() -> tuple[Kind, ...]:
    """Every kind that the domain declares."""
    found: dict[str, Kind] = {}
    for module in pkgutil.walk_packages(capsule_core.__path__, "capsule_core."):
        if ".testing" not in module.name:
            for value in vars(importlib.import_module(module.name)).values():
                declared = vars(value).get("__capsule_kind__") if isinstance(value, type) else None
                if declared is not None:
                    found[declared.name] = declared
    return tuple(found[name] for name in sorted(found))


def _contents(data: bytes) -> None:
    drawn = Drawn(data)
    kind = _kinds()[drawn.number(len(_kinds()))]
    content = decode(drawn.left, kind, kind.schema)
    made = kind.model(**{field.name: getattr(content, field.name) for field in attrs.fields(kind.model) if field.init})
    text = encode(made)
    assert decode(text, kind, kind.schema) == made
    assert encode(decode(text, kind, kind.schema)) == text
    assert codec.decode_plains([text], [kind]) == [decode_plain(text, kind, kind.schema)]
    assert decode_plain(text, kind, kind.schema).keys() >= to_plain(made).keys()


_CONTENTS: Final = {
    "person": {
        "id": "c1",
        "given_name": "Bo",
        "emails": [{"address": "bo@example.org"}],
        "tags": ["a"],
        "birthday": "--02-29",
    },
    "organisation": {"id": "c2", "name": "Acme", "custom": [{"key": "k", "value": "v"}], "phones": [{"number": "1"}]},
    "entry": {"id": "n1", "contact": "c1", "channel": "note", "occurred_at": "2026-05-04T09:30:00Z", "body": "Rang."},
    "photo": {"id": "p1", "contact": "c1", "media_type": "image/png", "data": "AAAA"},
    "user": {"id": "u1", "display_name": "Bo Vane", "email": "bo@example.org", "role": "administrator"},
    "session": {"id": "s1", "user": "u1", "expires_at": "2026-05-04T09:30:00+00:00"},
}


def _samples_of_contents() -> Iterator[bytes]:
    for number, kind in enumerate(_kinds()):
        yield bytes([number]) + json.dumps(_CONTENTS.get(kind.name, {"id": "x"})).encode()


def _entry(data: bytes) -> None:
    entry = journal.decode(data)
    line = journal.encode(entry)
    assert journal.decode(line) == entry
    assert journal.encode(journal.decode(line)) == line


def _entries() -> Iterator[Entry]:
    reason = Reason(id="e1", mark=Mark.ERASED, subject=SubjectKey("s1"), since=NOW)
    yield PageResealed(SealedPage(tenant=ACME, number=3, generation=1, key_id=b"12345678", blob=b"sealed"))
    yield Marked(tenant=ACME, reasons=(reason, attrs.evolve(reason, record=RecordId("c1"))), lift=True)
    yield Suppressed(tenant=ACME, hashes=(bytes(16), bytes(range(16))), since=NOW)
    yield Anchored("contacts/2", "contacts/2\n1\nAAAA\n\n- contacts AAAA\n")
    yield Written(_record())


def _record() -> Sealed:
    return Sealed(
        tenant=ACME,
        kind="user",
        id=RecordId("u1"),
        root=RecordId("u1"),
        subject=SubjectKey("s1"),
        slot=Slot(3, 7),
        version=2,
        at=NOW,
        created=NOW,
        updated=NOW,
        blob=b"sealed",
        trash=Trash(batch="b1", at=NOW, until=NOW),
    )


ROOT: Final = RootKey(KEY)
NEXT: Final = RootKey(bytes(32))


@cache
def _roots() -> Roots:
    return Roots(lambda: (ROOT.key, NEXT.key))


@cache
def _rows() -> dict[bytes, PageKey]:
    keys = [PageKey(tenant=ACME, page=3, id=b"12345678", key=bytes([number] * 32)) for number in range(2)]
    return {
        wrap(key, names=KEY, root=root, nonce=bytes([number] * 12)).wrapped: key
        for number, (key, root) in enumerate(zip(keys, (ROOT, NEXT), strict=True))
    }


def _row(data: bytes) -> None:
    genuine = _rows().get(data)
    bare = wrap(next(iter(_rows().values())), names=KEY, root=ROOT, nonce=bytes(12))
    assert unwrap(attrs.evolve(bare, wrapped=data), ACME, roots=_roots()) == genuine


def _names(data: bytes) -> None:
    assert names_under(data, roots=_roots()) == KEY
    assert data in {seal_names(KEY, root=root, nonce=bytes(12)) for root in (ROOT, NEXT)}


_SHAPE: Final = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

TARGETS: Final = (
    Target(
        name="sealed-record",
        take=_blob,
        parsers=(open_blob,),
        samples=lambda: [*_blobs(), b"\1", b"\2\0\1", b""],
        raises=(NewerSchema, SealBroken),
    ),
    Target(
        name="key-page",
        take=_sealed_page,
        parsers=(open_page, open_bytes),
        samples=_pages,
        raises=(SealBroken,),
        longest=8400,
        runs=500,
    ),
    Target(
        name="contents",
        take=_contents,
        parsers=(decode, decode_plain, codec.decode_plains, codec.from_plain),
        samples=_samples_of_contents,
        # The seal was opened, so nobody altered them: whatever JSON of another shape raises is a mistake of ours.
        raises=(*_SHAPE, InvalidField, StructureHandlerNotFoundError),
        runs=700,
    ),
    Target(
        name="journal-entry",
        take=_entry,
        parsers=(journal.decode,),
        samples=lambda: map(journal.encode, _entries()),
        raises=(NewerSchema, SealBroken),
    ),
    Target(
        name="wrapped-key",
        take=_row,
        parsers=(unwrap,),
        samples=_rows,
        raises=(RootKeyAbsent, SealBroken),
    ),
    Target(
        name="backup-chunks",
        take=_chunks,
        parsers=(Ref.decode_all,),
        samples=lambda: [b"", EMPTY.encode(), Ref(bytes(range(16)), b"12345678", 7, 9).encode() + EMPTY.encode()],
        raises=(BackupDamaged,),
    ),
    Target(
        name="shipped-journal",
        take=_shipped_journal,
        parsers=(Envelope.open_head, Envelope.open_piece),
        samples=_shipped,
        raises=(NewerSchema, ShippedDamaged, ShippedForeign),
    ),
    Target(
        name="names-key",
        take=_names,
        parsers=(names_under,),
        samples=lambda: [seal_names(KEY, root=root, nonce=bytes(12)) for root in (ROOT, NEXT)],
        raises=(RootKeyAbsent, SealBroken),
    ),
)
