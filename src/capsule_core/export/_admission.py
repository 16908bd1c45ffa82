"""The gate between a file and the content model: a record becomes a contact, or the reason why not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from capsule_core.contacts import Contact, Organisation, Person, Photo
from capsule_core.errors import CardNumberFound, InvalidField
from capsule_core.export import Refused, Row
from capsule_core.guards import refuse_card_numbers

__all__ = ["admitted"]

_SOURCE: Final = "import"
_SHORTEST_CARD: Final = 12
_REASONS: Final = {"birthday": "DATE_IMPOSSIBLE", "display_name": "EMPTY"}


def admitted(number: int, contact_id: str, fields: Mapping[str, Any], photo: Photo | None = None) -> Row | Refused:
    """Make the contact that *fields* describe: an organisation where they have a ``name``, a person otherwise."""
    try:
        return Row(number, _contact(contact_id, fields), photo)
    except CardNumberFound as error:
        problem = "contains what looks like a payment card number"
        return Refused(number, reason=error.reason, field=error.field, problem=problem)
    except InvalidField as error:
        return Refused(number, reason=_reason(error), field=error.field, problem=error.problem)


def _contact(contact_id: str, fields: Mapping[str, Any]) -> Contact:
    made = Organisation if "name" in fields else Person
    contact = made(id=contact_id, source=_SOURCE, **fields)
    for field, text in _texts(fields):
        refuse_card_numbers(field, text)
    return contact


def _texts(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Whatever somebody may have typed a card number into; telephone numbers look like them and are not read."""
    for name, held in fields.items():
        if isinstance(held, str) and len(held) >= _SHORTEST_CARD:
            yield name, held
    for index, custom in enumerate(fields.get("custom", ())):
        yield f"custom[{index}].value", custom.value


def _reason(error: InvalidField) -> str:
    if error.field.startswith("emails[") and error.field.endswith(".address"):
        return "EMAIL_MALFORMED"
    return _REASONS.get(error.field, error.reason)
