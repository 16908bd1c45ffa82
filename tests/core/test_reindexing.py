"""What records are found by can be made again from the records, and is then what it was."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.errors import IdentifierTaken
from capsule_core.records import FoundBy, Mark, Shelf, Where
from capsule_core.reindexing import reindex
from capsule_core.uses import Use
from tests.core.desk import ACME, ZETA, Desk, in_memory, note, person


def forget_everything(desk: Desk, tenant: str = ACME) -> None:
    """Lose what records are found by, as a crash of the database does."""
    names = [key[1] for key in desk.store._records if key[0] == tenant]
    desk.store.reindex(tenant, [FoundBy(id=name) for name in names])


def found_by(desk: Desk) -> dict[object, object]:
    return {key: (r.tokens, r.claims, r.signature) for key, r in desk.store._records.items()}


@pytest.mark.law("L3")
@given(fates=st.lists(st.sampled_from(("live", "trashed", "held", "erased")), min_size=1, max_size=8))
def test_made_again_it_is_what_it_was(fates: list[str]) -> None:
    desk = in_memory()
    for number, fate in enumerate(fates):
        (ann,) = desk.add(person(f"Ann{number}", email=f"ann{number}@example.org"))
        desk.add(note(ann.id, f"words {number}"))
        {
            "live": lambda _: None,
            "trashed": desk.trash,
            "held": lambda n: desk.mark(n, Mark.HELD),
            "erased": desk.erase,
        }[fate](ann.id)
    before = found_by(desk)
    forget_everything(desk)
    assert found_by(desk) != before or set(fates) == {"erased"}
    assert reindex(desk.repository, ACME) == len(desk.store._records)
    assert found_by(desk) == before


def test_who_is_being_erased_is_not_to_be_found_again() -> None:
    desk = in_memory()
    (ann, bo) = desk.add(person("Ann", email="ann@example.org"), person("Bo", email="bo@example.org"))
    desk.mark(ann.id, Mark.FENCED)
    forget_everything(desk)
    assert reindex(desk.repository, ACME) == 1
    assert found_by(desk)[ACME, ann.id] == ((), (), b"")
    listing = desk.repository.select(Where(tenant=ACME, shelf=Shelf.ANY), use=Use.SEARCH, limit=9, words="bo")
    assert [kept.id for kept in listing.records] == [bo.id]


def test_a_page_with_one_whose_key_died_keeps_all_others() -> None:
    desk = in_memory()
    people = desk.add(*(person(f"P{number}", email=f"p{number}@example.org") for number in range(3)))
    before = found_by(desk)
    desk.vault.shred(ACME, [people[1].slot])
    forget_everything(desk)
    assert reindex(desk.repository, ACME) == 3
    assert {key for key, found in found_by(desk).items() if found == before[key]} == {
        (ACME, people[0].id),
        (ACME, people[2].id),
    }


def test_another_tenant_is_left_alone() -> None:
    desk = in_memory()
    (other,) = desk.add(person("Zoe", email="zoe@example.org"), tenant=ZETA)
    forget_everything(desk, ZETA)
    reindex(desk.repository, ACME)
    assert found_by(desk)[ZETA, other.id] == ((), (), b"")


def test_a_claim_holds_again() -> None:
    desk = in_memory()
    (ann,) = desk.add(person("Ann", email="ann@example.org"))
    kept = desk.store._records[ACME, ann.id]
    claimed = attrs.evolve(kept, claims=kept.tokens[:1])
    desk.store._records[ACME, ann.id] = claimed
    desk.store.reindex(ACME, [FoundBy(id=ann.id, tokens=kept.tokens, claims=kept.tokens[:1])])
    with pytest.raises(IdentifierTaken):
        desk.store._claim([attrs.evolve(claimed, id="r2")])
