"""A walk through a record store that meets what every clause is about once, whatever a random one may find."""

from __future__ import annotations

from typing import Any, Final

import attrs

from capsule_core.names import RecordId
from capsule_core.records import Expected, Mark, Reason, Restore, Shelf, Trash
from capsule_core.testing.conformance import _cases as cases
from capsule_core.testing.conformance._protecting import ProtectingMachine

_ACME, _OTHER = cases.TENANTS
_FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH = cases.IDS
_ONE, _TWO, _THREE, _, _KEPT, _EVERYBODY = cases.SUBJECTS
_PLAIN: Final = cases.Manner()
_EVERYWHERE: Final = {"shelf": Shelf.ANY}
_BINS: Final = tuple(Trash(batch=batch, at=cases.START, until=cases.MOMENTS[2]) for batch in cases.BATCHES)
_CLAIMED: Final = attrs.evolve(cases.plain(_FOURTH, _FOURTH, _ONE), tokens=(1,), claims=(1,))
_RIVAL: Final = attrs.evolve(cases.plain(_FIFTH, _FOURTH, _TWO), tokens=(1,), claims=(1,))


@attrs.frozen
class Walk:
    """One way through *machine*, from its beginning."""

    machine: ProtectingMachine

    def go(self) -> None:
        self.machine.begin()
        self._writes()
        self._throws_away_and_takes_back()
        self._waits_in_turn()
        self._marks()
        self._parts()
        self._protects()
        self._ends()

    def _writes(self) -> None:
        for tenant in cases.TENANTS:
            self.machine.browse(tenant=tenant, selection=_EVERYWHERE, admits=cases.EVERY, limit=2)
            self.machine.read(tenant=tenant, ids=[_FIRST, _FOURTH, _FIRST], admits=Mark.NONE)
        self.write(_CLAIMED)
        self.machine.read(tenant=_OTHER, ids=[_FOURTH], admits=Mark.NONE)
        self.write(_RIVAL)
        self.write(attrs.evolve(_CLAIMED, step=2))
        self.write(attrs.evolve(_CLAIMED, at=cases.MOMENTS[1]), manner=cases.Manner(breaks=True))
        for _ in range(2):
            self.write(_CLAIMED, manner=cases.Manner(request=cases.KEYS[0], about=_ONE))
        self.write(_CLAIMED, manner=cases.Manner(expects=Expected(id=_FIRST, version=7)))
        self.write(attrs.evolve(cases.plain(_FIFTH, _FOURTH, _THREE), strays=True))

    def _throws_away_and_takes_back(self) -> None:
        self.move({"ids": (_FIRST,)}, _BINS[0], cases.Manner(breaks=True))
        self.move({"ids": (_FIRST, _FOURTH)}, _BINS[0])
        self.move({"ids": (_SECOND,)}, _BINS[1])
        self.move({"ids": (_THIRD,)}, _BINS[0], cases.Manner(request=cases.KEYS[2]))
        self.move({"ids": (_THIRD,)}, _BINS[0], cases.Manner(request=cases.KEYS[1]))
        for moment in cases.MOMENTS:
            self.machine.look_back(now=moment)
        self.machine.browse(tenant=_ACME, selection={"due": cases.MOMENTS[2]}, admits=Mark.NONE, limit=1)
        self.move({}, Restore(cases.BATCHES[1]))
        self.write(_RIVAL)
        self.move({}, Restore(cases.BATCHES[0]))
        self.destroy(_RIVAL.id)
        self.move({}, Restore(cases.BATCHES[0]))

    def _waits_in_turn(self) -> None:
        """Two tenants have trash that is due: first one of them for longer, then the other."""
        sketch = cases.plain(_FIFTH, _FIFTH, cases.SUBJECTS[3])
        for tenant in cases.TENANTS:
            self.machine.write(tenant=tenant, sketches=[sketch], admits=Mark.NONE, manner=_PLAIN)
        for moments in (cases.MOMENTS[1:3], cases.MOMENTS[2:0:-1]):
            for tenant, until in zip(cases.TENANTS, moments, strict=True):
                bin_ = Trash(batch="turn", at=cases.START, until=until)
                self.machine.move(tenant=tenant, selection={"ids": (_FIFTH,)}, to=bin_, admits=Mark.NONE, manner=_PLAIN)
            for now in moments:
                self.machine.look_back(now=now)
            for tenant in cases.TENANTS:
                self.machine.move(tenant=tenant, selection={}, to=Restore("turn"), admits=Mark.NONE, manner=_PLAIN)

    def _marks(self) -> None:
        for mark in (Mark.HELD, Mark.RESTRICTED):
            self.mark(mark)
            self.mark(mark, why="because")
            self.mark(mark, why="because", lift=True)
            self.write(_CLAIMED)
            self.write(_CLAIMED, Mark.HELD)
            self.move({"ids": (_SECOND,)}, _BINS[1])
            self.mark(Mark.FENCED)
            self.destroy(_FIRST, _SECOND)
            self.machine.browse(tenant=_ACME, selection=_EVERYWHERE, admits=Mark.NONE, limit=3)
            self.machine.read(tenant=_ACME, ids=[_FIRST, _THIRD], admits=Mark.NONE)
            self.mark(mark, lift=True)
        self.mark(Mark.HELD, record=_SECOND)
        for guards in (frozenset[str](), frozenset({"why"})):
            self.write(
                _CLAIMED, manner=cases.Manner(expects=Expected(id=_SECOND, batch=cases.BATCHES[1], guards=guards))
            )
        self.destroy(_SECOND)
        self.mark(Mark.FENCED)
        self.mark(Mark.HELD, record=_SECOND, lift=True)

    def _parts(self) -> None:
        """Of another tenant's person something is kept, under a key of its own, until nothing keeps it."""
        hold = Reason(id="why", mark=Mark.HELD, subject=_ONE, since=cases.START, record=_SECOND)
        held = attrs.evolve(hold, subject=_KEPT)
        kept = Reason(id="because", mark=Mark.KEPT, subject=_KEPT, since=cases.START)
        person = cases.plain(_FIRST, _FIRST, _ONE)
        for sketch in (attrs.evolve(cases.plain(_SECOND, _FIRST, _ONE), tokens=(7,), claims=(7,)), person):
            self.machine.write(tenant=_OTHER, sketches=[sketch], admits=Mark.NONE, manner=_PLAIN)
        self.machine.put(tenant=_OTHER, reasons=[hold], admits=Mark.NONE, manner=_PLAIN)
        for ids, strays, manner in (
            ([_FIFTH], False, _PLAIN),
            ([_SECOND], True, _PLAIN),
            ([_SECOND], False, cases.Manner(breaks=True)),
            ([_SECOND], False, _PLAIN),
            ([_THIRD], False, _PLAIN),
        ):
            self.machine.part(tenant=_OTHER, ids=ids, subject=_KEPT, reasons=[kept], strays=strays, manner=manner)
            self.machine.look_back(now=cases.START)
        for subject in (_ONE, _KEPT):
            sketch = attrs.evolve(person, subject=subject)
            self.machine.write(tenant=_OTHER, sketches=[sketch], admits=cases.EVERY, manner=_PLAIN)
        self.machine.destroy(tenant=_OTHER, selection={"ids": (_SECOND,)}, admits=Mark.NONE, manner=_PLAIN)
        self.machine.browse(tenant=_OTHER, selection={"tokens": (7,)}, admits=cases.EVERY, limit=3)
        self.machine.lift(tenant=_OTHER, reasons=[held], manner=_PLAIN)
        self.machine.look_back(now=cases.START)

    def _protects(self) -> None:
        """Of the other tenant everybody is held, beside a record that says so; then a person whose remnant lives."""
        said = cases.plain(_FOURTH, _FOURTH, _EVERYBODY)
        hold = Reason(id="why", mark=Mark.HELD, subject=_EVERYBODY, since=cases.START)
        unheard = attrs.evolve(hold, subject=cases.SUBJECTS[3])
        for sketch, reason, lift, manner in (
            (said, hold, False, cases.Manner(breaks=True)),
            (attrs.evolve(said, step=2), hold, False, _PLAIN),
            (said, hold, False, cases.Manner(request=cases.KEYS[1])),
            (said, hold, False, cases.Manner(request=cases.KEYS[1])),
            (said, unheard, False, _PLAIN),
            (said, hold, True, _PLAIN),
        ):
            self.machine.mark_beside(tenant=_OTHER, sketch=sketch, reasons=[reason], lift=lift, manner=manner)
        unguarded = cases.Manner(expects=Expected(id=_FOURTH, unguarded=True))
        self.machine.put(tenant=_OTHER, reasons=[hold], admits=Mark.NONE, manner=_PLAIN)
        self.machine.write(tenant=_OTHER, sketches=[said], admits=Mark.HELD, manner=unguarded)
        self.machine.lift(tenant=_OTHER, reasons=[hold], manner=_PLAIN)
        self.machine.write(tenant=_OTHER, sketches=[said], admits=Mark.HELD, manner=unguarded)
        for subject in (_EVERYBODY, _ONE):
            self.machine.protect(tenant=_OTHER, subject=subject)
        self.machine.fence_everybody(tenant=_OTHER)

    def _ends(self) -> None:
        self.mark(Mark.ERASED)
        self.mark(Mark.FENCED)
        self.machine.look_back(now=cases.START)
        self.mark(Mark.HELD)
        self.write(_CLAIMED, ~Mark.FENCED)
        self.write(attrs.evolve(_CLAIMED, subject=_TWO))
        for subject in (_ONE, _TWO):
            self.machine.keep(tenant=_ACME, key=cases.KEYS[2], subject=subject)
        self.destroy(_FOURTH)
        self.machine.erase_answers(tenant=_ACME, subject=_ONE)
        self.machine.forget(over=False)
        self.machine.forget(over=True)
        self.write(_RIVAL)
        self.mark(Mark.ERASED)
        self.machine.look_back(now=cases.START)
        if self.machine.capabilities.durable:
            self.machine.reopen()

    def write(self, sketch: cases.Sketch, admits: Mark = Mark.NONE, *, manner: cases.Manner = _PLAIN) -> None:
        self.machine.write(tenant=_ACME, sketches=[sketch], admits=admits, manner=manner)

    def move(self, selection: dict[str, Any], to: Trash | Restore, manner: cases.Manner = _PLAIN) -> None:
        self.machine.move(tenant=_ACME, selection=selection, to=to, admits=Mark.HELD, manner=manner)

    def mark(self, mark: Mark, *, lift: bool = False, why: str = "why", record: RecordId | None = None) -> None:
        reason = Reason(id=why, mark=mark, subject=_ONE, since=cases.START, record=record)
        if lift:
            self.machine.lift(tenant=_ACME, reasons=[reason], manner=_PLAIN)
        else:
            self.machine.put(tenant=_ACME, reasons=[reason], admits=Mark.NONE, manner=_PLAIN)

    def destroy(self, *names: RecordId) -> None:
        self.machine.destroy(tenant=_ACME, selection={"ids": names}, admits=Mark.NONE, manner=_PLAIN)
