"""What people type: addresses, numbers, words to look for, passwords; and what must not be among it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Final

from argon2 import PasswordHasher

from capsule_core import blind
from capsule_core.errors import CardNumberFound, InvalidField, SpecialCategoryFound
from capsule_core.guards import (
    SPECIAL_CATEGORIES,
    refuse_card_numbers,
    refuse_special_category,
    special_categories,
)
from capsule_core.identifiers import canonical, email_problem, mailbox, words
from capsule_core.index import query_signature, query_token
from capsule_core.personal import Form
from capsule_services.identity.passwords import LONGEST, SHORTEST, Passwords
from tests.fuzzing.target import Drawn, Target

__all__ = ["TARGETS"]

KEYS: Final = blind.derive(bytes(range(32)))
REGIONS: Final = (None, "GB", "US", "DE", "IT", "BR", "IN", "JP", "AR", "ZZ")


def _email(data: bytes) -> None:
    text = Drawn(data).text()
    spelling = canonical(Form.EMAIL, text)
    ends_up_in = mailbox(text)
    if email_problem(text) is None:
        assert spelling is not None
        assert ends_up_in is not None
    assert (spelling is None) == (ends_up_in is None)
    if spelling is not None and ends_up_in is not None:
        assert canonical(Form.EMAIL, spelling) == spelling
        assert mailbox(ends_up_in) == ends_up_in
        assert spelling.rpartition("@")[2].isascii()


def _phone(data: bytes) -> None:
    drawn = Drawn(data)
    region, text = REGIONS[drawn.number(len(REGIONS))], drawn.text()
    spelling = canonical(Form.PHONE, text, region=region)
    if spelling is not None:
        assert canonical(Form.PHONE, spelling, region=region) == spelling
        assert spelling.removeprefix("+").isdigit()
        assert spelling.isascii()


def _words(data: bytes) -> None:
    text = Drawn(data).text()
    found = words(text)
    assert words(" ".join(found)) == found
    covers = int.from_bytes(blind.signature(KEYS, found), "big")
    for word in found[:8]:
        wanted = int.from_bytes(query_signature(KEYS, word), "big")
        assert covers & wanted == wanted
    spelling = canonical(Form.TEXT, text)
    assert spelling is None or canonical(Form.TEXT, spelling) == spelling


def _lookup(data: bytes) -> None:
    drawn = Drawn(data)
    form = list(Form)[drawn.number(len(Form))]
    text = drawn.text()
    assert query_token(KEYS, "tags", form, text, region="GB") == query_token(KEYS, "tags", form, text, region="GB")
    assert len(query_signature(KEYS, text)) == blind.SIGNATURE_BITS // 8


def _cards(data: bytes) -> None:
    text = Drawn(data).text()
    assert special_categories(text) <= SPECIAL_CATEGORIES
    refuse_special_category("field", text)
    refuse_card_numbers("field", text)
    # What is let pass does not hide a card that stands beside it.
    try:
        refuse_card_numbers("field", f"{text}\n\n4111 1111 1111 1111\n\n{text}")
    except CardNumberFound:
        return
    raise AssertionError


@cache
def _cheap() -> Passwords:
    return Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))


def _password(data: bytes) -> None:
    text, passwords = data.decode("utf-8", "replace"), _cheap()
    assert not passwords.is_right(text, "")
    kept = passwords.hashed(text, about=("Bo Vane", "bo@example.org"))
    assert SHORTEST <= len(text) <= LONGEST or len(text) < SHORTEST
    assert passwords.is_right(text, kept)
    assert not passwords.is_right(f"{text}x", kept)
    assert text not in kept


def _numbers() -> Iterator[bytes]:
    for text in (
        "+44 20 7946 0000",
        "020 7946 0000",
        "(555) 010-0199",
        "0049 (0)30 / 12345",
        "+39 06 1234",
        "110",
        "٠٢٠",
    ):
        for region in (1, 4):
            yield bytes([region]) + text.encode()


TARGETS: Final = (
    Target(
        name="email-address",
        take=_email,
        parsers=(email_problem, mailbox, canonical),
        samples=lambda: [
            b"bo@example.org",
            b"B.O+x@googlemail.com",
            "bücher@müller.example".encode(),
            b" a@b ",
            b"a@xn--bcher-kva.ch",
            "ß@ﬃ.example".encode(),
            b'"a b"@c',
            b"a@[127.0.0.1]",
            b"a@b.",
            b"a" * 65 + b"@b.c",
            "a@。com".encode(),
        ],
    ),
    Target(name="phone-number", take=_phone, parsers=(canonical,), samples=_numbers),
    Target(
        name="words",
        take=_words,
        parsers=(words, canonical, query_signature),
        samples=lambda: [
            "José  MÜLLER-straße".encode(),
            "אָלֶף בֵּית".encode(),
            "नमस्ते दुनिया".encode(),
            "山田 太郎".encode(),
            "ŁÓDŹ ﬁ ﷺ".encode(),
            b"o'neil_x 42",
        ],
        raises=(InvalidField,),
    ),
    Target(
        name="lookup",
        take=_lookup,
        parsers=(query_token, query_signature),
        samples=lambda: [b"\0VIP", b"\1bo@example.org", b"\2+44 20 7946 0000", b"\0\xed\xa0\x80"],
        raises=(InvalidField,),
    ),
    Target(
        name="card-number",
        take=_cards,
        parsers=(refuse_card_numbers, special_categories, refuse_special_category),
        samples=lambda: [
            b"4111 1111 1111 1111",
            b"card: 4242-4242-4242-4242 12/27",
            "４１１１ １１１１".encode(),
            b"GB33BUKB20201555555555",
            b"+49 30 1234567890",
            b"she is pregnant",
            b"trade_union",
            b"1.2.3.4.5.6.7.8.9.0.1.2.3.4",
            "5\u200b5\u00a05".encode(),
        ],
        raises=(CardNumberFound, SpecialCategoryFound),
    ),
    Target(
        name="password",
        take=_password,
        parsers=(Passwords.hashed, Passwords.is_right),
        samples=lambda: [
            b"correct horse battery staple",
            b"password",
            b"aaaaaaaa",
            "ﷺ".encode() * 20,
            b"4111111111111111",
            b"",
        ],
        raises=(InvalidField, CardNumberFound),
        longest=1200,
        runs=500,
    ),
)
