"""Two purgers at once, as two processes are: each person is destroyed once, and nobody is told so of nothing."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from capsule_core.errors import CapsuleError
from capsule_core.ledger import audit
from capsule_core.receipts import Receipt, verify
from capsule_core.story import COMMIT, DELETE, FENCE
from tests.core.desk import ACME, Desk, note, person
from tests.store.crashes import Place, Steps, opened


@pytest.fixture(params=["sqlite", "postgres"])
def purgers(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Desk, Desk]]:
    """Two openings of one store, keystore and journal."""
    place = Place(tmp_path)
    if request.param == "postgres":
        database = request.getfixturevalue("database")
        place = Place(tmp_path, str(database.server.folder), database.name)
    with ExitStack() as stack:
        desks = []
        for _ in range(2):
            desk, databases = opened(place, Steps())
            for each in databases:
                stack.callback(each.close)
            desks.append(desk)
        yield desks[0], desks[1]


@pytest.mark.law("L9", "L15")
@pytest.mark.parametrize("same", [True, False], ids=["one request, sent twice", "two requests"])
def test_two_who_purge_the_same_people_at_once_destroy_each_once(purgers: tuple[Desk, Desk], *, same: bool) -> None:
    people = purgers[0].add(*(person(f"P{number}") for number in range(6)))
    purgers[0].add(*(note(each.id) for each in people))
    ended: list[tuple[str, Receipt | str | None]] = []
    begun = threading.Barrier(2)

    def purge(desk: Desk, which: int) -> None:
        for each in people:
            begun.wait(60)
            try:
                ended.append((each.id, desk.erase(each.id, id=f"e{each.id}{'' if same else which}")))
            except CapsuleError as refusal:
                ended.append((each.id, refusal.reason))

    threads = [threading.Thread(target=purge, args=each) for each in zip(purgers, range(2), strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    receipts = [(name, told) for name, told in ended if isinstance(told, Receipt)]
    assert {told for _, told in ended if not isinstance(told, Receipt)} <= {
        "REQUEST_IN_FLIGHT" if same else "SUBJECT_ERASED"
    }
    assert {name for name, _ in receipts} == {each.id for each in people}, "one of the two at least is told of each"
    for _, receipt in receipts:
        verify(receipt, purgers[0].signer.verifier)
    if same:
        assert len({receipt.document for _, receipt in receipts}) == len(people)
    leaves = purgers[0].leaves()
    acts = Counter(leaf.act for leaf in leaves if leaf.act.startswith("erasure."))
    assert acts == dict.fromkeys((FENCE, DELETE, COMMIT), len(people))
    assert {leaf.detail["kinds"] for leaf in leaves if leaf.act == DELETE} == {"entry:1,person:1"}
    assert audit(purgers[0].ledger) == purgers[0].ledger.head()
    assert purgers[1].vault.remaining(ACME, [each.slot for each in people]) == []
