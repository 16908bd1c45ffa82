"""A service tells of its logs: checkpoints that come by themselves, and proofs that hold; never a leaf."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest

from capsule_api.contacts.v1 import contacts_pb2
from capsule_api.ledger.v1 import ledger_pb2 as pb
from capsule_core.anchors import LOOK, MOST, WITHIN, newest_anchor
from capsule_core.checkpoints import open_checkpoint
from capsule_core.epochs import open_epoch
from capsule_core.errors import InvalidField, LedgerBroken, PermissionDenied, ResourceMissing
from capsule_core.journal import Anchored
from capsule_core.merkle import leaf_hash, verify_consistency, verify_inclusion
from capsule_core.receipts import verify
from capsule_core.roles import Role
from capsule_services.runtime.anchorer import Anchorer
from capsule_services.runtime.ledgers.servicer import LedgerServicer
from capsule_services.runtime.log import made_log
from capsule_services.runtime.shipping.keeping import Keeping
from tests.services.office import Desk, Office, fresh_tenant, office, opened_on, person, purged, somebody

LEDGER = pb.DESCRIPTOR.services_by_name["LedgerService"]


@pytest.fixture(params=["memory", "sqlite"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Office]:
    opened = opened_on(request.param, tmp_path)
    yield office(opened, tmp_path)
    opened.close()


def anchorer(here: Office, log: StringIO | None = None) -> Anchorer:
    holding = here.holding
    return Anchorer(
        {"contacts": holding.ledger, "contacts.reads": holding.reads.ledger},
        here.opened.journal,
        here.opened.signer,
        holding.clock,
        threading.Event(),
        made_log(log or StringIO(), service="contacts"),
    )


def asking(here: Office, role: Role = Role.SUPER_ADMINISTRATOR, tenant: str | None = None) -> Desk:
    servicer = LedgerServicer(here.holding, here.opened.signer.verifier)
    return Desk(LEDGER, servicer, somebody(tenant or fresh_tenant(), role))


def name(desk: Desk, log: str = "changes") -> str:
    return f"{desk.tenant}/logs/{log}"


def kept(desk: Desk, log: str = "changes") -> pb.Checkpoint:
    return desk.GetCheckpoint(pb.GetCheckpointRequest(name=name(desk, log)))


@pytest.mark.law("L8")
def test_whoever_has_a_receipt_is_shown_that_its_leaf_is_there_and_that_the_log_only_grew(here: Office) -> None:
    desk, asked, signing = here.desk(), asking(here), anchorer(here)
    receipt = purged(desk, person(desk))
    person(desk)
    signing.look()
    verifier = here.opened.signer.verifier
    told = kept(asked)
    signed = open_checkpoint(told.note, verifier)
    assert (told.origin, told.size, told.root) == (signed.origin, signed.size, signed.root)
    old = open_checkpoint(receipt.checkpoint, verifier)
    request = pb.GetConsistencyProofRequest(name=name(asked), first=old.size, second=signed.size)
    verify_consistency(old.size, signed.size, asked.GetConsistencyProof(request).hashes, old.root, signed.root)
    wanted = pb.GetInclusionProofRequest(name=name(asked), index=receipt.index, size=signed.size)
    path = asked.GetInclusionProof(wanted).hashes
    verify_inclusion(leaf_hash(receipt.leaf), receipt.index, signed.size, path, signed.root)


def test_the_log_of_reads_has_checkpoints_of_its_own(here: Office) -> None:
    desk, asked = here.desk(), asking(here)
    seen = person(desk)
    desk.GetContact(contacts_pb2.GetContactRequest(name=seen.name))
    anchorer(here).look()
    assert kept(asked, "reads").origin == "contacts.reads"
    assert kept(asked, "reads").size == here.holding.reads.ledger.head().size
    assert kept(asked).origin == "contacts"


@pytest.mark.parametrize("log", ["changes", "reads"])
def test_a_log_without_a_leaf_has_no_checkpoint(here: Office, log: str) -> None:
    with pytest.raises(ResourceMissing):
        kept(asking(here), log)


def test_only_a_super_administrator_asks_and_only_in_their_own_name(here: Office) -> None:
    person(here.desk())
    anchorer(here).look()
    for role in set(Role) - {Role.SUPER_ADMINISTRATOR}:
        with pytest.raises(PermissionDenied):
            kept(asking(here, role))
    foreign = pb.GetCheckpointRequest(name="tenants/another/logs/changes")
    with pytest.raises(PermissionDenied):
        asking(here).GetCheckpoint(foreign)


@pytest.mark.law("L1")
def test_every_tenant_is_told_the_same_of_a_log_and_no_leaf_of_anybody(here: Office) -> None:
    desk = here.desk()
    person(desk)
    anchorer(here).look()
    one, other = (asking(here) for _ in range(2))
    assert kept(one) == kept(other)
    told = kept(one).SerializeToString()
    assert desk.tenant.encode() not in told
    assert all(leaf not in told for leaf in here.holding.ledger.read(0, 10))


@pytest.mark.parametrize("log", ["", "writes", "changes/1", "CHANGES"])
def test_a_name_that_is_none_is_refused(here: Office, log: str) -> None:
    asked = asking(here)
    with pytest.raises(InvalidField, match="name"):
        asked.GetCheckpoint(pb.GetCheckpointRequest(name=f"{asked.tenant}/logs/{log}"))


def test_proofs_about_what_is_not_in_the_log_are_refused(here: Office) -> None:
    person(here.desk())
    asked = asking(here)
    for index, size in ((-1, 1), (1, 1), (0, 2), (0, 1 << 40)):
        with pytest.raises(InvalidField):
            asked.GetInclusionProof(pb.GetInclusionProofRequest(name=name(asked), index=index, size=size))
    for first, second in ((-1, 1), (2, 1), (0, 2)):
        with pytest.raises(InvalidField):
            asked.GetConsistencyProof(pb.GetConsistencyProofRequest(name=name(asked), first=first, second=second))


def test_a_kept_checkpoint_that_somebody_else_wrote_is_not_given_out(here: Office) -> None:
    here.holding.ledger.keep("contacts\n1\nAAAA\n\n— contacts AAAA\n")
    with pytest.raises(LedgerBroken):
        kept(asking(here))


@pytest.mark.law("L8")
def test_each_leaf_is_under_a_checkpoint_outside_the_data_within_a_minute(here: Office) -> None:
    desk, signing = here.desk(), anchorer(here)
    signing.look()
    person(desk)
    waited = timedelta()
    while newest_anchor(here.opened.journal, "contacts", here.opened.signer) is None:
        here.advance(LOOK)
        waited += LOOK
        signing.look()
    assert timedelta() < waited < WITHIN
    size = here.holding.ledger.head().size
    anchors = [entry for _, entry in here.opened.journal.since(0) if isinstance(entry, Anchored)]
    assert [open_checkpoint(each.note, here.opened.signer.verifier).size for each in anchors] == [size]
    here.advance(WITHIN)
    signing.look()
    assert len([entry for _, entry in here.opened.journal.since(0) if isinstance(entry, Anchored)]) == 1


def test_many_leaves_at_once_do_not_wait(here: Office) -> None:
    signing = anchorer(here)
    signing.look()
    here.holding.reads.ledger.append([b"%d" % number for number in range(MOST)])
    signing.look()
    anchored = newest_anchor(here.opened.journal, "contacts.reads", here.opened.signer)
    assert anchored is not None
    assert anchored.size == MOST


@pytest.mark.law("L8")
def test_a_log_that_was_put_back_by_hand_is_signed_no_more_and_the_log_of_the_service_says_so(
    here: Office, tmp_path: Path
) -> None:
    desk, told = here.desk(), StringIO()
    person(desk)
    anchorer(here).look()
    before = here.opened.journal
    older = office(opened_on("memory", tmp_path / "older"), tmp_path)
    object.__setattr__(older.opened, "keeping", Keeping(before, None, older.opened.keeping._log))
    object.__setattr__(older.opened, "signer", here.opened.signer)
    again = anchorer(older, told)
    again.look()
    assert "anchor_refused" in told.getvalue()
    assert older.holding.ledger.latest() is None
    older.opened.close()


@pytest.mark.law("L8")
def test_after_a_restore_receipts_and_checkpoints_are_of_the_next_epoch(here: Office) -> None:
    desk, asked = here.desk(), asking(here)
    person(desk)
    anchorer(here).look()
    signer, journal = here.opened.signer, here.opened.journal
    for log, ledger in (("contacts", here.holding.ledger), ("contacts.reads", here.holding.reads.ledger)):
        open_epoch(ledger, journal, log=log, signer=signer, now=here.holding.now())
    receipt = purged(desk, person(desk))
    verify(receipt, signer.verifier)
    assert receipt.checkpoint.startswith("contacts/2\n")
    person(desk)
    signing = anchorer(here)
    signing.look()
    assert (kept(asked).origin, kept(asked, "reads").origin) == ("contacts/2", "contacts.reads/2")
    assert kept(asked).size == here.holding.ledger.head().size
