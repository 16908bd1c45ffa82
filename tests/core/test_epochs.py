"""Epochs: a restore opens the next one, and whoever holds an outside checkpoint can follow, or sees a lie."""

from __future__ import annotations

from datetime import UTC, datetime

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.anchors import anchor, keep_newer
from capsule_core.checkpoints import Checkpoint, Signer, epoch_of, open_checkpoint, origin_of, sign_checkpoint
from capsule_core.epochs import current_epoch, current_origin, follow, open_epoch, opening_of
from capsule_core.errors import LedgerBroken, ReceiptInvalid, Unavailable
from capsule_core.journal import Anchored, MemoryJournal
from capsule_core.ledger import Leaf, MemoryLedger
from capsule_core.merkle import Frontier, verify_consistency
from capsule_core.proofs import prove_consistency, prove_inclusion

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNER = Signer.from_seed("contacts", bytes(range(32)))
LOG = "contacts"
DATA = [b"leaf %d" % number for number in range(60)]


@attrs.define
class Deployment:
    """A log and the journal beside it, of which a restore takes back only the log."""

    ledger: MemoryLedger = attrs.Factory(MemoryLedger)
    journal: MemoryJournal = attrs.Factory(MemoryJournal)

    def grow(self, leaves: list[bytes]) -> None:
        self.ledger.append(leaves)

    def anchor(self) -> Checkpoint:
        return anchor(self.ledger, self.journal, log=LOG, signer=SIGNER)

    def backup(self) -> tuple[list[bytes], str | None]:
        return list(self.ledger.read(0, 1000)), self.ledger.latest()

    def restore(self, backup: tuple[list[bytes], str | None]) -> None:
        leaves, kept = backup
        self.ledger = MemoryLedger()
        self.ledger.append(leaves)
        if kept is not None:
            self.ledger.keep(kept)

    def open_epoch(self) -> Checkpoint:
        return open_epoch(self.ledger, self.journal, log=LOG, signer=SIGNER, now=NOW)

    def anchored(self) -> list[str]:
        return [entry.origin for _, entry in self.journal.since(0) if isinstance(entry, Anchored)]


def restored(before: int, lost: int) -> tuple[Deployment, Checkpoint]:
    """A deployment that lost so many leaves in a restore, and its last checkpoint from before."""
    world = Deployment()
    world.grow(DATA[:before])
    backup = world.backup()
    world.grow(DATA[before : before + lost])
    last = world.anchor()
    world.restore(backup)
    return world, last


@pytest.mark.parametrize("epoch", [1, 2, 13])
def test_an_origin_says_which_log_and_which_epoch(epoch: int) -> None:
    assert epoch_of(origin_of("contacts.reads", epoch), "contacts.reads") == epoch
    assert epoch_of(origin_of("contacts.reads", epoch), "contacts") is None
    assert origin_of("contacts", 1) == "contacts"


@pytest.mark.parametrize(
    "origin", ["contacts/1", "contacts/0", "contacts/02", "contacts/²", "contacts/", "contacts/2/2", ""]
)
def test_an_origin_has_one_spelling(origin: str) -> None:
    assert epoch_of(origin, "contacts") is None


@pytest.mark.law("L8")
@given(before=st.integers(0, 30), lost=st.integers(0, 30))
def test_whoever_holds_the_last_checkpoint_follows_into_the_next_epoch(before: int, lost: int) -> None:
    world, last = restored(before, lost)
    first = world.open_epoch()
    assert first.origin == "contacts/2"
    assert current_origin(world.ledger, LOG) == "contacts/2"
    assert first.size == before + 1
    world.grow([b"served again"])
    later = world.anchor()
    leaf = world.ledger.read(before, 1)[0]
    opening = follow(last, leaf, prove_inclusion(world.ledger, before, later.size), later, log=LOG)
    assert (opening.restored, opening.size, opening.lost) == (before, before + lost, lost)
    verify_consistency(
        first.size, later.size, prove_consistency(world.ledger, first.size, later.size), first.root, later.root
    )


def test_the_first_leaf_of_an_epoch_holds_nothing_personal_and_says_what_was_lost() -> None:
    world, last = restored(3, 4)
    world.open_epoch()
    leaf = Leaf.decode(world.ledger.read(3, 1)[0])
    assert leaf.act == "ledger.epoch"
    assert leaf.subjects == ()
    assert dict(leaf.detail) == {"epoch": "2", "size": "7", "root": last.root.hex(), "restored": "3"}


def test_what_does_not_continue_the_epoch_is_not_followed() -> None:
    world, last = restored(5, 2)
    first = world.open_epoch()
    leaf = world.ledger.read(5, 1)[0]
    path = prove_inclusion(world.ledger, 5, first.size)
    other = attrs.evolve(last, root=bytes(32))
    with pytest.raises(LedgerBroken, match="cites another"):
        follow(other, leaf, path, first, log=LOG)
    with pytest.raises(LedgerBroken, match="not the first leaf"):
        follow(last, b"leaf 3", path, first, log=LOG)
    with pytest.raises(LedgerBroken, match="not the first leaf"):
        follow(first, leaf, path, first, log=LOG)
    with pytest.raises(LedgerBroken, match="not the first leaf"):
        follow(last, leaf, path, attrs.evolve(first, origin="identity/2"), log=LOG)
    with pytest.raises(ReceiptInvalid, match="path"):
        follow(last, leaf, path, attrs.evolve(first, root=bytes(32)), log=LOG)


def test_each_restore_opens_an_epoch_of_its_own_even_of_an_old_backup() -> None:
    world = Deployment()
    world.grow(DATA[:5])
    old = world.backup()
    world.grow(DATA[5:9])
    world.anchor()
    world.restore(old)
    assert world.open_epoch().origin == "contacts/2"
    world.grow(DATA[20:25])
    world.anchor()
    world.restore(old)
    assert current_epoch(world.ledger, LOG) == 1, "a backup knows nothing of what came after it"
    third = world.open_epoch()
    assert third.origin == "contacts/3"
    opening = opening_of(world.ledger.read(5, 1)[0])
    assert opening is not None
    assert (opening.epoch, opening.size) == (3, 11)


@pytest.mark.parametrize("step", ["journal", "keep"])
def test_a_crash_while_an_epoch_is_opened_opens_no_second_one(step: str) -> None:
    class Stumbling(MemoryJournal):
        def append(self, entries: object) -> None:
            raise Unavailable

    class Forgetting(MemoryLedger):
        def keep(self, checkpoint: str) -> None:
            raise Unavailable

    world, _ = restored(4, 3)
    if step == "journal":
        with pytest.raises(Unavailable):
            open_epoch(world.ledger, _over(world.journal, Stumbling()), log=LOG, signer=SIGNER, now=NOW)
    else:
        broken = Forgetting()
        broken.append(world.ledger.read(0, 99))
        with pytest.raises(Unavailable):
            open_epoch(broken, world.journal, log=LOG, signer=SIGNER, now=NOW)
        world.ledger.append(broken.read(4, 1))
    assert world.open_epoch().origin == "contacts/2"
    assert world.ledger.head().size == 5
    assert set(world.anchored()) == {"contacts", "contacts/2"}


def _over(journal: MemoryJournal, broken: MemoryJournal) -> MemoryJournal:
    broken._entries = journal._entries
    return broken


@pytest.mark.law("L8")
def test_a_backup_of_another_log_opens_no_epoch() -> None:
    world, _ = restored(0, 0)
    world.grow(DATA[:8])
    world.anchor()
    world.restore(([*DATA[:3], b"forged", *DATA[4:9]], None))
    with pytest.raises(LedgerBroken, match="not the log"):
        world.open_epoch()
    assert world.ledger.head().size == 9, "and nothing is appended to it"


def test_a_deployment_that_was_never_anchored_cites_the_empty_log() -> None:
    world = Deployment()
    world.grow(DATA[:3])
    world.open_epoch()
    opening = opening_of(world.ledger.read(3, 1)[0])
    assert opening is not None
    assert (opening.size, opening.root, opening.lost) == (0, Frontier().root(), 0)


def test_checkpoints_that_others_signed_are_passed_over() -> None:
    world, last = restored(3, 2)
    forged = sign_checkpoint(Checkpoint(LOG, 2, bytes(32)), Signer.from_seed("contacts", bytes(32)))
    world.journal.append([Anchored(LOG, forged), Anchored("identity", "nonsense")])
    world.open_epoch()
    opening = opening_of(world.ledger.read(3, 1)[0])
    assert opening is not None
    assert opening.root == last.root


def test_only_a_leaf_of_the_log_itself_opens_an_epoch() -> None:
    detail = {"epoch": "2", "size": "7", "root": "00" * 32, "restored": "3"}
    leaf = Leaf(at=NOW, tenant="acme", act="ledger.epoch", use="security", actor="0" * 32, detail=detail)
    assert opening_of(leaf.encode()) is None, "a tenant's own"
    assert opening_of(attrs.evolve(leaf, tenant="capsule.ledger").encode()) is not None
    assert opening_of(attrs.evolve(leaf, tenant="capsule.ledger", detail={**detail, "size": "x"}).encode()) is None
    assert opening_of(b'{"act":"ledger.epoch"') is None
    assert opening_of(attrs.evolve(leaf, act="contacts.edit").encode()) is None


def test_a_kept_checkpoint_is_never_exchanged_for_an_older_one() -> None:
    world = Deployment()
    world.grow(DATA[:5])
    notes = {
        name: sign_checkpoint(Checkpoint(origin, size, bytes(32)), SIGNER)
        for name, origin, size in (("old", LOG, 3), ("new", LOG, 5), ("epoch", "contacts/2", 4))
    }
    for note, kept in (("new", "new"), ("old", "new"), ("epoch", "epoch"), ("new", "epoch")):
        keep_newer(world.ledger, notes[note], LOG)
        assert world.ledger.latest() == notes[kept]
    assert open_checkpoint(notes["epoch"], SIGNER.verifier).size == 4
