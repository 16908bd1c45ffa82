"""Declare once, beside the model, what each field is and what it is for.

::

    @kind("ticket", subject="customer")
    @attrs.frozen
    class Ticket:
        id: str
        customer: str
        text: Annotated[str, Personal(Category.COMMUNICATION, purpose="support", search=Words())]

From that alone come encryption, search, access, portability and erasure. A field that declares nothing fails when the
class is made.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, Final, TypeVar, get_args, get_type_hints

import attrs

from capsule_core.errors import InvalidField, UndeclaredField

__all__ = [
    "Category",
    "Declaration",
    "Exact",
    "Form",
    "Kind",
    "Personal",
    "Plain",
    "Upcast",
    "Words",
    "by_name",
    "kind",
    "kind_of",
]

T = TypeVar("T")
Upcast = Callable[[dict[str, Any]], dict[str, Any]]
"""Leads the dictionary of one schema of a kind to the next."""


class Category(enum.Enum):
    """What a field is, in the words of a record of processing (GDPR Art. 30(1)(c))."""

    IDENTITY = "identity"
    CONTACT = "contact"
    COMMUNICATION = "communication"
    LOCATION = "location"
    EMPLOYMENT = "employment"
    FINANCIAL = "financial"
    IMAGE = "image"
    PREFERENCE = "preference"
    CREDENTIAL = "credential"
    TECHNICAL = "technical"
    OTHER = "other"


class Form(enum.Enum):
    """How a value is brought to its canonical spelling before it is matched exactly."""

    TEXT = "text"
    EMAIL = "email"
    PHONE = "phone"


@attrs.frozen
class Exact:
    """The field is found by its whole value; in a list of values, *of* names the attribute that holds it.

    *unique* claims it: a second live record of the kind with the same value is refused.
    """

    form: Form = Form.TEXT
    of: str | None = None
    unique: bool = False


@attrs.frozen
class Words:
    """The field is found by the beginning of any of its words, in any script."""


def _named(_: object, attribute: attrs.Attribute[str], value: str) -> None:
    if not value.strip():
        raise InvalidField(attribute.name, "must be named")


@attrs.frozen(kw_only=True)
class Personal:
    """The field holds personal data of a *category*, kept for a *purpose*.

    *provided* says that the subject gave it (GDPR Art. 20 covers it); *search* how it may be found.
    """

    category: Category = attrs.field(kw_only=False)
    purpose: str = attrs.field(validator=_named)
    search: Exact | Words | None = None
    provided: bool = True


@attrs.frozen
class Plain:
    """The field holds no personal data; *why* is said for the reader of the record of processing."""

    why: str
    search: Exact | None = None


Declaration = Personal | Plain
"""What a field declares."""


def _is_text(declared: Declaration) -> bool:
    if not isinstance(declared, Personal) or declared.category is Category.IMAGE:
        return False
    return not (isinstance(declared.search, Exact) and declared.search.form is Form.PHONE)


@attrs.frozen(kw_only=True)
class Kind:
    """What a model declares: its *name*, whose data it holds, and every field's declaration."""

    name: str
    model: type[Any]
    subject: str
    fields: Mapping[str, Declaration]
    server_ids: bool = False
    schema: int = 1
    upcasts: Mapping[int, Upcast] = attrs.Factory(dict)
    obliged: bool = False
    journaled: bool = False
    contacted: str | None = None
    governed: bool = True

    @property
    def subject_kind(self) -> str:
        """What the subject is called in a ``SubjectRef``: the kind itself, or the field that names whose it is."""
        return self.name if self.is_root else self.subject

    @property
    def is_root(self) -> bool:
        """Whether a record of this kind is itself the subject's own record (a contact, not a note on one)."""
        return self.subject == "id"

    @cached_property
    def exact(self) -> tuple[tuple[str, Exact], ...]:
        """The fields found by whole values, and how."""
        declared = ((name, field.search) for name, field in self.fields.items())
        return tuple((name, search) for name, search in declared if isinstance(search, Exact))

    @cached_property
    def personal(self) -> tuple[str, ...]:
        """The fields that hold personal data."""
        return tuple(name for name, field in self.fields.items() if isinstance(field, Personal))

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """The personal fields that a record cannot be without."""
        defaults = {field.name: field.default for field in attrs.fields(self.model)}
        return tuple(name for name in self.personal if defaults[name] is attrs.NOTHING)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The personal fields that people write texts into: neither telephone numbers nor pictures."""
        return tuple(name for name, field in self.fields.items() if _is_text(field))

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The fields found by the beginnings of their words."""
        return tuple(name for name, field in self.fields.items() if isinstance(field.search, Words))


_ATTRIBUTE: Final = "__capsule_kind__"


def kind(
    name: str,
    *,
    subject: str,
    server_ids: bool = False,
    schema: int = 1,
    upcasts: Mapping[int, Upcast] | None = None,
    obliged: bool = False,
    journaled: bool = False,
    contacted: str | None = None,
    governed: bool = True,
) -> Callable[[type[T]], type[T]]:
    """Declare an attrs class to be a kind of record, about the person whom its field *subject* names.

    *server_ids* says that ids are made by :func:`names.made_id`; otherwise they are the caller's own and are sealed.
    *upcasts* lead a dictionary of schema n to schema n + 1. A record of an *obliged* kind (an invoice) outlives the
    erasure of its subject, out of ordinary reach, until somebody says that the obligation has ended. Records of a
    *journaled* kind are not taken back by a restored backup: who may sign in, what was decided. *contacted* names the
    attribute that says when a record speaks of contact with its subject (RFC 3339), empty if it does not. No policy
    speaks of a kind that is not *governed*: what people made to work with, and throw away themselves.

    Raises:
        UndeclaredField: a field declares neither Personal nor Plain, or *subject* is not a field.
    """

    def declare(model: type[T]) -> type[T]:
        declared = Kind(
            name=name,
            model=model,
            subject=subject,
            fields=_declarations(model, structural={"id", subject}),
            server_ids=server_ids,
            schema=schema,
            upcasts=dict(upcasts or {}),
            obliged=obliged,
            journaled=journaled,
            contacted=contacted,
            governed=governed,
        )
        setattr(model, _ATTRIBUTE, declared)
        return model

    return declare


def by_name(kinds: Iterable[Kind]) -> dict[str, Kind]:
    """Return kinds by their names."""
    return {declared.name: declared for declared in kinds}


def kind_of(model: type[Any]) -> Kind:
    """Return what *model* declares.

    Raises:
        UndeclaredField: it was never decorated with :func:`kind`.
    """
    declared = vars(model).get(_ATTRIBUTE)
    if not isinstance(declared, Kind):
        raise UndeclaredField(model.__name__, "*", "is not a kind; decorate the class with @kind(...)")
    return declared


def _declarations(model: type[Any], *, structural: set[str]) -> dict[str, Declaration]:
    hints = get_type_hints(model, include_extras=True)
    names = [field.name for field in attrs.fields(model)]
    for missing in sorted(structural - set(names)):
        raise UndeclaredField(model.__name__, missing, "must exist: it names the record or its subject")
    return {name: _declaration(model, name, hints[name]) for name in names if name not in structural}


def _declaration(model: type[Any], name: str, hint: object) -> Declaration:
    found = [part for part in get_args(hint)[1:] if isinstance(part, (Personal, Plain))]
    if len(found) != 1:
        raise UndeclaredField(model.__name__, name)
    return found[0]
