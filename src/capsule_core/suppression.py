"""Nobody comes back: what the erased were known by is remembered in keyed hashes, and refused on every way in.

Remembered is a hash of the identifier in its one canonical spelling, under a key of the tenant's own, so that nothing
readable is kept and no two tenants can compare what they hold. The subject's own new consent lifts it
(:mod:`readmission`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from capsule_core import codec
from capsule_core.blind import suppression
from capsule_core.errors import IdentifierSuppressed, InvalidField, SealBroken, SubjectErased
from capsule_core.identifiers import canonical, identifier_problem, mailbox
from capsule_core.names import TenantId
from capsule_core.opening import opened
from capsule_core.personal import Exact, Form, Kind, kind_of
from capsule_core.records import Barred, Mark, Sealed, Where
from capsule_core.stores import RecordStore, Suppressions
from capsule_core.vault import Vault

__all__ = ["Identifiers", "refusal_of", "spelling"]

_FORMS: Final = (Form.EMAIL, Form.PHONE)
_AT_ONCE: Final = 500


@attrs.frozen
class Identifiers:
    """Tells what the people in records are known by: their fields that are found exactly as an e-mail or a phone.

    *kinds* are those declared, by name; *region* is where national phone numbers are read (ISO 3166 alpha-2).
    """

    vault: Vault
    kinds: Mapping[str, Kind]
    region: str | None = None

    def hashed(self, tenant: TenantId, form: Form, value: str) -> bytes | None:
        """Hash an identifier; nothing if it has no canonical spelling."""
        spelt = spelling(form, value, region=self.region)
        return suppression(self.vault.tenant(tenant), form.value, spelt) if spelt else None

    def brought(self, tenant: TenantId, content: Any, over: Any = None) -> dict[bytes, str]:
        """Return the hash of each identifier in *content* that was not in what it is written *over*, and its field.

        What a record holds already it may go on holding: somebody else's erasure must not stop it from being corrected.
        """
        before = {} if over is None else self.brought(tenant, over)
        found: dict[bytes, str] = {}
        for name, search in _identifying(kind_of(type(content))):
            for field, value in _values(name, getattr(content, name), search.of):
                hashed = self.hashed(tenant, search.form, value)
                if hashed is not None and hashed not in before:
                    found.setdefault(hashed, field)
        return found

    def coming(self, tenant: TenantId, content: Any, over: Any = None) -> dict[bytes, str]:
        """Do what :meth:`brought` does for what is about to be kept; errors as :meth:`check`."""
        self.check(content, over)
        return self.brought(tenant, content, over)

    def check(self, content: Any, over: Any = None) -> None:
        """Let *content* pass if each identifier in it is one; what it is written *over* may go on holding what it held.

        Raises:
            InvalidField: one is not, or cannot be told to be one: it could neither be found nor be kept out.
        """
        for name, search in _identifying(kind_of(type(content))):
            for field, value in _values(name, getattr(content, name), search.of):
                problem = identifier_problem(search.form, value, region=self.region)
                if problem and not _holds(over, name, search.of, value):
                    raise InvalidField(field, problem)

    def carried(self, store: RecordStore, where: Where, *, admits: Mark) -> Iterator[dict[bytes, str]]:
        """Give what :meth:`brought` does of all records that are meant, page by page."""
        where, after = attrs.evolve(where, kinds=self._carriers), None
        while True:
            page = store.select(where, admits=admits, limit=_AT_ONCE, after=after)
            yield self._in_records(page.records)
            after = page.after
            if after is None:
                return

    def suppressed(self, store: Suppressions, tenant: TenantId, contents: Sequence[Any]) -> list[str | None]:
        """Tell of each of *contents* the first field that would be refused; None if none would be."""
        brought = [self.brought(tenant, content) for content in contents]
        barred = store.suppressed(tenant, list(dict.fromkeys(hashed for each in brought for hashed in each)))
        return [next((field for hashed, field in each.items() if hashed in barred), None) for each in brought]

    @property
    def _carriers(self) -> tuple[str, ...]:
        """The kinds of records that can hold an identifier."""
        return tuple(name for name, kind in self.kinds.items() if any(_identifying(kind)))

    def _in_records(self, records: Sequence[Sealed]) -> dict[bytes, str]:
        """Open records as far as they can be: what does not open any more brings nobody back."""
        try:
            contents = opened(records, self.vault, self.kinds, codec.decode)
        except (SubjectErased, SealBroken):
            apart = [] if len(records) == 1 else [self._in_records([record]) for record in records]
        else:
            apart = [self.brought(r.tenant, content) for r, content in zip(records, contents, strict=True)]
        return {hashed: field for found in apart for hashed, field in found.items()}


def spelling(form: Form, value: str, *, region: str | None = None) -> str | None:
    """Return the one spelling under which an identifier is suppressed, or nothing where it has none.

    Of an e-mail address a tag after a plus goes at every provider, dots go where they are known to be ignored: it is
    better to ask for a consent too many than to bring back who wanted to be forgotten.
    """
    if form is not Form.EMAIL:
        return canonical(form, value, region=region)
    address = mailbox(value)
    if address is None:
        return None
    local, _, domain = address.rpartition("@")
    return f"{local.partition('+')[0] or local}@{domain}"


def refusal_of(barred: Barred, brought: Mapping[bytes, str]) -> IdentifierSuppressed:
    """Say which field of what was *brought* is suppressed."""
    return IdentifierSuppressed(next(field for hashed, field in brought.items() if hashed in barred.hashes))


def _identifying(kind: Kind) -> Iterator[tuple[str, Exact]]:
    return ((name, search) for name, search in kind.exact if search.form in _FORMS)


def _holds(content: Any, name: str, of: str | None, value: str) -> bool:
    return content is not None and any(held == value for _, held in _values(name, getattr(content, name), of))


def _values(name: str, held: Any, of: str | None) -> Iterator[tuple[str, str]]:
    """Give each value of a field with its path: ``email``, ``emails[2].address``."""
    many = isinstance(held, tuple)
    for place, item in enumerate(held if many else (held,)):
        value = item if of is None else getattr(item, of)
        if value:
            yield f"{name}{f'[{place}]' if many else ''}{f'.{of}' if of else ''}", value
