"""What is wrong with a field, told by the path it has on the wire."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from capsule_core.errors import InvalidField
from capsule_core.guards import refuse_card_numbers

__all__ = ["carried_in", "refuse_cards"]


@contextlib.contextmanager
def carried_in(field: str, **renamed: str) -> Generator[None]:
    """Say of a malformed field that the request carries it in *field*; some are *renamed* on the wire."""
    try:
        yield
    except InvalidField as error:
        path = filter(None, (field, renamed.get(error.field, error.field)))
        raise InvalidField(".".join(path), error.problem) from None


def refuse_cards(message: object, field: str, *texts: str) -> None:
    """Refuse *message*, carried in *field*, if a card number stands in one of its *texts*.

    Raises:
        CardNumberFound: naming the field by its path (``payment_method.token``).
    """
    for name in texts:
        refuse_card_numbers(".".join(filter(None, (field, name))), getattr(message, name))
