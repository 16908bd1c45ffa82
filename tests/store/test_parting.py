"""A record that changes hands carries what its new subject's reasons say of it and what it brought along, each once."""

from __future__ import annotations

from typing import Any

import attrs

from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.records import Mark, Reason, Slot
from capsule_core.testing.conformance import _cases as cases

ACME = TenantId("acme")
ANN, HEIR = SubjectKey("ann"), SubjectKey("heir")
DEED, WILL = RecordId("deed"), RecordId("will")
EVERY = ~Mark.NONE


def reason(name: str, mark: Mark, subject: SubjectKey) -> Reason:
    return Reason(id=name, mark=mark, subject=subject, since=cases.START, record=DEED)


def test_it_carries_what_either_said_of_it(store: Any) -> None:
    act = cases.act(ACME, witness=lambda _: b"leaf")
    slots = {ANN: Slot(1, 1), HEIR: Slot(1, 2)}
    sketches = [cases.plain(DEED, DEED, ANN), cases.plain(WILL, WILL, HEIR)]
    drafts = [sketch.sealed(ACME, version=1, slot=slots[sketch.subject]) for sketch in sketches]
    store.write(drafts, admits=EVERY, act=act)
    both = [reason("r1", Mark.HELD, ANN), reason("r1", Mark.HELD, HEIR), reason("r2", Mark.OBLIGED, HEIR)]
    store.mark([*both, reason("r3", Mark.RESTRICTED, ANN)], act=act)
    assert [each.marks for each in store.read(ACME, [DEED], admits=EVERY)] == [Mark.HELD | Mark.RESTRICTED]
    parting = attrs.evolve(drafts[0], subject=HEIR, slot=slots[HEIR])
    store.mark([], parting=[parting], act=act)
    (deed,) = store.read(ACME, [DEED], admits=EVERY)
    assert (deed.subject, deed.marks) == (HEIR, Mark.HELD | Mark.OBLIGED | Mark.RESTRICTED)
    assert sorted((each.id, each.subject) for each in store.reasons(ACME, [ANN, HEIR])) == [
        ("r1", HEIR),
        ("r2", HEIR),
        ("r3", HEIR),
    ]
    store.mark(store.reasons(ACME, [HEIR]), lift=True, act=act)
    assert [each.marks for each in store.read(ACME, [DEED], admits=EVERY)] == [Mark.NONE]
