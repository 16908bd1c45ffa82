"""What others do with the same people, where they are installed (dependency group ``peers``); None where not."""

from __future__ import annotations

import csv
import io
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import attrs
from sqlalchemy import ForeignKey, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, sessionmaker

from tests.benchmarks.measuring import Spent, spent
from tests.benchmarks.people import person
from tests.benchmarks.rig import plain_notes, plain_row

__all__ = ["casbin", "django_csv", "effaced", "safedelete"]

_APP = "benchmarks"
_COLUMNS = ("id", "given_name", "family_name", "organisation_name", "job_title", "email", "phone", "tag", "owner")


def safedelete(path: Path, count: int, children: int) -> dict[str, float] | None:
    """Trash and restore with django-safedelete: seconds of processor time a contact, and statements for one."""
    if not find_spec("safedelete"):
        return None
    _django(path)
    from django.db import connection, models
    from django.test.utils import CaptureQueriesContext
    from safedelete.config import SOFT_DELETE_CASCADE
    from safedelete.models import SafeDeleteModel

    class SafeContact(SafeDeleteModel):
        _safedelete_policy = SOFT_DELETE_CASCADE
        name = models.CharField(max_length=200)

        class Meta:
            app_label = _APP

    class SafeNote(SafeDeleteModel):
        _safedelete_policy = SOFT_DELETE_CASCADE
        contact = models.ForeignKey(SafeContact, on_delete=models.CASCADE)
        body = models.TextField()

        class Meta:
            app_label = _APP

    with connection.schema_editor() as editor:
        editor.create_model(SafeContact)
        editor.create_model(SafeNote)
    kept = [SafeContact.objects.create(name=person(n).given_name) for n in range(count)]
    SafeNote.objects.bulk_create([SafeNote(contact=each, body="asked") for each in kept for _ in range(children)])
    with CaptureQueriesContext(connection) as caught:
        kept[0].delete()
    statements = len(caught.captured_queries)
    kept[0].undelete()
    trash = spent(lambda: [each.delete() for each in kept]).each(count).cpu
    restore = spent(lambda: [each.undelete() for each in kept]).each(count).cpu
    connection.close()
    return {"trash": trash, "restore": restore, "statements": statements}


def django_csv(path: Path, count: int) -> float | None:
    """Write a plaintext table as CSV through Django: contacts a second of processor time."""
    if not find_spec("django"):
        return None
    _django(path)
    from django.db import connection, models

    fields = {name: models.CharField(max_length=200) for name in _COLUMNS[1:]}
    meta = type("Meta", (), {"app_label": _APP})
    model = type("PlainContact", (models.Model,), {**fields, "Meta": meta, "__module__": __name__})
    with connection.schema_editor() as editor:
        editor.create_model(model)
    rows = (dict(zip(_COLUMNS[1:], plain_row(person(n))[1:], strict=False)) for n in range(count))
    model.objects.bulk_create(model(**row) for row in rows)

    def write() -> None:
        table = csv.writer(io.StringIO())
        for each in model.objects.iterator(chunk_size=2_000):
            table.writerow([getattr(each, name) for name in _COLUMNS])

    rate = count / min(spent(write).cpu for _ in range(3))
    connection.close()
    return rate


def _django(path: Path) -> None:
    """Configure Django once; each benchmark gets a database of its own."""
    import django
    from django.conf import settings
    from django.db import connections

    if not settings.configured:
        database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(path)}
        settings.configure(
            DATABASES={"default": database},
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
            INSTALLED_APPS=[__package__],  # or else Django finds no children to go along
        )
        django.setup()
    connections["default"].close()
    connections["default"].settings_dict["NAME"] = str(path)


def effaced(folder: Path, count: int, children: int, *, erased: int = 20) -> dict[str, Spent] | None:
    """Erase and export with effaced, durably: what one person took, among so many."""
    if not find_spec("effaced"):
        return None
    import effaced as peer

    class Base(DeclarativeBase):
        pass

    class Contact(Base):
        __tablename__ = "contact"
        __table_args__ = ({"info": peer.subject_link("")},)
        id: Mapped[str] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(info=peer.pii(peer.PiiCategory.IDENTITY))
        email: Mapped[str] = mapped_column(info=peer.pii(peer.PiiCategory.CONTACT), index=True)

    class Note(Base):
        __tablename__ = "note"
        __table_args__ = ({"info": peer.subject_link("contact")},)
        id: Mapped[str] = mapped_column(primary_key=True)
        contact_id: Mapped[str] = mapped_column(ForeignKey("contact.id"), index=True)
        body: Mapped[str] = mapped_column(info=peer.pii(peer.PiiCategory.IDENTITY))
        contact: Mapped[Contact] = relationship()

    engine, trail = (_engine(folder / f"effaced-{name}-{count}.db") for name in ("data", "audit"))
    tables = peer.bind_tables(Base.metadata)
    Base.metadata.create_all(engine)
    Base.metadata.create_all(trail)
    people = [person(n) for n in range(count)]
    with Session(engine) as session:
        contacts = [(row[0], row[1], row[5]) for row in map(plain_row, people)]
        session.execute(
            Contact.__table__.insert(), [dict(zip(("id", "name", "email"), c, strict=True)) for c in contacts]
        )
        notes = [note for n, each in enumerate(people) for note in plain_notes(each, n, children)]
        named = ("id", "contact_id", "body")
        session.execute(Note.__table__.insert(), [dict(zip(named, note, strict=True)) for note in notes])
        session.commit()
    wired = _Wired(peer=peer, base=Base, tables=tables, engine=engine, trail=trail)
    return _effaced(wired, [each.id for each in people], erased)


@attrs.frozen(kw_only=True)
class _Wired:
    peer: Any
    base: Any
    tables: Any
    engine: Any
    trail: Any


def _effaced(wired: _Wired, people: list[str], erased: int) -> dict[str, Spent]:
    peer, metadata, engine = wired.peer, wired.base.metadata, wired.engine
    data_map = peer.collect_data_map(metadata)
    graph = peer.resolve_subject_graph(data_map, wired.base.registry)
    sink = peer.DatabaseAuditSink(sessionmaker(wired.trail), wired.tables.audit_events)
    outbox = peer.Outbox(sessionmaker(engine), wired.tables.outbox)
    executor = peer.ErasureExecutor(metadata)
    planner = peer.ErasurePlanner(data_map, graph, executor=executor, outbox=outbox, audit_sink=sink)
    exporter = peer.Exporter(data_map, graph, metadata, sink)

    def export(name: str) -> None:
        with Session(engine) as session:
            exporter.export_subject(session, name)

    def erase(name: str) -> None:
        with Session(engine) as session:
            planner.erase_subject(session, name)
            session.commit()

    asked = people[: max(erased, 20)]
    taken = {"export": spent(lambda: [export(name) for name in asked]).each(len(asked))}
    if erased:
        gone = people[1 : erased + 1]
        erase(people[0])
        taken["erase"] = spent(lambda: [erase(name) for name in gone]).each(len(gone))
    engine.dispose()
    wired.trail.dispose()
    return taken


def _engine(path: Path) -> Any:
    engine = create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def durable(connection: Any, _: object) -> None:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
        connection.execute("PRAGMA synchronous = FULL").fetchall()

    return engine


_MODEL = """
[request_definition]
r = sub, act
[policy_definition]
p = sub, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && r.act == p.act
"""


def casbin(count: int) -> float | None:
    """Decide with casbin: seconds of processor time a decision."""
    if not find_spec("casbin"):
        return None
    import casbin as peer

    from capsule_core.roles import _PERMISSIONS

    model = peer.Model()
    model.load_model_from_text(_MODEL)
    enforcer = peer.Enforcer(model)
    enforcer.add_policies([(role.value, each) for role, held in _PERMISSIONS.items() for each in sorted(held)])
    enforcer.add_grouping_policy("u1", "standard")
    return spent(lambda: [enforcer.enforce("u1", "contacts.edit") for _ in range(count)]).each(count).cpu
