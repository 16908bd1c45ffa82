"""Passwords: which may be chosen, and how they are kept (NIST SP 800-63B-4 section 3.1.1.2, RFC 9106)."""

from __future__ import annotations

import unicodedata
from base64 import b64encode
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Final

import attrs
from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from argon2.profiles import RFC_9106_LOW_MEMORY

from capsule_core.errors import InvalidField
from capsule_core.guards import refuse_card_numbers

__all__ = ["LONGEST", "SHORTEST", "Passwords", "common_passwords"]

SHORTEST: Final = 8
LONGEST: Final = 256
_TOO_COMMON: Final = "is among the first that anybody would try; choose another"


def _production() -> PasswordHasher:
    return PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


def _of_nobody(passwords: Passwords) -> str:
    """Spell a hash at today's cost that no password is known to have: comparing with it takes as long as with any."""
    cost = passwords.hasher
    salt, found = (b64encode(bytes(length)).decode().rstrip("=") for length in (cost.salt_len, cost.hash_len))
    return f"$argon2id$v=19$m={cost.memory_cost},t={cost.time_cost},p={cost.parallelism}${salt}${found}"


@attrs.frozen
class Passwords:
    """Checks, hashes and compares passwords; *hasher* decides what that costs."""

    hasher: PasswordHasher = attrs.field(factory=_production)
    _nobodys: str = attrs.field(init=False, repr=False, default=attrs.Factory(_of_nobody, takes_self=True))

    def hashed(self, password: str, *, about: Iterable[str] = (), field: str = "password") -> str:
        """Hash a password that somebody chooses; *about* are texts that others know of them, *field* is where it came.

        Raises:
            InvalidField: it is too short, too long or too common.
            CardNumberFound: it is a card number.
        """
        chosen = _normal(password)
        if len(chosen) < SHORTEST:
            raise InvalidField(field, f"must have at least {SHORTEST} characters")
        if len(password) > LONGEST or len(chosen) > LONGEST:
            raise InvalidField(field, f"must have at most {LONGEST} characters")
        if _is_common(chosen.casefold(), about):
            raise InvalidField(field, _TOO_COMMON)
        refuse_card_numbers(field, password)
        return self.hasher.hash(chosen)

    def is_right(self, password: str, kept: str) -> bool:
        """Compare a password with a hash that was *kept*; with none, it is the same work and never right."""
        try:
            self.hasher.verify(kept or self._nobodys, _normal(password[: LONGEST + 1]))
        except VerifyMismatchError:
            return False
        return bool(kept) and len(password) <= LONGEST

    def is_outdated(self, kept: str) -> bool:
        """Tell whether a hash was made at another cost than is asked for today."""
        return self.hasher.check_needs_rehash(kept)

    def renewed(self, password: str) -> str:
        """Hash a password, known to be right, at today's cost."""
        return self.hasher.hash(_normal(password))


@cache
def common_passwords() -> frozenset[str]:
    """Return the passwords that are refused to everybody, in lower case."""
    text = files("capsule_services.identity").joinpath("common_passwords.txt").read_text(encoding="utf-8")
    return frozenset(text.split())


def _normal(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


def _is_common(chosen: str, about: Iterable[str]) -> bool:
    """The whole password is compared, never a part of it."""
    said = {_normal(part).casefold() for text in about for part in (text, text.partition("@")[0])}
    return chosen in common_passwords() or chosen in said or len(set(chosen)) == 1
