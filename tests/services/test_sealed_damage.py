"""Damage on the disk reaches a client as DATA_LOSS that says so, and nothing of what was damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from capsule_api.contacts.v1 import contacts_pb2 as pb
from tests.services.chassis import bytes_of, refused
from tests.services.office import fresh_id, opened_on
from tests.services.wired import ACME, Wired, creating, wired

Damage = Callable[[Path], None]


def run(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file, timeout=30)) as database:
        for statement in statements:
            database.execute(statement)
        database.commit()


def a_record_cut(folder: Path) -> None:
    run(folder / "data.db", "UPDATE records SET sealed = substr(sealed, 1, 30)")


def a_page_cut(folder: Path) -> None:
    run(folder / "data.db", "UPDATE pages SET sealed = substr(sealed, 1, 30)")


def a_page_key_of_another_page(folder: Path) -> None:
    run(folder / "keystore.db", "UPDATE keys SET wrapped = (SELECT wrapped FROM keys WHERE page = 0) WHERE page = 1")


@pytest.mark.parametrize("damage", [a_record_cut, a_page_cut, a_page_key_of_another_page])
def test_a_client_is_told_that_data_is_lost_and_nothing_else(damage: Damage, tmp_path: Path) -> None:
    with wired(opened_on("sqlite", tmp_path), tmp_path) as before, before.stub() as stub:
        name = stub.CreateContact(creating("Xanthippe")).name
        other = stub.CreateContact(creating("Socrates")).name
    damage(tmp_path / "contacts")
    with wired(opened_on("sqlite", tmp_path), tmp_path) as after, after.stub() as stub:
        for call in (
            lambda: stub.GetContact(pb.GetContactRequest(name=name)),
            lambda: stub.ListContacts(pb.ListContactsRequest(parent=ACME)),
            lambda: stub.ExportContacts(pb.ExportContactsRequest(parent=ACME, format=pb.ExportContactsRequest.JSON)),
            lambda: stub.DeleteContact(pb.DeleteContactRequest(name=other, request_id=fresh_id())),
        ):
            assert_told(refused(call), after)


def assert_told(error: grpc.Call, told: Wired) -> None:
    status = rpc_status.from_call(error)
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (error.code(), info.reason, info.domain) == (grpc.StatusCode.DATA_LOSS, "SEAL_BROKEN", "contacts.capsule")
    assert set(info.metadata) == {"what"}
    assert info.metadata["what"] in {"record", "key page", "page key"}
    text = repr(bytes_of(error)).lower()
    assert [word for word in ("xanthippe", "socrates", "acme", "select", "/contacts/") if word in text] == []
    outcome = told.outcomes.get(timeout=30)
    assert (outcome.code, outcome.reason, outcome.error_id) == ("DATA_LOSS", "SEAL_BROKEN", "")
