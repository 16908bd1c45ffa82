from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.errors import CardNumberFound, SpecialCategoryFound
from capsule_core.guards import SPECIAL_CATEGORIES, refuse_card_numbers, refuse_special_category, special_categories
from capsule_core.testing import strategies as the

SEPARATORS = ["", " ", "-", ".", "\u00a0", "\u2009", "\u2011", "\u2013"]
ZEROS = ["0", "٠", "०", "０", "𝟎"]

ORDINARY = [
    "Meeting on 2026-11-04 at 09:30, room 4.11, about the offer 2026-000417.",
    "Call +44 20 7946 0958 or +1 (212) 555-0100, ext. 4111.",
    "+4111111111111 and 0049 30 1234567 and 030/1234567-89",
    "DE89 3704 0044 0532 0130 00 or DE89370400440532013000",
    "GB29 NWBK 6016 1331 9268 19, FR14 2004 1010 0505 0001 3M02 606",
    "ISBN 978-3-16-148410-0, EAN 5901234123457",
    "IMEI 35-209900-176148-1 and ICCID 8949 0200 0012 3456 789",
    "Order 4111 1111 1111 1112 is late, as is 5555555555554445.",
    "Created 1764000000000, 1764000000000000 and 20261104093000",
    "UUID 018f4e2a-1111-7111-8111-411111111111",
    "Revenue: 1.234.567,89; 12 345 678.90; 3 141 592 653 589",
    "Numbers 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15",
    "VAT ESB12345678, tax id 12/345/67890, parcel 00340434161094042557",
    "4999, 5999, 1299, 1999, 2999, 3999 and 4111, 1111, 1111, 1111, 1234, 1500 are rows of prices",
    "Call +4222 2222 2222 2, or +37 828224 631 0005.",
    "",
    "王小明 说：电话 010-12345678",
]


def written(draw: st.DrawFn, digits: str) -> str:
    zero = ord(draw(st.sampled_from(ZEROS)))
    gaps = draw(st.lists(st.sampled_from(SEPARATORS), min_size=len(digits) - 1, max_size=len(digits) - 1))
    return "".join(chr(zero + int(digit)) + gap for digit, gap in zip(digits, [*gaps, ""], strict=True))


@st.composite
def texts_with_a_card(draw: st.DrawFn) -> str:
    before = draw(st.sampled_from(["", "card: ", "(", "first line\n", "Visa", "12,  "]))
    after = draw(st.sampled_from(["", ".", "\nlast line", "  12/27", ", CVC 123", ")", " EUR"]))
    return before + written(draw, draw(the.card_numbers())) + after


@st.composite
def cards_between_other_numbers(draw: st.DrawFn) -> str:
    digits, separator = draw(the.card_numbers()), draw(st.sampled_from(SEPARATORS[1:]))
    cuts = draw(st.sampled_from([(4, 8, 12, 16), (4, 10), (6,), ()]))
    groups = [digits[start:end] for start, end in zip((0, *cuts), (*cuts, 19), strict=True)]
    others = st.sampled_from([[], ["12"], ["3", "6"], ["2026"], ["06", "27"]])
    return separator.join([*draw(others), *filter(None, groups), *draw(others)])


@pytest.mark.parametrize(
    "text",
    [
        "4111  1111  1111  1111",
        "4111/1111/1111/1111",
        "4111_1111_1111_1111",
        "4111 - 1111 - 1111 - 1111",
        "4111 1111\n1111 1111",
        "4111     1111     1111     1111",
        "4111, 1111, 1111, 1111",
        "(4111)(1111)(1111)(1111)",
        "4111:1111:1111:1111",
        "4111|1111|1111|1111",
        "4111*1111*1111*1111",
        "4111  --  1111 -- 1111 -- 1111",
        "4111;1111;1111;1111;12;27;123",
        "2027, 4111, 1111, 1111, 1111",
        "3782, 822463, 10005",
        "4111,\n1111,\n1111,\n1111",
        "4111 > 1111 > 1111 > 1111",
        "\u0664\u0661\u0661\u0661\u061b1111\u061b1111\u061b1111",
    ],
)
def test_a_card_number_is_found_with_more_than_one_mark_between_its_groups(text: str) -> None:
    with pytest.raises(CardNumberFound):
        refuse_card_numbers("body", text)


@given(texts_with_a_card() | cards_between_other_numbers())
def test_a_card_number_is_found_in_any_digits_with_any_separators_inside_any_text(text: str) -> None:
    with pytest.raises(CardNumberFound) as caught:
        refuse_card_numbers("body", text)
    assert caught.value.metadata == {"field": "body"}


MARKS = st.text(st.sampled_from(" ,;:|*()[]{}<>~+=#'\"!?&-./_\u00b7\u2022\u2192\u3001\u200b\n"), min_size=1, max_size=8)


@given(the.card_numbers().filter(lambda digits: len(digits) == 16), MARKS, st.sampled_from(["", "Visa", "(", "x1 "]))
def test_a_card_number_is_found_by_fours_with_any_marks_between_them(digits: str, marks: str, before: str) -> None:
    with pytest.raises(CardNumberFound):
        refuse_card_numbers("body", before + marks.join(digits[at : at + 4] for at in range(0, 16, 4)))


def some(each: st.SearchStrategy[str], least: int = 1, most: int = 12) -> st.SearchStrategy[str]:
    marks = st.sampled_from([", ", "; ", " | ", ",", " and "])
    return st.builds(lambda texts, mark: mark.join(texts), st.lists(each, min_size=least, max_size=most), marks)


LISTS = {
    "prices": some(st.builds("{}.{:02}".format, st.integers(1, 999), st.integers(0, 99))),
    "prices with thousands": some(st.builds("{},{:03}.{:02} EUR".format, *map(st.integers, (1, 0, 0), (99, 999, 99)))),
    "dates": some(st.dates().map(str)),
    "days": some(st.dates().map(lambda day: f"{day:%d.%m.%Y}")),
    "times": some(st.datetimes().map(lambda at: f"{at:%H:%M:%S}")),
    "orders": some(st.builds("A-{:07}".format, st.integers(0, 9_999_999))),
    "coordinates": some(st.builds("{:.4f}, {:.4f}".format, st.floats(-90, 90), st.floats(-180, 180)), most=1),
    "fine coordinates": some(st.builds("{:.6f}, {:.6f}".format, st.floats(-90, 90), st.floats(-180, 180)), most=1),
    "small numbers": some(st.integers(0, 999).map(str)),
    "phones": some(st.builds("+44 20 7946 {:04}".format, st.integers(0, 9999))),
    "american phones": some(st.builds("({:03}) 555-{:04}".format, st.integers(200, 999), st.integers(0, 9999))),
    "yields": some(st.integers(1000, 9999).map(str), least=6),
    "networks": some(st.ip_addresses(v=4).map(str)),
}


@pytest.mark.parametrize("what", LISTS)
@given(data=st.data())
def test_ordinary_lists_are_let_pass(what: str, data: st.DataObject) -> None:
    refuse_card_numbers("body", data.draw(LISTS[what]))


@given(the.card_numbers(), st.integers(1, 9), st.data())
def test_one_wrong_digit_is_no_card_number(digits: str, more: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(digits) - 1))
    refuse_card_numbers("body", digits[:at] + str((int(digits[at]) + more) % 10) + digits[at + 1 :])


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_let_pass(text: str) -> None:
    refuse_card_numbers("body", text)


@pytest.mark.parametrize(
    "digits",
    ["4111111111111111", "4012888888881881", "4222222222222", "5555555555554444", "5105105105105100",
     "2223003122003222", "378282246310005", "371449635398431", "6011111111111117", "3530111333300000",
     "30569309025904", "38520000023237", "6200000000000005", "6759649826438453", "2200000000000004"],
)  # fmt: skip
def test_the_numbers_that_issuers_publish_for_tests_are_found(digits: str) -> None:
    with pytest.raises(CardNumberFound):
        refuse_card_numbers("about", f"pay with {digits}, please")


@pytest.mark.parametrize("text", ["a card\u200b 4111\u200b1111\u200b1111\u200b1111", "+4111 1111 1111 1111"])
def test_hidden_signs_and_a_plus_before_too_many_digits_hide_no_card(text: str) -> None:
    with pytest.raises(CardNumberFound):
        refuse_card_numbers("body", text)


@given(the.card_numbers(), st.booleans())
def test_an_iban_is_let_pass_whatever_digits_it_has(digits: str, spaced: bool) -> None:
    check = 98 - int(f"{digits}131400") % 97
    iban = f"DE{check:02}{digits}"
    groups = [iban[at : at + 4] for at in range(0, len(iban), 4)]
    refuse_card_numbers("body", " ".join(groups) if spaced else iban)


def test_a_phone_number_with_its_country_code_is_let_pass() -> None:
    refuse_card_numbers("body", "call +378282246310005 or +37 828224 631 0005")
    with pytest.raises(CardNumberFound):
        refuse_card_numbers("body", "call 378282246310005")


def test_an_iban_hides_only_itself() -> None:
    with pytest.raises(CardNumberFound):
        refuse_card_numbers("body", "IBAN DE89 3704 0044 0532 0130 00\ncard 4111 1111 1111 1111")


def test_three_hundred_thousand_digits_are_looked_through() -> None:
    refuse_card_numbers("body", "1 " * 100_000)
    refuse_card_numbers("body", "4" * 200_000)


@pytest.mark.parametrize(
    ("text", "categories"),
    [
        ("She is pregnant, in week 20", {"health"}),
        ("Sie ist SCHWANGER und katholisch.", {"health", "religion"}),
        ("Il est syndiqué", {"trade_union"}),
        ("afiliada al sindicato; opiniones políticas", {"trade_union", "politics"}),
        ("orientamento sessuale", {"sexuality"}),
        ("has given a fingerprint and a DNA test", {"biometrics", "genetics"}),
        ("origine ethnique", {"ethnicity"}),
    ],
)
def test_a_hint_is_given_in_several_languages(text: str, categories: set[str]) -> None:
    assert special_categories(text) == categories


@pytest.mark.parametrize(
    "text",
    [*ORDINARY, "Lunch with the race director", "He works for Western Union", "Student union building", "Dr. Krebs",
     "hearing aids", "Unionsquare", "the gaylord hotel", "precancerous-free zone", "party on Friday", "Faith Miller"],
)  # fmt: skip
def test_ordinary_words_give_no_hint(text: str) -> None:
    assert special_categories(text) == frozenset()


@pytest.mark.parametrize("category", sorted(SPECIAL_CATEGORIES))
def test_a_field_may_not_be_declared_for_a_special_category(category: str) -> None:
    with pytest.raises(SpecialCategoryFound) as caught:
        refuse_special_category("custom[0]", category.replace("_", " ").upper())
    assert caught.value.metadata == {"field": "custom[0]", "category": category}


def test_other_categories_are_fine() -> None:
    refuse_special_category("custom[0]", "preference")
