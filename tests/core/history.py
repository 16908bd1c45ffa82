"""Histories for the law of restoring: what happens to some people and members, and a backup somewhere in between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Annotated, Any, Protocol

import attrs
from hypothesis import strategies as st

from capsule_core.custody import Custody
from capsule_core.errors import CapsuleError
from capsule_core.holds import Ground, Hold
from capsule_core.journal import Marked, Suppressed, Written
from capsule_core.names import RecordId, SubjectKey
from capsule_core.personal import Category, Personal, Plain, kind, kind_of
from capsule_core.records import Mark, Reason, Shelf, Where
from capsule_core.reindexing import reindex
from capsule_core.remnants import person_of
from capsule_core.repository import Repository
from capsule_core.restoring import Replayed, is_behind, replay
from capsule_core.unsubscribes import Unsubscribes
from capsule_core.uses import Use
from capsule_core.vault import Vault
from capsule_core.witness import bears_witness, notes
from tests.core.desk import ACME, KINDS, NOON, Desk, invoice, new_id, note, person

PEOPLE = tuple(f"c{letter * 26}" for letter in "abc")
MEMBERS = tuple(f"u{letter * 26}" for letter in "ab")
GUARDS = {"hold": Mark.HELD, "restrict": Mark.RESTRICTED, "object": Mark.OBJECTED}
LATER = NOON + timedelta(days=1)


@kind("member", subject="id", server_ids=True, journaled=True)
@attrs.frozen(kw_only=True)
class Member:
    """Whoever may do something: a restore must not take a role back."""

    id: str
    name: Annotated[str, Personal(Category.IDENTITY, purpose="the account")] = "Mo"
    role: Annotated[str, Plain("what they may do")] = "reader"


Deed = tuple[str, str, str]
"""A verb, whom it is about, and a word more: the name of a reason, or a role."""


def deeds() -> st.SearchStrategy[Deed]:
    people, names = st.sampled_from(PEOPLE), st.sampled_from(("r1", "r2"))
    guards = st.sampled_from([*GUARDS, *(f"lift {each}" for each in GUARDS)])
    words = st.sampled_from(("reader", "writer", "nobody"))
    return st.one_of(
        st.tuples(st.sampled_from(("write", "note", "trash")), people, st.just("")),
        st.tuples(guards, people, names),
        st.tuples(st.just("erase"), st.sampled_from((*PEOPLE, *MEMBERS)), st.just("")),
        st.tuples(st.sampled_from(("forget", "forget in part", "invoice", "readmit address")), people, st.just("")),
        st.tuples(st.sampled_from(("hold a note", "release a note")), people, names),
        st.tuples(st.sampled_from(("place", "place on all", "place on a field", "release")), people, names),
        st.tuples(st.just("begin to erase"), people, st.just("")),
        st.tuples(st.sampled_from(("unsubscribe", "resubscribe")), people, st.just("")),
        st.tuples(st.just("role"), st.sampled_from(MEMBERS), words),
        st.tuples(st.sampled_from(("suspend", "readmit")), st.sampled_from(MEMBERS), st.just("")),
    )


BEGUN: tuple[Deed, ...] = (*(("write", each, "") for each in PEOPLE[:-1]), ("role", MEMBERS[0], "reader"))


ANN = PEOPLE[0]
NOTED: list[Deed] = [*BEGUN, ("note", ANN, "")]
KEPT_IN_PART: tuple[tuple[list[Deed], list[Deed]], ...] = (
    (NOTED, [("hold a note", ANN, "r1"), ("forget in part", ANN, "")]),
    ([*NOTED, ("hold a note", ANN, "r1")], [("forget in part", ANN, ""), ("release a note", ANN, "r1")]),
    (list(BEGUN), [*NOTED[-1:], ("hold a note", ANN, "r1"), ("forget in part", ANN, ""), ("hold a note", ANN, "r2")]),
    (list(BEGUN), [("place on a field", ANN, "r1"), ("forget in part", ANN, ""), ("place on all", ANN, "r2")]),
    ([*BEGUN, ("place on all", ANN, "r1")], [("release", ANN, "r1"), ("place on a field", ANN, "r2")]),
)
"""What a hold keeps of somebody changes hands, and its reasons with it: rare, and easily got wrong."""

UNSUBSCRIBED: tuple[list[Deed], list[Deed]] = (
    [*BEGUN, ("unsubscribe", PEOPLE[1], "")],
    [("unsubscribe", ANN, ""), ("resubscribe", PEOPLE[1], ""), ("erase", ANN, "")],
)
"""Who is put on the operator's list and taken off it after the backup."""


@st.composite
def histories(draw: st.DrawFn, longest: int = 14) -> tuple[list[Deed], list[Deed]]:
    """What was done before the backup, and what after it: most people are there before, and what was put is lifted."""
    before = [*BEGUN, *draw(st.lists(deeds(), max_size=longest))]
    undone = [(f"lift {verb}", whom, word) for verb, whom, word in before if verb in GUARDS]
    undone += [("readmit", whom, "") for verb, whom, _ in before if verb == "suspend"]
    more = deeds() | st.sampled_from(undone) if undone else deeds()
    return before, draw(st.lists(more, min_size=1, max_size=longest))


def at_a_desk(desk: Desk) -> Desk:
    """Let the desk keep members too."""
    desk.repository = Repository(desk.store, desk.vault, [*KINDS, kind_of(Member)])
    return desk


def do(desk: Desk, deed: Deed) -> None:
    """Do it; what is refused is refused, and stays undone."""
    try:
        _DEEDS.get(deed[0], _mark)(desk, *deed)
    except CapsuleError:
        return


def _write(desk: Desk, _verb: str, whom: str, _word: str) -> None:
    known = desk.store.subjects(ACME, [SubjectKey(whom)])[0]
    if known is None:
        desk.add(person("Ann", id=whom, email=f"{whom}@example.org"))
    else:
        desk.rename(whom, new_id("x"))


def _mark(desk: Desk, verb: str, whom: str, word: str) -> None:
    mark = GUARDS[verb.removeprefix("lift ")]
    act = desk.act(use=Use.STORE)
    reason = Reason(id=word, mark=mark, subject=SubjectKey(whom), since=NOON)
    act = attrs.evolve(act, witness=bears_witness(desk.vault, act))
    desk.store.mark([reason], lift=verb.startswith("lift "), act=act)


def _hold_a_note(desk: Desk, verb: str, whom: str, word: str) -> None:
    where = Where(tenant=ACME, shelf=Shelf.ANY, kinds=("entry",), roots=(RecordId(whom),))
    for record in desk.store.select(where, admits=~Mark.NONE, limit=1).records:
        reason = Reason(id=word, mark=Mark.HELD, subject=record.subject, since=NOON, record=record.id)
        act = desk.act(use=Use.STORE)
        act = attrs.evolve(act, witness=bears_witness(desk.vault, act))
        desk.store.mark([reason], lift=verb.startswith("release"), admits=Mark.KEPT, act=act)


def _place(desk: Desk, verb: str, whom: str, word: str) -> None:
    """Place a hold through the front door: on a person, on everybody, or on a field of a person's own record."""
    on = {"place": {"subject": whom}, "place on all": {}, "place on a field": {"record": whom, "field": "given_name"}}
    hold = Hold(id=f"h{word}", ground=Ground.ARCHIVING, authority="them", placed_at="", placed_by="user/u1", **on[verb])
    Custody(desk.repository).place(hold, act=desk.act(use=Use.ADMINISTER))


def _release(desk: Desk, _verb: str, _whom: str, word: str) -> None:
    Custody(desk.repository).release(RecordId(f"h{word}"), act=desk.act(use=Use.ADMINISTER))


def _readmit_address(desk: Desk, _verb: str, whom: str, _word: str) -> None:
    act = desk.act(use=Use.STORE)
    hashes = list(barred(desk, [whom]))
    desk.store.suppress(hashes, act=attrs.evolve(act, witness=notes(desk.vault, act)), lift=True)


def barred(desk: Desk, people: Sequence[str] = PEOPLE) -> frozenset[bytes]:
    """Return the hashes of addresses that may not come in."""
    hashes = [
        hashed
        for each in people
        for hashed in desk.repository.identifiers.brought(ACME, person(id=each, email=f"{each}@example.org"), None)
    ]
    return desk.store.suppressed(ACME, hashes)


def _unsubscribe(desk: Desk, verb: str, whom: str, _word: str) -> None:
    unsubscribes, email = Unsubscribes(desk.store, desk.repository.identifiers), f"{whom}@example.org"
    if verb == "unsubscribe":
        unsubscribes.add(email, verb=verb, now=NOON)
    else:
        unsubscribes.lift(email, evidence="a form", verb=verb, now=NOON)


def unsubscribed(desk: Desk) -> list[bool]:
    """Tell who is on the operator's own list."""
    return Unsubscribes(desk.store, desk.repository.identifiers).among([f"{each}@example.org" for each in PEOPLE])


def _begin_to_erase(desk: Desk, _verb: str, whom: str, _word: str) -> None:
    desk.eraser._fence(desk.erasure(whom), now=NOON, expects=())


def _role(desk: Desk, _verb: str, whom: str, word: str) -> None:
    kept = desk.repository.read(ACME, [RecordId(whom)], use=Use.EDIT)[0]
    if kept is None:
        desk.add(Member(id=whom, role=word))
    else:
        desk.repository.change(kept, attrs.evolve(kept.content, role=word), act=desk.act())


_DEEDS: dict[str, Callable[[Desk, str, str, str], None]] = {
    "write": _write,
    "note": lambda desk, _verb, whom, _word: desk.add(note(whom)) and None,
    "trash": lambda desk, _verb, whom, _word: desk.trash(whom) and None,
    "erase": lambda desk, _verb, whom, _word: desk.erase(whom) and None,
    "forget": lambda desk, _verb, whom, _word: desk.forget(whom) and None,
    "forget in part": lambda desk, _verb, whom, _word: desk.forget(whom, parts=True) and None,
    "invoice": lambda desk, _verb, whom, _word: desk.add(invoice(whom)) and None,
    "hold a note": _hold_a_note,
    "release a note": _hold_a_note,
    "place": _place,
    "place on all": _place,
    "place on a field": _place,
    "release": _release,
    "readmit address": _readmit_address,
    "begin to erase": _begin_to_erase,
    "unsubscribe": _unsubscribe,
    "resubscribe": _unsubscribe,
    "role": _role,
    "suspend": lambda desk, _verb, whom, _word: desk.trash(whom) and None,
    "readmit": lambda desk, _verb, whom, _word: desk.restore(whom) and None,
}


class World(Protocol):
    """A desk over some adapters, whose data can be backed up and put back; the journal and the keys stay."""

    desk: Desk

    def back_up(self) -> None:
        """Copy the data as it is now."""
        ...

    def restore(self) -> Desk:
        """Put the copy in the place of the data, and open everything anew."""
        ...


@attrs.frozen
class Standing:
    """What the journal's acts have made of the people they speak of."""

    pages: dict[int, tuple[int, bytes]]
    people: dict[str, Any]
    reasons: set[Any]
    records: dict[str, Any]
    readable: dict[str, Any]
    barred: frozenset[bytes]
    unsubscribed: list[bool]
    rows_of_the_erased: int
    keys_of_the_erased: int


def spoken_of(desk: Desk) -> list[SubjectKey]:
    """Name everybody of whom the journal speaks."""
    found: dict[SubjectKey, None] = {}
    for _, entry in desk.journal.since(0):
        if isinstance(entry, Marked):
            found |= dict.fromkeys(reason.subject for reason in entry.reasons)
        if isinstance(entry, Written):
            found[entry.record.subject] = None
    return sorted(found)


def standing(desk: Desk) -> Standing:
    """Tell how those stand of whom the journal speaks."""
    everyone = spoken_of(desk)
    pages = desk.store.pages(ACME, range(1, desk.store.newest(ACME) + 1))  # before anything heals them in passing
    people = {each.key: each for each in desk.store.subjects(ACME, everyone) if each is not None}
    erased = tuple(key for key, each in people.items() if each.marks & Mark.ERASED)
    names = {entry.record.id: None for _, entry in desk.journal.since(0) if isinstance(entry, Written)}
    written = [each for each in desk.store.read(ACME, list(names), admits=~Mark.NONE) if each is not None]
    readable = [each for each in written if not each.marks & (Mark.FENCED | Mark.ERASED)]
    rows = Where(tenant=ACME, shelf=Shelf.ANY, subjects=erased)
    left = desk.store.select(rows, admits=~Mark.NONE, limit=99).records if erased else ()
    return Standing(
        pages={page.number: (page.generation, page.key_id) for page in pages if page is not None},
        people=people,
        reasons=set(desk.store.reasons(ACME, everyone)),
        records={each.id: each for each in written},
        readable={kept.id: kept.content for kept in desk.repository.open(readable)},
        barred=barred(desk),
        unsubscribed=unsubscribed(desk),
        rows_of_the_erased=len(left),
        keys_of_the_erased=len(desk.vault.remaining(ACME, [people[key].slot for key in erased])),
    )


def replayed(desk: Desk) -> Replayed:
    """Replay as a starting service does, and make again what records are found by."""
    done = replay(desk.store, desk.vault, desk.journal, since=desk.store.position(), now=LATER)
    for tenant in desk.store.unindexed():
        reindex(desk.repository, tenant)
    return done


def tried_out(world: World, before: Sequence[Deed], after: Sequence[Deed]) -> None:
    """Live the history, lose the data, restore and replay: it must stand as if the data had never been lost."""
    for deed in before:
        do(world.desk, deed)
    world.back_up()
    untouched = {each.key: each.slot for each in world.desk.store.subjects(ACME, [*map(SubjectKey, PEOPLE)]) if each}
    for deed in after:
        do(world.desk, deed)
    meant = standing(world.desk)
    issued = _slots(world.desk)
    desk = world.restore()
    told = Marked | Suppressed | Written
    said = [entry for _, entry in desk.journal.since(desk.store.position()) if isinstance(entry, told)]
    assert is_behind(desk.store, desk.journal) == bool(said)
    replayed(desk)
    assert not is_behind(desk.store, desk.journal)
    assert standing(desk) == meant
    assert {key: slot for key, slot in _known(desk).items() if key in untouched} == untouched
    size = desk.ledger.head().size
    again = replay(desk.store, desk.vault, desk.journal, since=0, now=LATER)
    assert (again, desk.ledger.head().size) == (Replayed(), size)
    assert standing(desk) == meant
    _assert_no_slot_comes_twice(desk, issued)
    _assert_the_begun_can_end(desk)


def _known(desk: Desk) -> dict[str, Any]:
    return {each.key: each.slot for each in desk.store.subjects(ACME, [*map(SubjectKey, PEOPLE)]) if each is not None}


def _slots(desk: Desk) -> set[Any]:
    every = desk.store.subjects(ACME, [*map(SubjectKey, (*PEOPLE, *MEMBERS))])
    return {each.slot for each in every if each is not None}


def _assert_no_slot_comes_twice(desk: Desk, issued: set[Any]) -> None:
    fresh = Vault(desk.store, desk.keystore, desk.journal, desk.vault._random).issue(ACME, 3)
    assert not issued & set(fresh)


def _assert_the_begun_can_end(desk: Desk) -> None:
    begun = {person_of(reason.subject) for _, reason in desk.store.unfinished()}
    receipts = desk.eraser.resume(now=LATER)
    assert {subject for receipt in receipts for subject in receipt.statement.subjects} == begun
    assert desk.store.unfinished() == []
