from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import attrs
import pytest
from hypothesis import given

from capsule_core import codec
from capsule_core.errors import NewerSchema
from capsule_core.export import Exported, Record, csv, json, plain_record, vcard
from capsule_core.personal import kind_of
from capsule_core.testing.strategies import exports

Write = Callable[[Iterable[Record]], Iterator[bytes]]


def as_kept(value: Any) -> dict[str, Any]:
    """Open as dictionaries what is kept of a value."""
    kind = kind_of(type(value))
    return codec.decode_plain(codec.encode(value), kind, kind.schema)


@pytest.mark.parametrize("write", [json.write, csv.write, vcard.write], ids=["json", "csv", "vcard"])
@given(record=exports())
def test_contents_opened_as_dictionaries_are_written_as_their_values_are(write: Write, record: Exported) -> None:
    opened = plain_record(
        kind_of(type(record.contact)).name,
        as_kept(record.contact),
        entries=[as_kept(entry) for entry in record.entries],
        photo=None if record.photo is None else as_kept(record.photo),
        created=record.created,
        updated=record.updated,
    )
    assert b"".join(write([opened])) == b"".join(write([record]))


@given(record=exports())
def test_dictionaries_are_led_up_to_the_current_schema_and_never_down(record: Exported) -> None:
    def led_up(fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "about": "led up"}

    kind = attrs.evolve(kind_of(type(record.contact)), schema=2, upcasts={1: led_up})
    data = codec.encode(record.contact)
    assert codec.decode_plain(data, kind, 1) == {**as_kept(record.contact), "about": "led up"}
    assert codec.decode_plain(data, kind, 2) == as_kept(record.contact)
    with pytest.raises(NewerSchema):
        codec.decode_plain(data, kind, 3)
