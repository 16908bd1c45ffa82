from __future__ import annotations

import base64
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.checkpoints import (
    Checkpoint,
    Signer,
    Verifier,
    canonical,
    moment,
    open_checkpoint,
    parse_verifier,
    sign_checkpoint,
    stamp,
)
from capsule_core.errors import InvalidField, ReceiptInvalid

# RFC 8032 section 7.1, test 3.
SEED = bytes.fromhex("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7")
PUBLIC = bytes.fromhex("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025")
MESSAGE = bytes.fromhex("af82")
SIGNATURE = bytes.fromhex(
    "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
    "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"
)
SIGNER = Signer.from_seed("contacts.test", SEED)
OTHER = Signer.from_seed("witness.test", bytes(32))
CHECKPOINT = Checkpoint("contacts.test/changes/1", 8, bytes(range(32)))
TEXT = sign_checkpoint(CHECKPOINT, SIGNER)


def test_signatures_are_those_of_rfc_8032() -> None:
    assert SIGNER.verifier.public == PUBLIC
    assert SIGNER.sign(MESSAGE) == SIGNATURE
    SIGNER.verifier.check(MESSAGE, SIGNATURE, what="the message")


def test_the_key_line_of_the_go_checksum_database_is_read_and_written_back() -> None:
    line = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert parse_verifier(line).text() == line
    assert parse_verifier(line).name == "sum.golang.org"


def test_a_key_travels_as_text() -> None:
    assert parse_verifier(SIGNER.verifier.text() + "\n") == SIGNER.verifier


@given(st.data())
def test_a_key_line_copied_with_a_mistake_is_refused(data: st.DataObject) -> None:
    line = SIGNER.verifier.text()
    at = data.draw(st.integers(0, len(line) - 1))
    wrong = data.draw(st.characters(codec="utf-8").filter(lambda mark: mark != line[at]))
    with pytest.raises(InvalidField):
        parse_verifier(line[:at] + wrong + line[at + 1 :])


@pytest.mark.parametrize("text", ["", "+", "a+b", "a+00000000+", "a+00000000+" + base64.b64encode(bytes(33)).decode()])
def test_what_is_not_a_key_line_is_refused(text: str) -> None:
    with pytest.raises(InvalidField):
        parse_verifier(text)


def test_a_signer_never_shows_its_key() -> None:
    assert repr(SIGNER) == "Signer(name='contacts.test')"
    assert SEED.hex() not in str(vars(type(SIGNER)))


@pytest.mark.parametrize("name", ["", "two words", "a+b", "a\nb", "a\u00a0b"])
def test_a_key_name_that_signed_note_forbids_is_refused(name: str) -> None:
    with pytest.raises(InvalidField, match="name"):
        Signer.from_seed(name, SEED)


def test_a_seed_or_key_of_another_length_is_refused() -> None:
    with pytest.raises(InvalidField, match="seed"):
        Signer.from_seed("a", SEED[:31])
    with pytest.raises(InvalidField, match="public"):
        Verifier("a", PUBLIC + b"x")


def test_a_checkpoint_is_a_signed_note() -> None:
    body = "contacts.test/changes/1\n8\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"
    made = SIGNER.verifier.key_id + SIGNER.sign(body.encode())
    assert f"{body}\n\u2014 contacts.test {base64.b64encode(made).decode()}\n" == TEXT


@given(
    st.text(st.characters(categories=["L", "N", "P"]), min_size=1, max_size=20),
    st.integers(0, (1 << 63) - 1),
    st.binary(min_size=32, max_size=32),
)
def test_a_checkpoint_survives_being_signed(origin: str, size: int, root: bytes) -> None:
    checkpoint = Checkpoint(origin, size, root)
    assert open_checkpoint(sign_checkpoint(checkpoint, SIGNER), SIGNER.verifier) == checkpoint


def test_a_checkpoint_altered_in_any_byte_is_refused() -> None:
    data = TEXT.encode()
    for at in range(len(data)):
        for flip in (1, 2, 4, 8, 16, 32, 64, 128):
            altered = data[:at] + bytes([data[at] ^ flip]) + data[at + 1 :]
            with pytest.raises(ReceiptInvalid):
                open_checkpoint(altered.decode(errors="replace"), SIGNER.verifier)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        TEXT[:-1],
        TEXT + "\n",
        TEXT.replace("\n\n", "\n"),
        TEXT.replace("\n8\n", "\n08\n"),
        TEXT.replace("\n8\n", "\n\u0668\n"),
        TEXT.replace("\n8\n", "\n" + "9" * 5000 + "\n"),
        TEXT.replace("\n\n", "\nextension\n\n"),
        TEXT.partition("\n\n")[0] + "\n\n",
        TEXT + "\u2014 witness.test\n",
        TEXT.replace("Qs=\n", "Qt=\n"),  # the same signature in other letters
    ],
)
def test_what_is_not_a_signed_checkpoint_is_refused(text: str) -> None:
    assert text != TEXT
    with pytest.raises(ReceiptInvalid):
        open_checkpoint(text, SIGNER.verifier)


def test_signatures_by_other_keys_are_passed_over() -> None:
    both = TEXT + sign_checkpoint(CHECKPOINT, OTHER).partition("\n\n")[2]
    assert open_checkpoint(both, SIGNER.verifier) == open_checkpoint(both, OTHER.verifier) == CHECKPOINT


def test_a_checkpoint_by_another_key_or_name_is_refused() -> None:
    for verifier in (OTHER.verifier, Verifier("contacts.test", OTHER.verifier.public), Verifier("other", PUBLIC)):
        with pytest.raises(ReceiptInvalid, match="not signed by this key"):
            open_checkpoint(TEXT, verifier)


@pytest.mark.parametrize(
    ("origin", "size", "root"), [("", 1, bytes(32)), ("a\nb", 1, bytes(32)), ("a", -1, bytes(32)), ("a", 1, bytes(31))]
)
def test_what_cannot_be_a_checkpoint_is_refused(origin: str, size: int, root: bytes) -> None:
    with pytest.raises(InvalidField):
        Checkpoint(origin, size, root)


def test_canonical_json_has_one_spelling() -> None:
    assert canonical({"b": [1, "ж"], "a": {}}) == canonical({"a": {}, "b": [1, "ж"]}) == '{"a":{},"b":[1,"ж"]}'.encode()


@pytest.mark.parametrize(
    "text",
    ["", "2026-01-31", "2026-01-31T09:30:00Z", "2026-01-31T10:30:00.000000+01:00", "2026-02-30T09:30:00.000000Z"],
)
def test_a_moment_in_another_spelling_is_refused(text: str) -> None:
    assert stamp(moment("2026-01-31T09:30:00.000000Z")) == "2026-01-31T09:30:00.000000Z"
    with pytest.raises(InvalidField):
        moment(text)


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidField, match="time zone"):
        stamp(datetime(2026, 1, 31))  # noqa: DTZ001 - the fault under test
