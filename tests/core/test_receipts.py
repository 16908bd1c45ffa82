from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.checkpoints import Checkpoint, Signer, sign_checkpoint
from capsule_core.errors import InvalidField, ReceiptInvalid
from capsule_core.ledger import Frontier, Leaf
from capsule_core.receipts import Destruction, Method, Outcome, Receipt, Statement, describe, issue, verify

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
SIGNER = Signer.from_seed("contacts.test", bytes(range(32)))
OTHER = Signer.from_seed("contacts.test", bytes(32))
KEY = SIGNER.verifier.text()
ORIGIN = "contacts.test/changes/1"
STATEMENT = Statement(
    erasure="e0123456789",
    service="contacts",
    tenant="acme",
    subjects=("s0001", "s0002"),
    ground="request",
    scope="this service",
    requested_at=NOW,
    fenced_at=NOW + timedelta(seconds=1),
    destroyed_at=NOW + timedelta(seconds=2),
    read_back_at=NOW + timedelta(seconds=3),
    destructions=(
        Destruction(
            holder="contacts",
            outcome=Outcome.ERASED,
            method=Method.CRYPTOGRAPHIC_ERASE,
            records={"contact": 2, "note": 7},
            pages=("00ff", "01ff"),
            mirrors=2,
            verified_at=NOW + timedelta(seconds=3),
        ),
        Destruction(
            holder="mailing", outcome=Outcome.NOTHING_HELD, method=Method.CLEAR, verified_at=NOW + timedelta(seconds=3)
        ),
    ),
    remaining=("clear: backups until 2027-01-01",),
)


def commit(statement: Statement, /, **detail: str) -> bytes:
    return Leaf(
        at=NOW,
        tenant=statement.tenant,
        act="erasure.commit",
        use="erase",
        actor="ab" * 16,
        detail={"erasure": statement.erasure, "statement": statement.digest(), **detail},
    ).encode()


LEAF = commit(STATEMENT)


def log(leaf: bytes = LEAF, *, before: int = 5) -> Frontier:
    return Frontier().append([*(b"leaf %d" % number for number in range(before)), leaf])


def issued(statement: Statement = STATEMENT, *, before: int = 5) -> Receipt:
    leaf = commit(statement)
    return issue(statement, leaf=leaf, frontier=log(leaf, before=before), origin=ORIGIN, signer=SIGNER)


RECEIPT = issued()
JSON = RECEIPT.to_json()


def refuse(receipt: Receipt | bytes, problem: str, key: str = KEY) -> None:
    with pytest.raises(ReceiptInvalid, match=problem):
        verify(receipt, key)


moments = st.datetimes(timezones=st.just(UTC))
lines = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20)
destructions = st.builds(
    Destruction,
    holder=lines,
    outcome=st.just(Outcome.ERASED),
    method=st.sampled_from(Method),
    records=st.dictionaries(lines, st.integers(0, 1 << 40), max_size=3),
    pages=st.lists(st.from_regex(r"\A[0-9a-f]{4}\Z"), max_size=3).map(tuple),
    mirrors=st.integers(1, 3),
    verified_at=moments,
)
statements = st.builds(
    Statement,
    erasure=lines,
    service=lines,
    tenant=st.just("acme"),
    subjects=st.lists(st.from_regex(r"\A[a-z0-9]{1,9}\Z"), max_size=3).map(tuple),
    ground=lines,
    scope=st.sampled_from(["this service", "everywhere"]),
    requested_at=moments,
    fenced_at=moments,
    destroyed_at=moments,
    read_back_at=moments,
    destructions=st.lists(destructions, min_size=1, max_size=3).map(tuple),
    remaining=st.lists(lines, max_size=2).map(tuple),
)


@given(statements)
def test_a_statement_survives_being_encoded(statement: Statement) -> None:
    assert Statement.decode(statement.encode()) == statement


@pytest.mark.law("L8")
@given(statements, st.integers(0, 70))
def test_what_was_issued_is_verified_offline_from_its_bytes(statement: Statement, before: int) -> None:
    leaf = Leaf(
        at=NOW, tenant="acme", act="erase", use="erase", actor="ab" * 16, detail={"statement": statement.digest()}
    ).encode()
    receipt = issue(statement, leaf=leaf, frontier=log(leaf, before=before), origin=ORIGIN, signer=SIGNER)
    data = receipt.to_json()
    assert Receipt.from_json(data) == receipt
    assert verify(data, KEY) == verify(receipt, SIGNER.verifier) == statement


def test_a_receipt_with_any_byte_flipped_is_refused_or_means_the_same() -> None:
    for at in range(len(JSON)):
        altered = JSON[:at] + bytes([JSON[at] ^ 1 << at % 8]) + JSON[at + 1 :]
        try:
            verify(altered, KEY)
        except ReceiptInvalid:
            continue
        assert Receipt.from_json(altered) == RECEIPT


@given(st.integers(0, len(JSON) - 1), st.integers(0, 255))
def test_a_receipt_with_any_byte_replaced_is_refused_or_means_the_same(at: int, byte: int) -> None:
    altered = JSON[:at] + bytes([byte]) + JSON[at + 1 :]
    try:
        verify(altered, KEY)
    except ReceiptInvalid:
        return
    assert Receipt.from_json(altered) == RECEIPT


def test_white_space_and_the_order_of_fields_do_not_matter() -> None:
    assert verify(json.dumps(json.loads(JSON), sort_keys=True, indent=7).encode(), KEY) == STATEMENT


def test_a_receipt_is_the_same_bytes_each_time() -> None:
    assert issued().to_json() == JSON


def told(change: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(JSON)
    change(value)
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "not JSON"),
        (b"\xff", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"\xef\xbb\xbf" + JSON, "not JSON"),
        (JSON[:-3], "not JSON"),
        (b"[]", "receipt must be a dict"),
        (b"{}", "format must be"),
        (JSON.replace(b"capsule receipt v1", b"capsule receipt v2"), "format must be"),
        (told(lambda it: it.pop("path")), r"receipt\.path is missing"),
        (told(lambda it: it.update(note="x")), "receipt has a field"),
        (told(lambda it: it["statement"].update(note="x")), "statement has a field"),
        (told(lambda it: it["statement"].pop("ground")), r"statement\.ground is missing"),
        (told(lambda it: it["statement"].update(v=2)), r"statement\.v must be 1"),
        (told(lambda it: it["statement"].update(v=True)), "one way"),
        (told(lambda it: it["statement"].update(tenant=5)), "tenant must be"),
        (told(lambda it: it["statement"].update(tenant="a b")), "tenant must be"),
        (told(lambda it: it["statement"].update(subjects="s1")), "subjects must be"),
        (told(lambda it: it["statement"].update(scope="the world")), "scope must be"),
        (told(lambda it: it["statement"].update(scope=[])), "scope must be"),
        (told(lambda it: it["statement"].update(ground="\ud800")), "ground must be"),
        (told(lambda it: it["statement"].update(destructions=[])), "destructions must name"),
        (told(lambda it: it["statement"].update(fenced_at="now")), "fenced_at must be like"),
        (told(lambda it: it["statement"]["destructions"][0].update(outcome="gone")), "outcome is none"),
        (told(lambda it: it["statement"]["destructions"][0].update(method=[])), "method is none"),
        (told(lambda it: it["statement"]["destructions"][0].update(mirrors=2.0)), "mirrors must be"),
        (told(lambda it: it["statement"]["destructions"][0].update(mirrors=True)), "mirrors must be"),
        (told(lambda it: it["statement"]["destructions"][0].update(pages=[5])), "pages must be"),
        (told(lambda it: it["statement"]["destructions"][0].update(records=[])), "records must be"),
        (told(lambda it: it["statement"]["destructions"][0].update(records={"note": -1})), "records must be"),
        (told(lambda it: it["leaf"].update(v=2)), "newer version"),
        (told(lambda it: it["leaf"].update(act="\ud800")), "not JSON|leaf"),
        (told(lambda it: it.update(leaf=float("nan"))), "not JSON|leaf"),
        (told(lambda it: it.update(index=-1)), "index must be"),
        (told(lambda it: it.update(index="5")), "index must be"),
        (told(lambda it: it.update(signature=it["signature"].upper())), "signature must be"),
        (told(lambda it: it.update(path=["00"])), "path must be"),
        (JSON.replace(b'"index": 5', b'"index": 5, "index": 5'), "twice"),
        (JSON.replace(b'"mirrors": 2', b'"mirrors": 1, "mirrors": 2'), "twice"),
        (JSON.replace(b'"mirrors": 0', b'"mirrors": -0'), "one way"),
    ],
)
def test_what_is_not_a_receipt_is_refused_by_what_is_wrong_with_it(data: bytes, problem: str) -> None:
    refuse(data, problem)


def test_each_part_that_fails_is_named() -> None:
    longer = Checkpoint(ORIGIN, 6, log(before=6).root())
    another = attrs.evolve(STATEMENT, ground="purge")
    signed = b"capsule receipt v1\n" + another.encode() + LEAF
    refuse(attrs.evolve(RECEIPT, key="other.test"), "another key")
    refuse(attrs.evolve(RECEIPT, statement=another), "signature of the statement")
    refuse(attrs.evolve(RECEIPT, statement=another, signature=SIGNER.sign(signed)), "digests differ")
    refuse(attrs.evolve(RECEIPT, index=4), "path does not lead")
    refuse(attrs.evolve(RECEIPT, path=RECEIPT.path[:-1]), "path does not lead")
    refuse(attrs.evolve(RECEIPT, checkpoint=sign_checkpoint(longer, SIGNER)), "path does not lead")
    refuse(attrs.evolve(RECEIPT, checkpoint=sign_checkpoint(longer, OTHER)), "checkpoint is not signed by this key")
    refuse(RECEIPT, "signature of the statement", key=OTHER.verifier.text())


def test_a_leaf_of_another_tenant_is_refused() -> None:
    foreign = commit(attrs.evolve(STATEMENT, tenant="globex"), statement=STATEMENT.digest())
    with pytest.raises(ReceiptInvalid, match="another tenant"):
        issue(STATEMENT, leaf=foreign, frontier=log(foreign), origin=ORIGIN, signer=SIGNER)


def test_a_second_signature_line_on_the_checkpoint_is_refused() -> None:
    more = RECEIPT.checkpoint + RECEIPT.checkpoint.partition("\n\n")[2].replace("contacts", "kilroy")
    refuse(attrs.evolve(RECEIPT, checkpoint=more), "exactly one signature")


def test_a_receipt_is_issued_only_for_what_was_committed() -> None:
    with pytest.raises(ReceiptInvalid, match="not the newest"):
        issue(STATEMENT, leaf=LEAF, frontier=log().append([b"later"]), origin=ORIGIN, signer=SIGNER)
    with pytest.raises(ReceiptInvalid, match="not the newest"):
        issue(STATEMENT, leaf=LEAF, frontier=Frontier(), origin=ORIGIN, signer=SIGNER)
    with pytest.raises(ReceiptInvalid, match="another statement"):
        issue(attrs.evolve(STATEMENT, ground="purge"), leaf=LEAF, frontier=log(), origin=ORIGIN, signer=SIGNER)
    with pytest.raises(ReceiptInvalid, match="leaf"):
        issue(STATEMENT, leaf=b"{}", frontier=log(b"{}"), origin=ORIGIN, signer=SIGNER)


def test_a_key_that_is_none_is_not_the_receipts_fault() -> None:
    with pytest.raises(InvalidField, match="key"):
        verify(RECEIPT, "contacts.test+00000000+AAAA")


def test_nothing_held_cannot_have_destroyed_something() -> None:
    nothing = STATEMENT.destructions[1]
    for change in ({"records": {"note": 1}}, {"pages": ("00ff",), "mirrors": 1}):
        with pytest.raises(InvalidField, match="outcome"):
            attrs.evolve(nothing, **change)


def test_destroyed_page_keys_need_a_key_store_that_confirmed() -> None:
    with pytest.raises(InvalidField, match="mirrors"):
        attrs.evolve(STATEMENT.destructions[0], mirrors=0)


def test_a_subject_that_is_no_surrogate_is_refused_without_being_repeated() -> None:
    with pytest.raises(InvalidField) as refused:
        attrs.evolve(STATEMENT, subjects=("kim@example.org",))
    assert "kim" not in str(refused.value)


@pytest.mark.parametrize("data", [STATEMENT.encode() + b" ", STATEMENT.encode().replace(b'"v":1', b'"v":1,"v":1')])
def test_a_statement_has_one_spelling(data: bytes) -> None:
    with pytest.raises(ReceiptInvalid):
        Statement.decode(data)


def test_a_person_can_read_it() -> None:
    texts = describe(RECEIPT)
    assert ("Ground", "request") in texts
    assert ("Subject", "s0002") in texts
    assert ("Remains", "clear: backups until 2027-01-01") in texts
    assert ("Ledger", "leaf 5 of contacts.test/changes/1") in texts
    assert (
        "Holder",
        (
            "contacts: 2 x contact, 7 x note by cryptographic erase, 2 page keys on 2 copies, "
            "verified 2026-11-24T09:30:03.000000Z"
        ),
    ) in texts
    assert ("Holder", "mailing: held nothing, verified 2026-11-24T09:30:03.000000Z") in texts
