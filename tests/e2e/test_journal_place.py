"""The journal at a place, with real services: the machine is lost whole, or the place does not answer for a while."""

from __future__ import annotations

import json
import select
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_services.demo.company import Desk, request_id, sign_in, sign_up, throw_away
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.deployment import Deployment, Options, running
from capsule_services.runtime.faults import understood
from capsule_services.runtime.layout import ORDER
from tests.e2e.test_backups import ERASED, KEPT, capsule, create, patiently
from tests.services.objects import Store, serving

PLACE = "s3://journals/acme"
ADDRESS = "anna@example.org"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    with serving(monkeypatch, tmp_path) as made:
        made.page = 1000
        monkeypatch.setenv("CAPSULE_JOURNAL_PLACE", PLACE)
        yield made


@attrs.frozen(kw_only=True)
class Lost:
    """What is left of a deployment whose machine was lost: what lay in a safe, the keystore, the backups, the place."""

    folder: Path
    backup: str
    tenant: str
    erased: str
    kept: str

    def restore(self, *more: object) -> tuple[int, Any, str]:
        return capsule("backup", "restore", self.backup, "--data", self.folder, "--json", *more)


def purge(desk: Desk, name: str, request: str) -> Any:
    return desk.contacts.PurgeContact(pb.PurgeContactRequest(name=name, confirm=True, request_id=request))


@pytest.fixture
def lost(store: Store, tmp_path: Path) -> Lost:
    data, backups = tmp_path / "deployment", tmp_path / "backups"
    with running(data, Options(dev=True)) as deployment:
        tenant, _ = sign_up(deployment, "Acme", "Anna", ADDRESS)
        anna = sign_in(deployment, tenant, ADDRESS)
        erased, kept = create(anna, *ERASED.split()), create(anna, *KEPT.split())
        code, told, err = capsule("backup", "create", "--data", data, "--to", backups, "--json")
        assert code == 0, err
        throw_away(anna, erased)
        purge(anna, erased, request_id())
    new = tmp_path / "new"
    for service in ORDER:
        (new / service / "mirror").mkdir(parents=True)
        for name in ("root.key", "receipts.key", "journal.key", "mirror/keystore.db"):
            shutil.copyfile(data / service / name, new / service / name)
            (new / service / name).chmod(0o600)
    shutil.copyfile(data / "backup.key", new / "backup.key")
    shutil.rmtree(data)
    told_all = b"".join(store.objects.values())
    assert not [word for word in (*ERASED.split(), *KEPT.split(), ADDRESS, tenant) if word.encode() in told_all]
    assert not [name for name in store.objects if tenant.partition("/")[2] in name]
    return Lost(folder=new, backup=f"{backups}/{told['backup']}", tenant=tenant, erased=erased, kept=kept)


@pytest.mark.law("L7")
@pytest.mark.timeout(300)
def test_of_a_lost_machine_the_place_knows_who_was_erased_since_the_backup(lost: Lost) -> None:
    code, _, err = lost.restore()
    assert code == 0, err
    with running(lost.folder, Options(dev=True)) as deployment:
        anna = patiently(lambda: sign_in(deployment, lost.tenant, ADDRESS))
        assert patiently(lambda: given(anna, lost.kept)) == KEPT.split()[0]
        with pytest.raises(grpc.RpcError) as refusal:
            given(anna, lost.erased)
        assert refusal.value.code() in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION}
        listed = anna.contacts.ListContacts(pb.ListContactsRequest(parent=lost.tenant)).contacts
        assert [contact.name for contact in listed] == [lost.kept]


def given(desk: Desk, name: str) -> str:
    return desk.contacts.GetContact(pb.GetContactRequest(name=name)).person.given_name


@pytest.mark.timeout(300)
def test_what_is_not_whole_at_the_place_restores_nothing(lost: Lost, store: Store) -> None:
    original, before = dict(store.objects), contents(lost.folder)
    heads = [name for name in original if "/contacts/" in name and "/heads/" in name]
    others = [name for name in original if "/identity/" in name and "/heads/" in name]
    assert len(heads) == len(others) == 2

    def flipped(name: str) -> None:
        store.objects[name] = original[name][:-1] + bytes([original[name][-1] ^ 1])

    damages: dict[str, Callable[[int], None]] = {
        "missing": lambda at: store.objects.pop(heads[at]) and None,
        "damaged": lambda at: flipped(heads[at]),
        "another deployment": lambda at: store.objects.update({heads[at]: original[others[at]]}),
    }
    for told, damage in damages.items():
        store.objects = dict(original)
        damage(0)
        damage(1)
        code, _, err = lost.restore()
        assert (code, len(err.strip().splitlines())) == (2, 1), err
        assert told in err or "there is no journal" in err
        assert contents(lost.folder) == before
    store.objects = dict(original)
    (lost.folder / "contacts" / "journal.key").rename(lost.folder / "contacts" / "elsewhere")
    code, _, err = lost.restore()
    assert (code, "journal.key" in err) == (2, True)
    (lost.folder / "contacts" / "elsewhere").rename(lost.folder / "contacts" / "journal.key")
    assert lost.restore()[0] == 0


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def health(deployment: Deployment, name: str) -> int:
    address = deployment.addresses["contacts"]
    with open_channel(address, service="contacts", credential=deployment.credential) as channel:
        return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name)).status


def until(ask: Callable[[], Any]) -> None:
    for _ in range(600):
        if ask():
            return
        select.select([], [], [], 0.05)
    raise AssertionError


@pytest.mark.timeout(300)
def test_an_erasure_waits_for_the_place_and_ends_by_itself(store: Store, tmp_path: Path) -> None:
    serving_, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    with running(tmp_path / "deployment", Options(dev=True)) as deployment:
        tenant, _ = sign_up(deployment, "Acme", "Anna", ADDRESS)
        anna = sign_in(deployment, tenant, ADDRESS)
        erased, kept = create(anna, *ERASED.split()), create(anna, *KEPT.split())
        throw_away(anna, erased)
        assert health(deployment, "journal") == serving_
        store.gone, request = True, request_id()
        for _ in range(2):
            with pytest.raises(grpc.RpcError) as refusal:
                purge(anna, erased, request)
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "s3://" not in str(refusal.value)
        assert health(deployment, "journal") == not_serving
        assert health(deployment, "") == serving_
        assert given(anna, kept) == KEPT.split()[0]
        create(anna, "Somebody", "Else")
        sign_in(deployment, tenant, ADDRESS)
        store.gone = False
        until(lambda: health(deployment, "journal") == serving_)
        answer = patiently(lambda: purge(anna, erased, request))
        assert answer.receipt
        with pytest.raises(grpc.RpcError) as refusal:
            given(anna, erased)
        assert understood(refusal.value).reason in {"SUBJECT_ERASED", "RESOURCE_MISSING"}
    told = [json.loads(line) for line in (tmp_path / "deployment" / "logs" / "contacts.log").read_text().splitlines()]
    events = [line["event"] for line in told if line["event"].startswith("journal_")]
    assert events == ["journal_unshipped", "journal_shipped"]
