"""What a receipt proves, and that nothing else passes for one: offline, from its bytes and a public key."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.checkpoints import Checkpoint, Signer, canonical, sign_checkpoint
from capsule_core.errors import CapsuleError, InvalidField, NewerSchema, ReceiptInvalid
from capsule_core.grounds import policy_of
from capsule_core.jws import sign_jws
from capsule_core.ledger import Leaf
from capsule_core.merkle import Frontier
from capsule_core.receipts import KIND, Receipt, describe, issue, verify
from capsule_core.statements import Destruction, Method, Outcome, Policy, Remainder, Statement, Verification

NOW = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
SIGNER = Signer.from_seed("contacts", bytes(range(32)))
OTHER = Signer.from_seed("contacts", bytes(32))
KEY = SIGNER.verifier.text()
ORIGIN = "contacts/2"
CHECKED = Verification(method="read again", result="nothing was found", by="contacts", at=NOW + timedelta(seconds=3))
STATEMENT = Statement(
    erasure="e0123456789",
    service="contacts",
    tenant="acme",
    subjects=("s0001", "s0002"),
    ground="request",
    policy=policy_of("request"),
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
            technique="page keys destroyed",
            media="the keystore",
            records={"contact": 2, "note": 7},
            pages=("00ff", "01ff"),
            mirrors=2,
            remaining=(Remainder(what="invoice", ground="tax law", records=3, until=NOW + timedelta(days=900)),),
            verification=CHECKED,
        ),
        Destruction(holder="mailing", outcome=Outcome.NOTHING_HELD, verification=attrs.evolve(CHECKED, by="mailing")),
    ),
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
DOCUMENT = RECEIPT.document
PAYLOAD = json.loads(base64.urlsafe_b64decode(DOCUMENT.split(b".")[1] + b"=="))


def refuse(receipt: Receipt | bytes, problem: str | None = None, key: str = KEY) -> None:
    with pytest.raises(ReceiptInvalid, match=problem):
        verify(receipt, key)


def told(change: Callable[[dict[str, Any]], object], signer: Signer = SIGNER) -> bytes:
    """A receipt that says something else, signed by whoever may sign receipts."""
    value = json.loads(canonical(PAYLOAD))
    change(value)
    return sign_jws(canonical(value), signer, kind=KIND)


moments = st.datetimes(timezones=st.just(UTC))
lines = st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20)
words = st.from_regex(r"\A[a-z0-9][a-z0-9.-]{0,9}\Z")
remainders = st.builds(Remainder, what=lines, ground=lines, records=st.integers(0, 9), until=st.none() | moments)
destructions = st.builds(
    Destruction,
    holder=lines,
    outcome=st.just(Outcome.ERASED),
    method=st.sampled_from(Method),
    technique=lines,
    media=lines,
    tool=lines,
    records=st.dictionaries(lines, st.integers(0, 1 << 40), max_size=3),
    pages=st.lists(st.from_regex(r"\A[0-9a-f]{4}\Z"), max_size=3).map(tuple),
    mirrors=st.integers(1, 3),
    remaining=st.lists(remainders, max_size=2).map(tuple),
    verification=st.builds(Verification, method=lines, result=lines, by=lines, at=moments),
)
statements = st.builds(
    Statement,
    erasure=lines,
    service=lines,
    tenant=st.just("acme"),
    subjects=st.lists(st.from_regex(r"\A[a-z0-9]{1,9}\Z"), max_size=3).map(tuple),
    ground=lines,
    policy=st.builds(Policy, name=words, version=words, digest=st.from_regex(r"\A[0-9a-f]{64}\Z")),
    scope=st.sampled_from(["this service", "everywhere"]),
    requested_at=moments,
    fenced_at=moments,
    destroyed_at=moments,
    read_back_at=moments,
    destructions=st.lists(destructions, min_size=1, max_size=3).map(tuple),
)


@given(statements)
def test_a_statement_survives_being_encoded(statement: Statement) -> None:
    assert Statement.decode(statement.encode()) == statement


@pytest.mark.law("L8")
@given(statements, st.integers(0, 70), st.sampled_from(["contacts", "contacts/2", "contacts/13"]))
def test_what_was_issued_is_verified_offline_from_its_bytes(statement: Statement, before: int, origin: str) -> None:
    leaf = Leaf(
        at=NOW, tenant="acme", act="erase", use="erase", actor="ab" * 16, detail={"statement": statement.digest()}
    ).encode()
    receipt = issue(statement, leaf=leaf, frontier=log(leaf, before=before), origin=origin, signer=SIGNER)
    assert Receipt.decode(receipt.document) == receipt
    assert verify(receipt.document, KEY) == verify(receipt, SIGNER.verifier) == statement


def test_a_receipt_with_any_bit_flipped_is_refused() -> None:
    for at in range(len(DOCUMENT)):
        refuse(DOCUMENT[:at] + bytes([DOCUMENT[at] ^ 1 << at % 8]) + DOCUMENT[at + 1 :])


@given(st.integers(0, len(DOCUMENT) - 1), st.integers(0, 255))
def test_a_receipt_with_any_byte_replaced_is_refused_or_the_same(at: int, byte: int) -> None:
    altered = DOCUMENT[:at] + bytes([byte]) + DOCUMENT[at + 1 :]
    if altered == DOCUMENT:
        assert verify(altered, KEY) == STATEMENT
    else:
        refuse(altered)


@given(st.integers(0, len(DOCUMENT) - 1))
def test_a_receipt_that_was_cut_off_is_refused(end: int) -> None:
    refuse(DOCUMENT[:end])


def test_white_space_around_it_does_not_matter() -> None:
    assert verify(b"\n " + DOCUMENT + b"\r\n", KEY) == STATEMENT
    refuse(DOCUMENT.replace(b".", b".\n", 1), "base64url")


def test_a_receipt_is_the_same_bytes_each_time() -> None:
    assert issued().document == DOCUMENT


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "three parts"),
        (b"\xff", "three parts"),
        (b"a.b", "three parts"),
        (b"a.b.c.d", "three parts"),
        (DOCUMENT + b".", "three parts"),
        (DOCUMENT + b"=", "three parts"),
        (DOCUMENT.replace(b"_", b"/").replace(b"-", b"+") + b"/", "three parts"),
        (json.dumps(PAYLOAD).encode(), "three parts"),
        (b"e30." + DOCUMENT.split(b".", 1)[1], "not a capsule-receipt"),
        (sign_jws(canonical(PAYLOAD), SIGNER, kind="jwt"), "not a capsule-receipt"),
        (sign_jws(canonical(PAYLOAD), attrs.evolve(SIGNER, name="else"), kind=KIND), "another key's"),
        (sign_jws(canonical(PAYLOAD), OTHER, kind=KIND), "signature of the document"),
        (sign_jws(b"{", SIGNER, kind=KIND), "not JSON"),
        (sign_jws(b"[" * 100_000, SIGNER, kind=KIND), "not JSON"),
        (sign_jws(b"\xff", SIGNER, kind=KIND), "not JSON"),
        (sign_jws(b"[]", SIGNER, kind=KIND), "receipt must be a dict"),
        (sign_jws(b"{}", SIGNER, kind=KIND), r"receipt\.checkpoint is missing"),
        (sign_jws(canonical(PAYLOAD) + b" ", SIGNER, kind=KIND), "canonical"),
        (sign_jws(json.dumps(PAYLOAD).encode(), SIGNER, kind=KIND), "canonical"),
        (told(lambda it: it.pop("path")), r"receipt\.path is missing"),
        (told(lambda it: it.update(note="x")), "receipt has a field"),
        (told(lambda it: it["statement"].update(note="x")), "statement has a field"),
        (told(lambda it: it["statement"].pop("ground")), r"statement\.ground is missing"),
        (told(lambda it: it["statement"].update(v=True)), r"statement\.v must be 1"),
        (told(lambda it: it["statement"].update(v=0)), r"statement\.v must be 1"),
        (told(lambda it: it.update(v=True)), r"receipt\.v must be 1"),
        (told(lambda it: it["statement"].update(tenant=5)), "tenant must be"),
        (told(lambda it: it["statement"].update(tenant="a b")), "tenant must be"),
        (told(lambda it: it["statement"].update(subjects="s1")), "subjects must be"),
        (told(lambda it: it["statement"].update(scope="the world")), "scope must be"),
        (told(lambda it: it["statement"].update(scope=[])), "scope must be"),
        (told(lambda it: it["statement"].update(destructions=[])), "destructions must name"),
        (told(lambda it: it["statement"].update(fenced_at="now")), "fenced_at must be like"),
        (told(lambda it: it["statement"].update(policy="request")), "policy must be"),
        (told(lambda it: it["statement"]["policy"].update(digest="00")), "digest must be"),
        (told(lambda it: it["statement"]["policy"].update(version="1 of 2")), "version must match"),
        (told(lambda it: it["statement"]["destructions"][0].update(outcome="gone")), "outcome is none"),
        (told(lambda it: it["statement"]["destructions"][0].update(method=[])), "method is none"),
        (told(lambda it: it["statement"]["destructions"][0].update(method=None)), "method must be named"),
        (told(lambda it: it["statement"]["destructions"][0].update(mirrors=2.0)), "mirrors must be"),
        (told(lambda it: it["statement"]["destructions"][0].update(mirrors=True)), "mirrors must be"),
        (told(lambda it: it["statement"]["destructions"][0].update(pages=[5])), "pages must be"),
        (told(lambda it: it["statement"]["destructions"][0].update(records=[])), "records must be"),
        (told(lambda it: it["statement"]["destructions"][0].update(records={"note": -1})), "records must be"),
        (told(lambda it: it["statement"]["destructions"][0].update(remaining=[5])), "remaining must be"),
        (told(lambda it: it["statement"]["destructions"][0]["verification"].pop("by")), "verification.by is missing"),
        (told(lambda it: it.update(leaf=5)), "leaf must be"),
        (told(lambda it: it["leaf"].update(act="")), "act must match"),
        (told(lambda it: it.update(index=-1)), "index must be"),
        (told(lambda it: it.update(index="5")), "index must be"),
        (told(lambda it: it.update(path=["00"])), "path must be"),
        (told(lambda it: it.update(path=[node.upper() for node in it["path"]])), "path must be"),
        (told(lambda it: it.update(checkpoint=5)), "checkpoint must be"),
    ],
)
def test_what_is_not_a_receipt_is_refused_by_what_is_wrong_with_it(data: bytes, problem: str) -> None:
    refuse(data, problem)


@pytest.mark.parametrize(
    "newer",
    [
        told(lambda it: it.update(v=2, proof="other")),
        told(lambda it: it["statement"].update(v=2)),
        told(lambda it: it["leaf"].update(v=2)),
    ],
)
def test_a_receipt_of_a_newer_version_is_refused_as_such(newer: bytes) -> None:
    with pytest.raises(NewerSchema, match="newer version"):
        verify(newer, KEY)


def test_each_part_that_fails_is_named() -> None:
    longer = sign_checkpoint(Checkpoint(ORIGIN, 6, log(before=6).root()), SIGNER)
    refuse(told(lambda it: it["statement"].update(ground="purge")), "digests differ")
    refuse(told(lambda it: it.update(index=4)), "path does not lead")
    refuse(told(lambda it: it.update(path=it["path"][:-1])), "path does not lead")
    refuse(told(lambda it: it.update(checkpoint=longer)), "path does not lead")
    foreign = sign_checkpoint(Checkpoint(ORIGIN, 6, log().root()), OTHER)
    refuse(told(lambda it: it.update(checkpoint=foreign)), "checkpoint is not signed by this key")
    refuse(RECEIPT, "signature of the document", key=OTHER.verifier.text())
    refuse(attrs.evolve(RECEIPT, index=4), "not what was signed")
    refuse(attrs.evolve(RECEIPT, statement=attrs.evolve(STATEMENT, ground="purge")), "not what was signed")


@pytest.mark.parametrize(
    "origin", ["contacts.reads", "identity", "contacts/1", "contacts/02", "contacts/x", "contacts/"]
)
def test_a_checkpoint_of_another_log_is_refused(origin: str) -> None:
    note = sign_checkpoint(Checkpoint(origin, 6, log().root()), SIGNER)
    refuse(told(lambda it: it.update(checkpoint=note)), "a log that this key does not speak for")
    with pytest.raises(ReceiptInvalid, match="does not speak for"):
        issue(STATEMENT, leaf=LEAF, frontier=log(), origin=origin, signer=SIGNER)


def test_a_leaf_of_another_tenant_is_refused() -> None:
    foreign = commit(attrs.evolve(STATEMENT, tenant="globex"), statement=STATEMENT.digest())
    with pytest.raises(ReceiptInvalid, match="another tenant"):
        issue(STATEMENT, leaf=foreign, frontier=log(foreign), origin=ORIGIN, signer=SIGNER)


def test_a_second_signature_line_on_the_checkpoint_is_refused() -> None:
    more = RECEIPT.checkpoint + RECEIPT.checkpoint.partition("\n\n")[2].replace("contacts", "kilroy")
    refuse(told(lambda it: it.update(checkpoint=more)), "exactly one signature")


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


def test_a_receipt_can_be_read_without_the_key_and_says_which_it_needs() -> None:
    assert Receipt.decode(sign_jws(canonical(PAYLOAD), OTHER, kind=KIND)).key == "contacts"
    for nameless in (b"e30", base64.urlsafe_b64encode(b'{"kid":5}').rstrip(b"="), b"bm8"):
        with pytest.raises(ReceiptInvalid, match="names no key"):
            Receipt.decode(nameless + b"." + DOCUMENT.split(b".", 1)[1])


def test_nothing_held_cannot_have_destroyed_something() -> None:
    nothing = STATEMENT.destructions[1]
    for change in ({"records": {"note": 1}}, {"pages": ("00ff",), "mirrors": 1}, {"method": Method.CLEAR}):
        with pytest.raises(InvalidField, match="outcome"):
            attrs.evolve(nothing, **change)


@pytest.mark.parametrize("gap", [{"method": None}, {"technique": ""}, {"media": ""}])
def test_what_was_destroyed_names_method_technique_and_media(gap: dict[str, Any]) -> None:
    with pytest.raises(InvalidField, match="method"):
        attrs.evolve(STATEMENT.destructions[0], **gap)


def test_destroyed_page_keys_need_a_key_store_that_confirmed() -> None:
    with pytest.raises(InvalidField, match="mirrors"):
        attrs.evolve(STATEMENT.destructions[0], mirrors=0)


def test_a_subject_that_is_no_surrogate_is_refused_without_being_repeated() -> None:
    with pytest.raises(InvalidField) as refused:
        attrs.evolve(STATEMENT, subjects=("kim@example.org",))
    assert "kim" not in str(refused.value)


@pytest.mark.parametrize(
    "data",
    [
        STATEMENT.encode() + b" ",
        STATEMENT.encode().replace(b'"v":1', b'"v":1,"v":1'),
        STATEMENT.encode().replace(b'"mirrors":0', b'"mirrors":-0'),
        b"",
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_statement_has_one_spelling(data: bytes) -> None:
    with pytest.raises(ReceiptInvalid):
        Statement.decode(data)


def test_a_person_can_read_it() -> None:
    texts = describe(RECEIPT)
    assert ("Ground", "request") in texts
    assert ("Policy", "request, version 1") in texts
    assert ("Subject", "s0002") in texts
    assert ("Remains", "3 x invoice at contacts: tax law, until 2029-05-12T09:30:00.000000Z") in texts
    assert ("Ledger", "leaf 5 of contacts/2") in texts
    assert (
        "Holder",
        "contacts: 2 x contact, 7 x note by cryptographic erase, 2 page keys on 2 copies",
    ) in texts
    assert ("Technique", "page keys destroyed") in texts
    assert ("Tool", "capsule-core 0.1.0") in texts
    assert ("Verified", "2026-11-24T09:30:03.000000Z by contacts: read again; nothing was found") in texts
    assert ("Holder", "mailing: held nothing") in texts
    bare = attrs.evolve(STATEMENT, destructions=(attrs.evolve(STATEMENT.destructions[0], remaining=()),))
    assert ("Remains", "nothing") in describe(issued(bare))


def test_errors_of_a_receipt_are_those_of_the_library() -> None:
    for at in range(0, len(DOCUMENT), 37):
        with pytest.raises(CapsuleError):
            verify(DOCUMENT[:at] + b"!" + DOCUMENT[at:], KEY)
