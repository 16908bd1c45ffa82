"""What must be true of an address book: a model that knows nothing but the pure function, and when things happened.

People have notes; what is kept of somebody who went is a note alone. A life is that of one tenant id: it may be closed
and reopened, and when all has gone it is over for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

import attrs

from capsule_core.closing import GRACE
from capsule_core.moments import Event
from capsule_core.personal import Kind
from capsule_core.policies import scope_of
from capsule_core.retention import Decision, Destroy, Effect, Facts, Policy, decide, keeps
from capsule_core.trash import PERIOD

__all__ = ["Book", "Closed", "Note", "Somebody"]

_TICK: Final = "by rule"


@attrs.define
class Note:
    """What must be true of a note."""

    created: datetime
    guards: set[str] = attrs.Factory(set)
    trashed: datetime | None = None
    restored: datetime | None = None
    batch: str = ""

    def events(self) -> dict[Event, datetime]:
        own = {Event.CREATED: self.created, Event.UPDATED: self.created}
        moved = {Event.TRASHED: self.trashed, Event.RESTORED: self.restored}
        return own | {event: at for event, at in moved.items() if at is not None}

    def is_over(self, now: datetime) -> bool:
        return self.trashed is not None and now >= self.trashed + PERIOD


@attrs.define(kw_only=True)
class Somebody(Note):
    """What must be true of a person, and of their notes."""

    updated: datetime
    contacted: datetime
    notes: dict[str, Note] = attrs.Factory(dict)

    @classmethod
    def come(cls, now: datetime) -> Somebody:
        return cls(created=now, updated=now, contacted=now)

    def events(self) -> dict[Event, datetime]:
        return {**super().events(), Event.UPDATED: self.updated, Event.CONTACTED: self.contacted}

    @property
    def is_guarded(self) -> bool:
        return bool(self.guards or any(each.guards for each in self.notes.values()))


@attrs.define
class Closed:
    """That the account was closed *at* a moment; *begun*: it is being destroyed; *back*: it was reopened."""

    at: datetime
    begun: bool = False
    back: bool = False

    @property
    def over(self) -> datetime:
        return self.at + GRACE


@attrs.define
class Book:
    """One life: the people, what is *kept* of those who went, the closing, and the holds on all of it."""

    kinds: Mapping[str, Kind]
    people: dict[str, Somebody] = attrs.Factory(dict)
    kept: dict[str, Note] = attrs.Factory(dict)
    closing: Closed | None = None
    holds: set[str] = attrs.Factory(set)
    destroyed: int = 0
    parted: int = 0

    @property
    def since(self) -> datetime | None:
        """Since when it is closed."""
        return None if self.closing is None or self.closing.back else self.closing.at

    def close(self, now: datetime) -> None:
        if self.closing is None:
            self.closing = Closed(now)
        elif self.closing.back:
            self.closing = Closed(max(now, self.closing.at + timedelta.resolution))

    def may_reopen(self, now: datetime) -> bool:
        return self.closing is not None and not self.closing.begun and now < self.closing.over

    def is_due(self, now: datetime) -> bool:
        return self.closing is not None and self.since is not None and now >= self.closing.over and not self.holds

    def everything(self) -> Iterator[tuple[str, str, Note]]:
        """Give each thing with the person it is of, or was."""
        for name, someone in self.people.items():
            yield name, name, someone
            yield from ((name, note, each) for note, each in someone.notes.items())
        yield from (("", note, each) for note, each in self.kept.items())

    def sweep(self, policy: Policy, now: datetime) -> None:
        """Do what a sweep must do: the trash first, then what the policy says, people before notes."""
        if self.holds:
            return
        for name, someone in list(self.people.items()):
            if someone.is_over(now) and not someone.is_guarded and not self._keeps(someone, policy, now):
                self._gone(name)
            else:
                self._clear(someone, policy, now)
        self.kept = {note: each for note, each in self.kept.items() if each.guards}
        for name, someone in list(self.people.items()):
            if someone.trashed is None and not someone.guards:
                self._carry_out(name, someone, policy, now)
        for someone in self.people.values():
            self._carry_out_notes(someone, policy, now)

    def dissolve(self, now: datetime) -> bool:
        """Do what a closing must do: all goes but what is guarded; return whether that was all, and it is over."""
        if self.closing is None or not self.is_due(now):
            return False
        self.closing.begun = True
        for name, someone in list(self.people.items()):
            if not someone.guards:
                left = {note: each for note, each in someone.notes.items() if each.guards}
                self.parted += bool(left)
                self.kept |= left
                self._gone(name)
        return not self.people and not self.kept

    def _clear(self, someone: Somebody, policy: Policy, now: datetime) -> None:
        for note, each in list(someone.notes.items()):
            free = not (each.guards or someone.guards)
            if each.is_over(now) and free and not keeps(self._facts("entry", each, someone), policy, now):
                del someone.notes[note]

    def _carry_out(self, name: str, someone: Somebody, policy: Policy, now: datetime) -> None:
        decision = decide(self._facts("person", someone, someone), policy, now)
        if _does(decision, Effect.DESTROY) and not someone.is_guarded:
            self._gone(name)
        elif _does(decision, Effect.TRASH):
            for each in (someone, *someone.notes.values()):
                if each.trashed is None:  # a hold on a note keeps it from being destroyed, not from the trash
                    each.trashed, each.batch = now, f"{_TICK} {name}"

    def _carry_out_notes(self, someone: Somebody, policy: Policy, now: datetime) -> None:
        for note, each in list(someone.notes.items()):
            if each.trashed is None and not (each.guards or someone.guards):
                decision = decide(self._facts("entry", each, someone), policy, now)
                if _does(decision, Effect.DESTROY):
                    del someone.notes[note]
                elif _does(decision, Effect.TRASH):
                    each.trashed, each.batch = now, f"{_TICK} {note}"

    def _gone(self, name: str) -> None:
        self.destroyed += 1
        del self.people[name]

    def _keeps(self, someone: Somebody, policy: Policy, now: datetime) -> bool:
        notes = (keeps(self._facts("entry", each, someone), policy, now) for each in someone.notes.values())
        return keeps(self._facts("person", someone, someone), policy, now) or any(notes)

    def _facts(self, kind: str, each: Note, someone: Somebody) -> Facts:
        events = {**each.events(), Event.CONTACTED: someone.contacted}
        if self.since is not None:
            events[Event.TENANT_CLOSED] = self.since
        return Facts(scope=scope_of(self.kinds[kind]), events=events)


def _does(decision: Decision, effect: Effect) -> bool:
    return isinstance(decision, Destroy) and decision.effect is effect
