"""Page tokens: good for what they were made for, and for nothing else."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import InvalidField, PageTokenInvalid
from capsule_core.names import TenantId, from_micros, record_id
from capsule_core.records import Cursor
from capsule_core.uses import Use
from capsule_services.runtime.callers import ServiceCaller
from capsule_services.runtime.calls import Call
from capsule_services.runtime.paging import Paging, page_size
from tests.services.chassis import anna

PAGING = Paging(b"k" * 32)
CALL = Call(method="/a.B/C", permission="contacts.read", use=Use.SEARCH, caller=anna(), tenant=TenantId("acme"))
REQUEST = pb.ListContactsRequest(parent="tenants/acme", show_deleted=True)
MOMENTS = st.integers(-(10**15), 10**16).map(from_micros)
CURSORS = st.builds(Cursor, MOMENTS, st.from_regex(r"[a-z][a-z0-9]{0,25}", fullmatch=True).map(record_id))


def asked(token: str, *, size: int = 0, parent: str = "tenants/acme", deleted: bool = True) -> pb.ListContactsRequest:
    return pb.ListContactsRequest(parent=parent, show_deleted=deleted, page_token=token, page_size=size)


@given(CURSORS, st.integers(0, 2000))
def test_a_token_leads_back_to_where_its_page_ended_whatever_the_size(cursor: Cursor, size: int) -> None:
    token = PAGING.token(CALL, REQUEST, cursor)
    assert PAGING.window(CALL, asked(token, size=size)).after == cursor


@given(CURSORS)
def test_a_token_is_refused_for_anything_else(cursor: Cursor) -> None:
    token = PAGING.token(CALL, REQUEST, cursor)
    elsewhere = [
        (PAGING, attrs.evolve(CALL, method="/a.B/D"), asked(token)),
        (PAGING, attrs.evolve(CALL, tenant=TenantId("rival")), asked(token)),
        (PAGING, attrs.evolve(CALL, caller=attrs.evolve(anna(), user="u2")), asked(token)),
        (PAGING, attrs.evolve(CALL, caller=ServiceCaller("u1")), asked(token)),
        (PAGING, CALL, asked(token, deleted=False)),
        (PAGING, CALL, asked(token, parent="tenants/acme/contacts/c")),
        (Paging(b"j" * 32), CALL, asked(token)),
    ]
    for paging, call, request in elsewhere:
        with pytest.raises(PageTokenInvalid):
            paging.window(call, request)


@given(CURSORS, st.data())
def test_a_token_that_was_altered_is_refused(cursor: Cursor, data: st.DataObject) -> None:
    token = PAGING.token(CALL, REQUEST, cursor)
    place = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda each: each != token[place]))
    with pytest.raises(PageTokenInvalid):
        PAGING.window(CALL, asked(token[:place] + other + token[place + 1 :]))


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_token_has_one_spelling(length: int) -> None:
    token = PAGING.token(CALL, REQUEST, Cursor(from_micros(0), record_id("c" * length)))
    for last in set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=") - {token[-1]}:
        with pytest.raises(PageTokenInvalid):
            PAGING.window(CALL, asked(token[:-1] + last))


@given(st.text(min_size=1, max_size=60))
def test_no_text_is_a_token_by_chance(text: str) -> None:
    with pytest.raises(PageTokenInvalid):
        PAGING.window(CALL, asked(text))


def test_the_last_page_has_no_token_and_the_first_needs_none() -> None:
    assert PAGING.token(CALL, REQUEST, None) == ""
    assert PAGING.window(CALL, REQUEST).after is None


@pytest.mark.parametrize(("size", "limit"), [(0, 50), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)])
def test_a_size_is_the_default_or_what_was_asked_up_to_the_limit(size: int, limit: int) -> None:
    assert page_size(size) == limit


def test_a_negative_size_is_malformed() -> None:
    with pytest.raises(InvalidField) as caught:
        PAGING.window(CALL, asked("", size=-1))
    assert caught.value.field == "page_size"
