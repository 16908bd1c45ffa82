from __future__ import annotations

import sys
import unicodedata

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.identifiers import canonical, email_problem, identifier_problem, mailbox, words
from capsule_core.personal import Form
from capsule_core.testing import strategies as the

WRITTEN = st.text(" <>()\"'@,;:?%42a.bÜ\u200b\u00ad＠", max_size=12).map("mailto:{}".format) | st.text(
    " <>()\"'@,;:?%42a.b+-/Ü\u200b\u00ad＠", max_size=16
)
ANY = WRITTEN | st.text() | the.names() | the.email_addresses() | the.phone_numbers()


@given(st.sampled_from(Form), ANY, st.sampled_from([None, "GB", "DE"]))
def test_canonical_text_is_its_own_canonical_text(form: Form, text: str, region: str | None) -> None:
    once = canonical(form, text, region=region)
    if once is not None and (form is not Form.PHONE or once.startswith("+")):
        assert canonical(form, once, region=region) == once


def test_folding_is_a_fixed_point_for_every_character() -> None:
    texts = (chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    folded = ((canonical(Form.TEXT, text), text) for text in texts)
    assert [ord(text) for once, text in folded if once and canonical(Form.TEXT, once) != once] == []


@given(st.text("ßŉǰΐᾷſŚ\u0301\u0302\u0327\u0345\u031b", max_size=6))
def test_folding_is_a_fixed_point_where_folding_undoes_normal_form(text: str) -> None:
    once = canonical(Form.TEXT, text)
    assert once is None or canonical(Form.TEXT, once) == once


@given(the.email_addresses())
def test_an_address_has_one_spelling_whatever_its_case_and_normal_form(address: str) -> None:
    assert email_problem(address) is None
    spellings = {address, address.casefold(), unicodedata.normalize("NFD", address), f" {address}\n"}
    assert len({canonical(Form.EMAIL, spelling) for spelling in spellings}) == 1


@pytest.mark.parametrize(
    ("address", "spelling"),
    [
        ("Ann.Lee+shop@Example.ORG", "ann.lee+shop@example.org"),
        ("jürgen@MÜNCHEN.example", "jürgen@xn--mnchen-3ya.example"),
        ("jürgen@xn--mnchen-3ya.example", "jürgen@xn--mnchen-3ya.example"),
        ("ａｎｎ＠example.org", "ann@example.org"),
        ("ann@example.org.", "ann@example.org"),
        ("mailto:ann@example.org", "ann@example.org"),
        ("MailTo:%41nn%40example.org?subject=hi@you", "ann@example.org"),
        ("<ann@example.org>", "ann@example.org"),
        ("Ann Lee <ann@example.org>", "ann@example.org"),
        ('"Lee, Ann" <mailto:ann@example.org>', "ann@example.org"),
        ("ann@example.org <Ann@Example.org>", "ann@example.org"),
        ('"ann"@example.org', "ann@example.org"),
        ("ann(at work)@example.org (Ann Lee)", "ann@example.org"),
        ("a\u200bnn@exam\u00adple.org\u202c", "ann@example.org"),
        ("ann @ example.org", "ann@example.org"),
        ("ann@example.org, bob@example.org", None),
        ("bob@example.org <ann@example.org>", None),
        ("ann@example.org (bob@example.org)", None),
        ('"a b"@example.org', None),
        ("nobody", None),
        ("a@b@c.example", None),
        ("a@" + "b" * 300, None),
        ("", None),
    ],
)
def test_addresses_are_spelt_as_expected(address: str, spelling: str | None) -> None:
    assert canonical(Form.EMAIL, address) == spelling


@pytest.mark.parametrize(
    "address",
    ["", "ann", "@example.org", "ann@", "an n@example.org", "ann@exa mple.org", "ann@example..org", "a@b@c.example",
     "ann@[127.0.0.1]", '"a b"@example.org', "ann@example.org, bob@example.org", "x" * 65 + "@example.org",
     "ä" * 33 + "@example.org", "ann@" + "b" * 64 + ".example", "Ann <ann@example.org>", "ann\0@example.org",
     "/o=ExchangeLabs/cn=ann", "ann@\ud800.example"],
)  # fmt: skip
def test_what_is_no_address_is_told_so(address: str) -> None:
    assert email_problem(address)


@pytest.mark.parametrize(
    ("number", "region", "spelling"),
    [
        ("+44 20 7946 0958", None, "+442079460958"),
        ("(020) 7946-0958", "GB", "+442079460958"),
        ("0044 20 7946 0958", "GB", "+442079460958"),
        ("020 7946 0958 ext. 3", "GB", "+442079460958"),
        ("tel:+44-20-7946-0958", None, "+442079460958"),
        ("+٤٤٢٠٧٩٤٦٠٩٥٨", None, "+442079460958"),
        ("020 7946=0958", "GB", "+442079460958"),
        ("0044 20 7946 0958", None, "+442079460958"),
        ("(00) 44 (0)20 7946 0958", "US", "+442079460958"),
        ("0061 2 5550 1234", "AU", "+61255501234"),
        ("0011 44 20 7946 0958", "AU", "+442079460958"),
        ("442079460958", "GB", "+442079460958"),
        ("442079460958", "US", "+442079460958"),
        ("+44\u200b20\u00ad7946\u20110958", None, "+442079460958"),
        ("020 7946 0958, 020 7946 0959", "GB", None),
        ("+44 20 7946 0958, +44 20 7946 0959", None, None),
        ("tel +28 000-000", "GB", "+28000000"),
        ("020 7946 0958", None, "02079460958"),
        ("٠٢٠ ٧٩٤٦", None, "0207946"),
        ("1234", None, None),
        ("call me", "GB", None),
        ("", "GB", None),
    ],
)
def test_a_number_has_one_spelling_however_it_was_typed(number: str, region: str | None, spelling: str | None) -> None:
    assert canonical(Form.PHONE, number, region=region) == spelling


@pytest.mark.parametrize(
    ("form", "text", "region", "says"),
    [
        (Form.EMAIL, "not an address", None, "must be an e-mail address"),
        (Form.EMAIL, "x@example.org, y@example.org", None, "must be an e-mail address"),
        (Form.EMAIL, "X Y <x@example.org>", None, None),
        (Form.PHONE, "abc", None, "must be a telephone number"),
        (Form.PHONE, "abc", "GB", "must be a telephone number"),
        (Form.PHONE, "020 7946 0000", None, "country code"),
        (Form.PHONE, "442079460000", None, "country code"),
        (Form.PHONE, "020 7946 0000", "GB", None),
        (Form.PHONE, "0044 20 7946 0000", None, None),
        (Form.TEXT, "abc", None, None),
    ],
)
def test_what_is_no_identifier_is_told_what_to_do(form: Form, text: str, region: str | None, says: str | None) -> None:
    problem = identifier_problem(form, text, region=region)
    assert problem is None if says is None else says in str(problem)


@given(
    code=st.sampled_from(sorted(phonenumbers.COUNTRY_CODE_TO_REGION_CODE)) | st.integers(1, 9999),
    national=st.text("0123456789 ().-", min_size=4, max_size=18),
    region=st.sampled_from([None, "GB", "US", "IT", "MX", "BR"]),
)
def test_a_number_that_needs_no_parsing_is_spelt_as_parsing_spells_it(
    code: int, national: str, region: str | None
) -> None:
    text = f"+{code}{national}"
    spelling = canonical(Form.PHONE, text, region=region)
    try:
        parsed = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        assert spelling is None or spelling == "+" + "".join(filter(str.isdigit, text))
    else:
        assert spelling == phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


@pytest.mark.parametrize(
    ("address", "ends_up_in"),
    [
        ("A.n.n+shop@googlemail.com", "ann@gmail.com"),
        ("ann@gmail.com", "ann@gmail.com"),
        ("ann+shop@outlook.com", "ann@outlook.com"),
        ("ann.lee@outlook.com", "ann.lee@outlook.com"),
        ("a-n_n.lee+x@proton.me", "annlee@proton.me"),
        ("ann+shop@example.org", "ann+shop@example.org"),
        ("+@gmail.com", "+@gmail.com"),
        ("nobody", None),
    ],
)
def test_a_mailbox_is_named_without_what_its_provider_ignores(address: str, ends_up_in: str | None) -> None:
    assert mailbox(address) == ends_up_in


@given(the.email_addresses())
def test_a_mailbox_is_its_own_mailbox(address: str) -> None:
    once = mailbox(address)
    assert once is not None
    assert mailbox(once) == once


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("Ana María Ruiz-García", ["ana", "maria", "ruiz", "garcia"]),
        ("O'Brien & Söhne", ["o", "brien", "sohne"]),
        ("Łukasz Straße ÆØ", ["lukasz", "strasse", "aeo"]),
        ("İstanbul IĞDIR", ["istanbul", "igdir"]),
        ("Ελένη ΠΑΠΑΔΟΠΟΎΛΟΥ", ["ελενη", "παπαδοπουλου"]),
        ("Ёлка Йод", ["елка", "иод"]),
        ("مُحَمَّد", ["محمد"]),
        ("שָׁלוֹם", ["שלום"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("ภาษาไทย", ["ภาษาไทย"]),
        ("王小明", ["王小明"]),
        ("ＡＢＣ１２３", ["abc123"]),
        ("snake_case", ["snake", "case"]),
        (" - ", []),
    ],
)
def test_words_of_every_script(text: str, split: list[str]) -> None:
    assert words(text) == [unicodedata.normalize("NFKD", word) for word in split]


def test_signs_that_are_letters_stay() -> None:
    assert words("कि") != words("क")
    assert words("が") != words("か")


@given(ANY)
def test_words_hold_no_gap_and_are_their_own_words(text: str) -> None:
    found = words(text)
    assert words(" ".join(found)) == found
    assert all(word and not any(sign.isspace() for sign in word) for word in found)


@given(the.names())
def test_words_do_not_depend_on_case_or_normal_form(text: str) -> None:
    assert words(text) == words(unicodedata.normalize("NFC", text)) == words(unicodedata.normalize("NFD", text))
    assert words(text.casefold()) == words(text)


@given(the.names(), the.names())
def test_words_beside_each_other_do_not_change(one: str, other: str) -> None:
    assert words(f"{one}\n{other}") == words(one) + words(other)
