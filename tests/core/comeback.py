"""Everybody who tries to bring somebody back: the spellings of an address, the ways in, and many at once."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable, Sequence
from itertools import cycle

import attrs

from capsule_core.contacts import Email, Person, Phone
from capsule_core.errors import CapsuleError, IdentifierSuppressed
from capsule_core.names import RecordId, TenantId
from capsule_core.repository import Draft
from capsule_core.story import SUPPRESS
from capsule_core.uses import Use
from tests.core.desk import ACME, Desk, person

COMES = "comes"
ERASED = "Jane.Doe+x@Gmail.COM"
SPELLINGS = (
    ERASED,
    "jane.doe@gmail.com",
    "JANEDOE@GMAIL.COM",
    "janedoe+newsletter@gmail.com",
    "j.a.n.e.d.o.e@gmail.com",
    "Jane.Doe@googlemail.com",
    "jane.doe+a+b@GoogleMail.com",
    "janedoe@gmail.com.",
    "janedoe@ｇｍａｉｌ.com",
    "ＪaneＤoe@gmail.com",
    "janedoe@gmail。com",
    "JaneDoe+@gmail.com",
)
"""Twelve of one mailbox."""

PHONE = "+44 20 7946 0958"
PHONE_SPELLINGS = (PHONE, "+442079460958", "+44 (20) 7946-0958", "+44.20.7946.0958", "+44 (0)20 7946 0958")

WRITERS = 12
PATIENCE = 60.0


def reached(*, email: str = "", phone: str = "", name: str = "Somebody") -> Person:
    """Make a contact who is reached so."""
    emails, phones = (Email(email),) if email else (), (Phone(phone),) if phone else ()
    return attrs.evolve(person(name), emails=emails, phones=phones)


def thrown_away(desk: Desk, email: str, tenant: TenantId = ACME) -> RecordId:
    """Put a contact with this address into the trash."""
    (kept,) = desk.add(reached(email=email), tenant=tenant)
    desk.trash(kept.id, tenant=tenant)
    return kept.id


def _create(desk: Desk, email: str, tenant: TenantId, _: RecordId | None) -> None:
    desk.repository.add([Draft(reached(email=email))], act=desk.act(tenant, verb=COMES))


def _import(desk: Desk, email: str, tenant: TenantId, _: RecordId | None) -> None:
    rows = [Draft(person(f"Row {number}")) for number in range(3)]
    desk.repository.add([*rows, Draft(reached(email=email))], act=desk.act(tenant, verb=COMES, use=Use.IMPORT))


def _update(desk: Desk, email: str, tenant: TenantId, _: RecordId | None) -> None:
    (kept,) = desk.add(person("Bo"), tenant=tenant)
    changed = attrs.evolve(kept.content, emails=(Email(email),))
    desk.repository.change(kept, changed, act=desk.act(tenant, verb=COMES))


def _restore(desk: Desk, email: str, tenant: TenantId, thrown: RecordId | None) -> None:
    kept = desk.get(thrown or thrown_away(desk, email, tenant), tenant=tenant)
    desk.repository.restore(kept, act=desk.act(tenant, verb=COMES, use=Use.STORE))


Way = Callable[[Desk, str, TenantId, RecordId | None], None]
WAYS: dict[str, Way] = {"create": _create, "import": _import, "update": _update, "restore": _restore}
"""How an address comes in; what is restored may have been *thrown* away before."""


def besiege_the_door(desk: Desk, seed: int) -> None:
    """Let many bring in one mailbox in every spelling and way while its owner is erased at their request.

    From the suppression's leaf on no leaf is of somebody who came, in whatever order they were told.
    """
    chance = random.Random(seed)  # noqa: S311  a seed, so that a failure comes again
    (jane,) = desk.add(reached(email=ERASED, name="Jane"))
    door = _Door(desk)
    names = [list(WAYS)[number % len(WAYS)] for number in range(WRITERS)]
    threads = [threading.Thread(target=door.try_in, args=[way, chance.sample(SPELLINGS, 12)]) for way in names]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(chance.choice((1e-6, 1e-5, 1e-4)))
    try:
        for thread in threads:
            thread.start()
        door.begun.wait(PATIENCE)
        for _ in range(chance.randrange(1, 40)):
            assert door.tried.acquire(timeout=PATIENCE)
        desk.forget(jane.id)
    finally:
        door.shut.set()
        for thread in threads:
            thread.join(PATIENCE)
        sys.setswitchinterval(interval)
    assert door.late == []
    acts = [leaf.act for leaf in desk.leaves()]
    assert COMES in acts[: acts.index(SUPPRESS)], "nobody came before"
    assert COMES not in acts[acts.index(SUPPRESS) :]


@attrs.define
class _Door:
    """Who tries to come in: *shut* once the owner of the mailbox has a receipt; *late* is who came after that."""

    desk: Desk
    begun: threading.Barrier = attrs.Factory(lambda: threading.Barrier(WRITERS + 1))
    shut: threading.Event = attrs.Factory(threading.Event)
    tried: threading.Semaphore = attrs.Factory(lambda: threading.Semaphore(0))
    late: list[str] = attrs.Factory(list)

    def try_in(self, way: str, spellings: Sequence[str]) -> None:
        self.begun.wait(PATIENCE)
        for email in cycle(spellings):
            after = self.shut.is_set()
            try:
                WAYS[way](self.desk, email, ACME, None)
            except IdentifierSuppressed:
                told = ""
            except CapsuleError as error:
                told = error.reason
            else:
                told = "came in" if after else ""
            self.tried.release()
            if told:
                self.late.append(f"{way}: {told}")
            if told or after:
                return
