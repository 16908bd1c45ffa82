"""Contents of records to bytes and back: what was sealed comes back as it was, by the short way and by the long one."""

from __future__ import annotations

import enum
import json
from typing import Any

import attrs
import cattrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core import codec
from capsule_core.contacts import Person
from capsule_core.personal import Kind, kind_of
from capsule_core.testing.strategies import exports


class Colour(enum.Enum):
    RED = "red"


@attrs.frozen
class Part:
    number: int
    colour: Colour = Colour.RED
    words: tuple[str, ...] = ()
    pairs: tuple[int, ...] = ()


@attrs.frozen
class Whole:
    id: str
    parts: tuple[Part, ...] = ()
    table: tuple[tuple[str, int], ...] = ()
    chosen: Part | None = None
    flag: bool = False


@attrs.frozen
class Converted:
    id: str
    letters: str = attrs.field(default="", converter=str.upper)
    length: int = attrs.field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "length", len(self.letters))


@attrs.define
class Sharing:
    id: str
    items: list[str] = attrs.Factory(list)


@attrs.frozen(cache_hash=True)
class Remembering:
    id: str


def of(model: type[Any]) -> Kind:
    return Kind(name="sample", model=model, subject="id", fields={})


parts = st.builds(Part, st.integers(), words=st.lists(st.text()).map(tuple), pairs=st.lists(st.integers()).map(tuple))
wholes = st.builds(
    Whole,
    st.text(),
    st.lists(parts, max_size=3).map(tuple),
    st.lists(st.tuples(st.text(), st.integers()), max_size=3).map(tuple),
    st.none() | parts,
    st.booleans(),
)
others = st.builds(Converted, st.text(), st.text()) | st.builds(Sharing, st.text()) | st.builds(Remembering, st.text())


@given(wholes | others | exports().map(lambda record: record.contact))
def test_a_value_is_read_as_it_was_written_and_as_the_long_way_reads_it(value: Any) -> None:
    kind = kind_of(type(value)) if isinstance(value, Person) else of(type(value))
    data = codec.encode(value)
    read = codec.decode(data, kind, 1)
    assert read == value
    assert read == cattrs.structure(json.loads(data), type(value))
    assert repr(read) == repr(value)
    if type(value).__hash__ is not None:
        assert hash(read) == hash(value)


def test_two_values_never_share_a_default_that_can_change() -> None:
    first, second = (codec.decode(b'{"id":"a"}', of(Sharing), 1) for _ in range(2))
    first.items.append("x")
    assert second.items == []


def test_what_was_sealed_is_not_judged_again_by_rules_that_came_later() -> None:
    data = b'{"id":"c1","given_name":"a\\u0007"}'
    assert codec.decode(data, kind_of(Person), 1).given_name == "a\a"


def test_a_field_that_is_not_known_any_more_is_passed_over_and_one_that_is_missing_is_not_made_up() -> None:
    assert codec.decode(b'{"id":"a","gone":1}', of(Whole), 1) == Whole("a")
    with pytest.raises(KeyError):
        codec.decode(b'{"flag":true}', of(Whole), 1)


@given(st.lists(exports().map(lambda record: record.contact), max_size=4))
def test_many_are_read_as_dictionaries_as_each_alone_is(contacts: list[Any]) -> None:
    kinds, contents = [kind_of(type(each)) for each in contacts], [codec.encode(each) for each in contacts]
    each = [codec.decode_plain(data, kind, 1) for data, kind in zip(contents, kinds, strict=True)]
    assert codec.decode_plains(contents, kinds) == each


@given(exports().map(lambda record: record.contact))
def test_bytes_of_an_older_schema_are_led_up_and_those_of_the_current_one_are_passed_on(contact: Any) -> None:
    kind = attrs.evolve(kind_of(type(contact)), schema=2, upcasts={1: lambda fields: {**fields, "about": "led up"}})
    data = codec.encode(contact)
    assert codec.current(data, kind, 2) is data
    assert codec.current(data, kind, 1) == codec.encode(attrs.evolve(contact, about="led up"))
