"""Export of a whole tenant, decrypted and logged, against the same texts read from a plaintext table."""

from __future__ import annotations

import csv as plain_csv
import io
import json as plain_json
import resource
import sqlite3
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from capsule_api.contacts.v1 import contacts_pb2
from capsule_core.repository import A_MESSAGE
from capsule_services.contacts.exchange.convert import form_of, records_to
from capsule_services.contacts.exchange.handlers import BESIDE, export_contacts, parts
from capsule_services.runtime.paging import Window
from tests.benchmarks import peers
from tests.benchmarks.measuring import Goal, Result, Scale, Spent, interleaved, ratio, spent
from tests.benchmarks.people import person
from tests.benchmarks.rig import CALL, Rig, fill, insert_plain, plain_row, plain_table, raw, rigged

__all__ = ["exporting"]


def exporting(scale: Scale, folder: Path) -> Iterator[Result]:
    """Write every contact: as the service does, and as somebody would who keeps them in plaintext."""
    with rigged(folder / "ours") as rig, raw(folder / "plain.db") as plain:
        fill(rig, range(scale.exported))
        plain_table(plain)
        insert_plain(plain, [plain_row(person(n)) for n in range(scale.exported)])
        _written(rig, "JSON")
        before = _most_memory()
        sides: dict[str, Callable[[int], Spent]] = {
            "raw json": lambda _: spent(lambda: _json(plain)),
            "json": lambda _: spent(lambda: _written(rig, "JSON")),
            "raw csv": lambda _: spent(lambda: _csv(plain)),
            "csv": lambda _: spent(lambda: _written(rig, "CSV")),
            "vcard": lambda _: spent(lambda: _written(rig, "VCARD")),
            "records": lambda _: spent(lambda: _streamed(rig)),
        }
        taken = interleaved(sides, scale.rounds)
        growth = (_most_memory() - before) / 1024
        django = peers.django_csv(folder / "django.db", scale.exported)
        vobject = _vobject(plain, scale.peers) if find_spec("vobject") else None
    rate = {name: scale.exported / min(side.cpu for side in each) for name, each in taken.items()}
    for form, name in (("json", "orjson" if find_spec("orjson") else "json"), ("csv", "csv.writer")):
        yield Result(
            name=f"export {form}",
            against=f"SELECT from a plaintext table and {name}",
            unit="%",
            figure=100 * ratio(taken[f"raw {form}"], taken[form], "cpu"),
            goal=Goal(65),
            ours=f"{rate[form]:,.0f} /s",
            reference=f"{rate[f'raw {form}']:,.0f} /s",
        )
    yield Result(
        name="export csv",
        against="Django's values_list and csv.writer, in plaintext",
        unit="x",
        figure=django and rate["csv"] / django,
        goal=Goal(1.5),
        ours=f"{rate['csv']:,.0f} /s",
        reference=f"{django:,.0f} /s" if django else "",
        why="not installed",
    )
    yield Result(
        name="export vcard",
        against="SELECT from a plaintext table and vobject",
        unit="x",
        figure=vobject and rate["vcard"] / vobject,
        goal=Goal(40),
        ours=f"{rate['vcard']:,.0f} /s",
        reference=f"{vobject:,.0f} /s" if vobject else "",
        why="not installed",
    )
    yield Result(
        name="export records",
        against=f"records as they are, decrypted and logged, {A_MESSAGE} in a message",
        unit="/s",
        figure=rate["records"],
        goal=Goal(100_000),
        ours=f"{rate['records']:,.0f} /s",
    )
    yield Result(
        name="export",
        against="memory that exporting adds to the process",
        unit="MiB",
        figure=growth,
        goal=Goal(32, at_most=True),
    )


def _written(rig: Rig, name: str) -> int:
    form = form_of(contacts_pb2.ExportContactsRequest.Format.Value(name))
    assert form
    return sum(len(piece.data) for piece in export_contacts(rig.holding, CALL, form, Window(A_MESSAGE, None)))


def _streamed(rig: Rig) -> int:
    found = parts(rig.holding, CALL, BESIDE, Window(A_MESSAGE, None))
    return sum(len(message.records) for part in found for message in records_to(CALL.within(), part, "token"))


def _json(plain: sqlite3.Connection) -> int:
    dumps: Callable[[object], str | bytes] = plain_json.dumps
    if find_spec("orjson"):
        from orjson import dumps
    cursor = plain.execute("SELECT * FROM contact")
    names = [column[0] for column in cursor.description]
    return sum(len(dumps(dict(zip(names, row, strict=True)))) for row in cursor)


def _csv(plain: sqlite3.Connection) -> int:
    block = io.StringIO()
    table = plain_csv.writer(block)
    for row in plain.execute("SELECT * FROM contact"):
        table.writerow(row)
    return block.tell()


def _vobject(plain: sqlite3.Connection, count: int) -> float:
    import vobject

    def write() -> None:
        for row in plain.execute("SELECT * FROM contact LIMIT ?", (count,)):
            card = vobject.vCard()
            card.add("n").value = vobject.vcard.Name(family=row[2], given=row[1])
            card.add("fn").value = f"{row[1]} {row[2]}"
            card.add("org").value = [row[3]]
            card.add("title").value = row[4]
            card.add("email").value = row[5]
            card.add("tel").value = row[6]
            card.serialize()

    return count / spent(write).cpu


def _most_memory() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
