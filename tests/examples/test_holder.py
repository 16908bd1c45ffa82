"""The holder of examples/holder keeps the contract published for holders, and the suite would tell if it did not."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import attrs
import pytest
from hypothesis import settings

from capsule_core.checkpoints import Signer
from capsule_core.names import SubjectKey, TenantId
from capsule_core.testing.conformance.clauses import ClauseBroken
from capsule_core.testing.conformance.holder import run_holder_conformance
from tests.architecture.tree import REPOSITORY

SETTINGS = settings(max_examples=40, stateful_step_count=25, deadline=None)


def newsletter_class() -> Any:
    spec = importlib.util.spec_from_file_location("newsletter", REPOSITORY / "examples/holder/newsletter.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Newsletter


NEWSLETTER = newsletter_class()


@attrs.define
class Tried:
    """The newsletter, and how readers come to it and leave."""

    make: type = NEWSLETTER
    holder: Any = attrs.field(init=False)
    tenants: Sequence[TenantId] = (TenantId("one"), TenantId("two"))
    _time: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    _numbers: count[int] = attrs.Factory(count)

    def __attrs_post_init__(self) -> None:
        self.holder = self.make(Signer.from_seed("newsletter", bytes(32)))

    def meet(self, tenant: TenantId, email: str) -> SubjectKey:
        reader = SubjectKey(f"c{next(self._numbers)}")
        self.holder.keep(tenant, reader, email)
        return reader

    def write(self, tenant: TenantId, subject: SubjectKey) -> None:
        self.holder.keep(tenant, subject, "a letter to the editor")

    def throw_away(self, tenant: TenantId, subject: SubjectKey) -> datetime:
        return self.holder.unsubscribe(tenant, subject, now=self._time)

    def now(self) -> datetime:
        return self._time

    def advance(self, by: timedelta) -> None:
        self._time += by

    def close(self) -> None:
        return


def test_the_newsletter_keeps_every_clause_of_the_contract() -> None:
    assert run_holder_conformance(Tried, settings=SETTINGS) == ()


class Unfenced(NEWSLETTER):
    """Erases, and lets a late form write again."""

    def keep(self, tenant: TenantId, reader: SubjectKey, text: str) -> None:
        self.fenced.discard((tenant, reader))
        super().keep(tenant, reader, text)


class Hasty(NEWSLETTER):
    """Takes the release of one hold for the release of all."""

    def apply(self, tenant: TenantId, subjects: Sequence[SubjectKey], order: Any, **told: Any) -> Any:
        applied = super().apply(tenant, subjects, order, **told)
        if order.value == "release":
            self.reasons.clear()
        return applied


@pytest.mark.parametrize(("broken", "clause"), [(Unfenced, "H5"), (Hasty, "H6")])
def test_the_suite_names_the_clause_that_a_broken_newsletter_breaks(broken: type, clause: str) -> None:
    with pytest.raises(ClauseBroken, match=f"^{clause}: "):
        run_holder_conformance(lambda: Tried(broken), settings=SETTINGS)
