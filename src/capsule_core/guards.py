"""Data that must not come in at all: payment cards, and special categories (GDPR Art. 9)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from capsule_core.errors import CardNumberFound, SpecialCategoryFound
from capsule_core.identifiers import words

__all__ = ["SPECIAL_CATEGORIES", "refuse_card_numbers", "refuse_special_category", "special_categories"]

_SEPARATOR: Final = "[ .\u00a0\u2007\u2009\u202f\u2010-\u2015\u2212-]"
_LOOSE: Final = r"[\s./_\u2010-\u2015\u2212-]"
_ANY: Final = r"[\W_]"
_RUN = re.compile(rf"\d(?:{_SEPARATOR}?\d){{12,}}")
_LOOSE_RUN = re.compile(rf"\d(?:{_LOOSE}{{0,3}}\d){{12,}}")
_ANY_RUN = re.compile(rf"\d(?:{_ANY}{{0,8}}\d){{12,}}")
_LIKE_EMBOSSED = re.compile(rf"(?<!\d)\d{{4}}{_ANY}+(?:\d{{4}}{_ANY}+\d{{4}}{_ANY}+\d|\d{{6}}{_ANY}+\d{{4,5}}(?!\d))")
_PARTS = re.compile(rf"(\d+)({_ANY}*)")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![A-Za-z0-9])")
_LONGEST_PHONE: Final = 15
_LONGEST_CARD: Final = 19
_SHORTEST_GROUP: Final = 4
# How cards are embossed: by four, and a rest; American Express; Diners Club.
_EMBOSSED: Final = frozenset({(4, 4, 4, 4), (4, 4, 4, 4, 3), (4, 4, 4, 1), (4, 6, 5), (4, 6, 4)})
_LIST: Final = 6
# Issuer ranges with the lengths they are issued in (ISO/IEC 7812-1 leaves them to the issuers).
_CARD = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:30[0-5]|309|3[689]\d)\d{11,16}"  # Diners Club
    r"|(?:352[89]|35[3-8]\d)\d{12,15}"  # JCB
    r"|(?:6011|64[4-9]\d|65\d\d)\d{12,15}"  # Discover
    r"|(?:62|81)\d{14,17}"  # UnionPay
    r"|(?:5018|5020|5038|5893|6304|6759|676[1-3])\d{9,15}"  # Maestro
    r"|220[0-4]\d{12,15}"  # Mir
    r"|(?:60|82|508|9792|506[01])\d{12,14}"  # RuPay, Troy, Verve
)
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def refuse_card_numbers(field: str, text: str) -> None:
    """Refuse *text* if a payment card number stands anywhere in it, in the digits of any script.

    A card number has a known issuer, a length which that issuer uses and a right check digit (ISO/IEC 7812-1 Annex B);
    up to three spaces, dashes, dots, slashes or underscores may part its digits, anywhere if it stands alone, into the
    usual groups between other numbers; other numbers that are one such mark away do not hide it. Any other marks, up to
    eight, part it into the groups it is embossed in, the same marks each time. Phone numbers with a leading plus, IBANs
    and rows of six or more numbers in such marks (prices in thousands, years) are let pass.

    Raises:
        CardNumberFound: it does.
    """
    shown = text if text.isascii() else _INVISIBLE.sub("", text)
    if not _LOOSE_RUN.search(shown) and not _LIKE_EMBOSSED.search(shown):
        return
    shown = _IBAN.sub(lambda found: "\n" if _is_iban(found[0]) else found[0], shown)
    for run in (*_RUN.finditer(shown), *_LOOSE_RUN.finditer(shown)):
        groups = [_ascii(group) for group in re.findall(r"\d+", run[0])]
        is_phone = shown[: run.start()].endswith("+") and sum(map(len, groups)) <= _LONGEST_PHONE
        if not is_phone and _holds_card(groups):
            raise CardNumberFound(field)
    if _LIKE_EMBOSSED.search(shown) and any(map(_is_embossed, _runs(shown))):
        raise CardNumberFound(field)


def special_categories(text: str) -> frozenset[str]:
    """Name the special categories (GDPR Art. 9(1)) that *text* seems to speak of.

    A hint for a person to look at, never a decision: a small lexicon of whole words in English, German, French,
    Spanish, Italian and Portuguese. It misses what is paraphrased, and a name or a zodiac sign may set it off.
    """
    said = f" {' '.join(words(text))} "
    return frozenset(category for category, lexicon in _LEXICON.items() if lexicon.search(said))


def refuse_special_category(field: str, category: str) -> None:
    """Refuse the declaration that *field* is for data of a special *category*; any other category is fine.

    Raises:
        SpecialCategoryFound: the category is one of :data:`SPECIAL_CATEGORIES`.
    """
    named = "_".join(words(category))
    if named in SPECIAL_CATEGORIES:
        raise SpecialCategoryFound(field, named)


def _holds_card(groups: list[str]) -> bool:
    return _is_card("".join(groups)) or any(_is_card(number) for number in _between_others(groups))


def _between_others(groups: list[str]) -> Iterator[str]:
    # A card may stand between other numbers, its expiry date say. Then it is written as cards are, in groups of four
    # digits or more, the last one excepted; or else every row of small numbers would hold one sooner or later.
    for first in range(len(groups)):
        number = ""
        for group in groups[first : first + _LONGEST_CARD]:
            number += group
            if len(number) > _LONGEST_CARD:
                break
            yield number
            if len(group) < _SHORTEST_GROUP:
                break


def _runs(text: str) -> Iterator[str]:
    """Give the runs of digits and marks in *text*, each with the sign before it."""
    return (text[max(run.start() - 1, 0) : run.end()] for run in _ANY_RUN.finditer(text))


def _is_embossed(run: str) -> bool:
    """Tell whether a card stands in *run* in the groups it is embossed in, with the same marks between them."""
    parts = [(_ascii(digits), "".join(marks.split())) for digits, marks in _PARTS.findall(run)]
    before = run[:1]
    start = 0
    for end in range(1, len(parts) + 1):
        if end < len(parts) and (end - start < 2 or parts[end - 1][1] == parts[start][1]):
            continue
        row = [digits for digits, _ in parts[start:end]]
        is_phone = before.endswith("+") and sum(map(len, row)) <= _LONGEST_PHONE
        if not is_phone and any(map(_is_card, _in_row(row))):
            return True
        start, before = end - 1, parts[end - 2][1]
    return False


def _in_row(groups: list[str]) -> Iterator[str]:
    if sum(len(group) == _SHORTEST_GROUP for group in groups) >= _LIST:
        return
    for first in range(len(groups)):
        for last in range(first + 2, min(first + 6, len(groups) + 1)):
            if tuple(map(len, groups[first:last])) in _EMBOSSED:
                yield "".join(groups[first:last])


def _ascii(digits: str) -> str:
    return digits if digits.isascii() else "".join(str(unicodedata.decimal(digit)) for digit in digits)


def _is_card(number: str) -> bool:
    return _CARD.fullmatch(number) is not None and _has_check_digit(number)


def _has_check_digit(number: str) -> bool:
    digits = [int(digit) for digit in reversed(number)]
    return (sum(digits[::2]) + sum(_DOUBLED[digit] for digit in digits[1::2])) % 10 == 0


def _is_iban(text: str) -> bool:
    letters = text.replace(" ", "")
    # ISO 13616: letters count as 10 to 35, the first four characters go last.
    return int("".join(str(int(sign, 36)) for sign in letters[4:] + letters[:4])) % 97 == 1


_TERMS: Final = {
    "health": """
        diabetes, diabetic, cancer, chemotherapy, hiv, hepatitis, epilepsy, asthma, dementia, alzheimer, autism,
        autistic, schizophrenia, bipolar disorder, pregnant, pregnancy, disabled, disability, wheelchair user,
        sick leave, medical history, mental illness, clinical depression, alcoholic, antidepressants, diagnosed with
        ; diabetiker, diabetikerin, krebserkrankung, chemotherapie, epilepsie, demenz, schwanger, schwangerschaft,
        behindert, behinderung, schwerbehindert, schwerbehinderung, krankgeschrieben, depressionen, rollstuhlfahrer
        ; diabète, diabétique, chimiothérapie, épilepsie, asthme, démence, est enceinte, grossesse, handicapé,
        handicapée, arrêt maladie, séropositif, séropositive, antécédents médicaux
        ; diabético, diabética, cáncer, quimioterapia, epilepsia, embarazada, embarazo, discapacitado, discapacidad,
        baja médica, seropositivo, seropositiva, historial médico
        ; diabete, diabetico, diabetica, cancro, chemioterapia, incinta, gravidanza, invalidità, sieropositivo
        ; câncer, grávida, gravidez, deficiência física, soropositivo""",
    "religion": """
        religion, religious, catholic, protestant, christian faith, muslim, islamic faith, jewish, hindu, buddhist,
        sikh, atheist, baptised, baptized, jehovah s witness
        ; katholisch, evangelisch, muslimisch, jüdisch, hinduistisch, buddhistisch, konfession, konfessionslos
        ; catholique, protestante, musulman, musulmane, juif, juive, bouddhiste, athée
        ; católico, católica, musulmán, musulmana, judío, judía, budista, ateo, atea
        ; cattolico, cattolica, musulmano, musulmana, ebreo, ebrea, buddista
        ; muçulmano, muçulmana, judeu, judia""",
    "politics": """
        political party, party member, political opinion, political views, votes republican, votes democrat,
        votes labour, communist, socialist, fascist
        ; parteimitglied, parteibuch, politische gesinnung, kommunist, kommunistin, sozialist, sozialistin
        ; membre du parti, opinions politiques, communiste, socialiste
        ; afiliado al partido, opiniones políticas, comunista, socialista
        ; iscritto al partito, opinioni politiche, filiado ao partido""",
    "trade_union": """
        trade union, trade unionist, labor union, labour union, union member, union membership, shop steward
        ; gewerkschaft, gewerkschafter, gewerkschafterin, gewerkschaftsmitglied
        ; syndiqué, syndiquée, syndicaliste, membre du syndicat
        ; sindicalista, afiliado al sindicato, afiliada al sindicato, sindacalista,
        iscritto al sindacato, sindicalizado""",
    "ethnicity": """
        ethnicity, ethnic origin, racial origin, afro american, african american, roma people, gypsy
        ; ethnie, ethnische herkunft, hautfarbe, sinti und roma
        ; origine ethnique, origine raciale, couleur de peau
        ; origen étnico, origen racial, gitano, gitana, origine etnica, origem étnica""",
    "sexuality": """
        gay, lesbian, bisexual, homosexual, transgender, sexual orientation, sex life
        ; schwul, lesbisch, bisexuell, homosexuell, sexuelle orientierung, sexualleben
        ; lesbienne, bisexuel, bisexuelle, homosexuel, homosexuelle, orientation sexuelle
        ; lesbiana, bisexualidad, orientación sexual, omosessuale, orientamento sessuale, orientação sexual""",
    "genetics": """
        genetic test, genetic data, genome, dna test, dna sample, brca1, brca2
        ; gentest, genetische daten, test génétique, données génétiques, prueba genética, datos genéticos
        ; test genetico, dati genetici, teste genético""",
    "biometrics": """
        fingerprint, fingerprints, iris scan, retina scan, face template, voiceprint, biometric data
        ; fingerabdruck, fingerabdrücke, biometrische daten, empreinte digitale, empreintes digitales
        ; huella dactilar, huellas dactilares, datos biométricos, impronta digitale, impressão digital""",
}
SPECIAL_CATEGORIES: Final = frozenset(_TERMS)
"""The names of the special categories of GDPR Art. 9(1)."""


def _lexicon(terms: str) -> re.Pattern[str]:
    phrases = (" ".join(words(phrase)) for phrase in re.split("[,;]", terms))
    return re.compile(f" (?:{'|'.join(filter(None, phrases))}) ")


_LEXICON: Final = {category: _lexicon(terms) for category, terms in _TERMS.items()}
