"""Many writers against one eraser, and a search for whatever an erasure left behind."""

from __future__ import annotations

import gc
import random
import sys
import threading
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import attrs

from capsule_core.errors import CapsuleError, SubjectErased
from capsule_core.index import index
from capsule_core.kept import Kept
from capsule_core.names import RecordId
from capsule_core.receipts import verify
from capsule_core.records import Mark, Sealed, Shelf, Where
from capsule_core.story import FENCE
from capsule_core.witness import subject_commitments
from tests.core.desk import ACME, Desk, asked, new_id, note, person

WRITERS = 32
PATIENCE = 60.0


def besiege(desk: Desk, seed: int, writers: int = WRITERS) -> None:  # noqa: C901  threads close over it all
    """Let *writers* write in every way while one eraser erases; then check that none got through.

    From the fence's leaf on no leaf commits to the subject: no write was acknowledged, in whatever order they came.
    """
    chance = random.Random(seed)  # noqa: S311  a seed, so that a failure comes again
    (ann, bo) = desk.add(person("Ann"), person("Bo"))
    commitment = subject_commitments(desk.vault, ACME, {ann.subject: ann.slot})[0]
    begun, over = threading.Barrier(writers + 1), threading.Event()
    late: list[str] = []
    done = threading.Semaphore(0)

    def write(way: str) -> None:
        begun.wait(PATIENCE)
        after = False
        while not after:
            after = over.is_set()
            try:
                _WAYS[way](desk, ann.id)
                done.release()
                if after:
                    late.append(way)
            except SubjectErased:
                return
            except CapsuleError:
                continue  # somebody else was faster, or it is in the trash just now

    names = [list(_WAYS)[number % len(_WAYS)] for number in range(writers)]
    threads = [threading.Thread(target=write, args=[way]) for way in names]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(chance.choice((1e-6, 1e-5, 1e-4)))
    try:
        for thread in threads:
            thread.start()
        begun.wait(PATIENCE)
        for _ in range(chance.randrange(1, 40)):
            assert done.acquire(timeout=PATIENCE)
        receipt = desk.erase(ann.id)
    finally:
        over.set()
        for thread in threads:
            thread.join(PATIENCE)
        sys.setswitchinterval(interval)
    assert receipt is not None
    verify(receipt, desk.signer.verifier.text())
    _assert_nobody_got_through(desk, ann, commitment, late)
    for way in set(names):
        try:
            _WAYS[way](desk, ann.id)
        except CapsuleError as refusal:
            assert refusal.reason in {"SUBJECT_ERASED", "NOT_FOUND"}, way
        else:
            raise AssertionError(f"{way} succeeded after the receipt")
    assert desk.get(bo.id).content == bo.content


def _assert_nobody_got_through(desk: Desk, ann: Kept[Any], commitment: str, late: list[str]) -> None:
    assert late == []
    leaves = list(desk.leaves())
    fence = next(place for place, leaf in enumerate(leaves) if leaf.act == FENCE)
    assert [leaf.act for leaf in leaves[fence + 1 :] if commitment in leaf.subjects] == []
    everything = Where(tenant=ACME, subjects=(ann.subject,), shelf=Shelf.ANY)
    assert desk.store.select(everything, admits=~Mark.NONE, limit=10).records == ()
    assert desk.vault.remaining(ACME, [ann.slot]) == []


def _take_back_or_throw_away(desk: Desk, name: str) -> None:
    (desk.restore if desk.get(name).trash else desk.trash)(name)


def _write_over_a_stale_view(desk: Desk, name: str) -> None:
    kept = desk.get(name)
    for _ in range(3):
        kept = desk.repository.change(kept, kept.content, act=desk.act())


_WAYS = {
    "stale form": _write_over_a_stale_view,
    "update": lambda desk, name: desk.rename(name, "changed"),
    "note": lambda desk, name: desk.add(note(name)),
    "import": lambda desk, name: desk.add(person("Imp"), note(name), person("Ort"), request=asked(new_id("q"))),
    "restore": _take_back_or_throw_away,
}


@attrs.frozen
class Traces:
    """What would give a person away: a name only they have, their key, tokens and sealed body."""

    name: bytes
    key: bytes
    tokens: tuple[int, ...]
    body: bytes

    @classmethod
    def of(cls, desk: Desk, kept: Kept[Any], name: str) -> Traces:
        sealed = desk.store.read(ACME, [RecordId(kept.id)], admits=Mark.NONE)[0]
        assert isinstance(sealed, Sealed)
        kind = desk.repository.kinds[sealed.kind]
        found_by = index(kind, kept.content, keys=desk.vault.tenant(ACME), region=desk.repository.region)
        (key,) = desk.vault.keys(ACME, [kept.slot])
        return cls(name.encode(), key, found_by.tokens, sealed.blob)

    def left_among(self, values: list[Any]) -> set[str]:
        """Name the traces that are in one of *values*."""
        found = set()
        tokens = [token.to_bytes(8, "big", signed=True) for token in self.tokens]
        for value in values:
            if isinstance(value, int):
                found |= {"token"} if value in self.tokens else set()
                continue
            text = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else bytes(value)
            found |= {"name"} if self.name in text else set()
            found |= {"key"} if self.key in text else set()
            found |= {"body"} if self.body in text else set()
            found |= {"token"} if any(token in text for token in tokens) else set()
        return found


def values_reachable_from(*roots: Any) -> list[Any]:
    """Follow every reference from *roots*, and return all numbers, texts and bytes that lie at the end of one."""
    seen: set[int] = set()
    waiting, found = list(roots), []
    while waiting:
        each = waiting.pop()
        if id(each) in seen or isinstance(each, (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType)):
            continue
        seen.add(id(each))
        if isinstance(each, (int, str, bytes, bytearray)):
            found.append(each)
        else:
            waiting.extend(gc.get_referents(each))
    return found
