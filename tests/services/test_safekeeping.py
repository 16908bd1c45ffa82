"""Where a service keeps its page keys: in OpenBao as in a file, and never in the other one by mistake."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import CapsuleError, Unavailable
from capsule_core.receipts import verify
from capsule_services.doctor.findings import Finding, Grade
from capsule_services.doctor.keys import keystores
from capsule_services.doctor.place import Place
from capsule_services.doctor.stores import schemas
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.openbao.address import address_from
from capsule_services.runtime.opening import Opened, open_holding
from capsule_services.runtime.safekeeping import open_keystore
from capsule_sql.failures import ForeignKeystore, MissingKey
from tests.services.bao import Fault, Server, serving
from tests.services.office import KINDS, host, note, office, person, purged


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("bao")) as made:
        yield made


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    running.entries.clear()
    yield running
    running.fault = lambda _: None
    running.config["max_versions"] = 1
    running.wait()


def variables(server: Server) -> dict[str, str]:
    told = {"": server.url, "_TOKEN": str(server.token_file), "_AUTHORITY": str(server.authority)}
    return {f"CAPSULE_KEYSTORE{name}": value for name, value in told.items()}


def opened(server: Server | None, folder: Path) -> Opened:
    more: dict[str, Any] = {}
    if server is not None:
        more = {name.removeprefix("CAPSULE_").lower(): value for name, value in variables(server).items()}
    return open_holding(host(folder, **more), "contacts", KINDS)


def test_a_service_keeps_erases_and_opens_again_with_its_keys_in_openbao(server: Server, tmp_path: Path) -> None:
    opening = opened(server, tmp_path)
    here = office(opening, tmp_path)
    desk = here.desk("acme")
    ann, bo = person(desk, "Ann"), person(desk, "Bo")
    note(desk, ann)
    receipt = purged(desk, ann)
    verify(receipt, opening.signer.verifier.text())
    opening.close()
    names = {path.name for path in (tmp_path / "contacts").rglob("*")}
    assert "keystore.db" not in names
    assert (tmp_path / "contacts" / "keystore.url").read_text() == f"{server.url}/contacts\n"
    again = opened(server, tmp_path)
    assert office(again, tmp_path).desk("acme").GetContact(_get(bo)).person.given_name == "Bo"
    again.close()
    assert {name.split("/")[0] for name in server.entries} == {"contacts"}
    assert len({name.split("/")[1] for name in server.entries}) == 2, "the seals, and one tenant by its hash"


def _get(contact: Any) -> Any:
    return pb.GetContactRequest(name=contact.name)


def test_what_cannot_be_asked_of_openbao_is_unavailable_and_nothing_is_half_done(
    server: Server, tmp_path: Path
) -> None:
    opening = opened(server, tmp_path)
    here = office(opening, tmp_path)
    desk = here.desk("acme")
    ann = person(desk, "Ann")
    server.fault = lambda _: Fault.SEALED
    bao = here.holding.vault._keystore._bao  # type: ignore[attr-defined]
    bao._patience = bao._patience.new(backoff_factor=0, total=1)
    for deed in (lambda: desk.GetContact(_get(ann)), lambda: person(desk, "Bo"), lambda: purged(desk, ann)):
        with pytest.raises(Unavailable, match="keystore does not answer"):
            deed()
    server.fault = lambda _: None
    assert desk.GetContact(_get(ann)).person.given_name == "Ann"
    opening.close()


def test_a_second_machine_needs_the_same_root_key_and_makes_none(server: Server, tmp_path: Path) -> None:
    opened(server, tmp_path / "one").close()
    before = dict(server.entries)
    second = tmp_path / "two" / "contacts"
    second.mkdir(parents=True)
    with pytest.raises(MissingKey):
        opened(server, tmp_path / "two")
    assert not (second / "root.key").exists()
    (second / "root.key").write_bytes(bytes(32))
    with pytest.raises(ForeignKeystore):
        opened(server, tmp_path / "two")
    (second / "root.key").write_bytes((tmp_path / "one" / "contacts" / "root.key").read_bytes())
    opened(server, tmp_path / "two").close()
    assert server.entries == before


def test_a_folder_is_never_opened_with_the_other_kind_of_keystore(server: Server, tmp_path: Path) -> None:
    opened(None, tmp_path / "file").close()
    with pytest.raises(StartRefused, match="unset CAPSULE_KEYSTORE"):
        opened(server, tmp_path / "file")
    assert server.entries == {}
    opened(server, tmp_path / "bao").close()
    with pytest.raises(StartRefused, match="set CAPSULE_KEYSTORE"):
        opened(None, tmp_path / "bao")
    assert not (tmp_path / "bao" / "contacts" / "keystore.db").exists()
    server.entries.clear()
    with pytest.raises(StartRefused, match="correct CAPSULE_KEYSTORE"):
        opened(server, tmp_path / "bao")
    assert server.entries == {}, "an empty one is not taken for ours"


WITHOUT = """
import sys
sys.modules["urllib3"] = None
from pathlib import Path
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.opening import open_holding
from capsule_services.runtime.safekeeping import open_keystore
from capsule_services.runtime.openbao.address import Address
from contextlib import ExitStack
try:
    open_keystore(Path(sys.argv[1]), Address(host="https://x", mount="m", folder="", token=Path("t")), ExitStack())
except StartRefused as refused:
    print(refused)
"""


def test_without_the_extra_nothing_of_it_is_imported_and_its_need_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'capsule-core[openbao]'" in done.stdout
    said = (
        "import sys, capsule_services.contacts.__main__; print('capsule_services.runtime.openbao.wire' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"


# What the doctor says


def told(folder: Path, told_by: Mapping[str, str]) -> Finding:
    (found,) = keystores(Place(folder=folder, variables=told_by))
    return found


def test_the_doctor_says_whether_it_is_reached_opens_and_forgets(server: Server, tmp_path: Path) -> None:
    opened(server, tmp_path).close()
    known = variables(server)
    assert told(tmp_path, known) == Finding(
        Grade.GOOD, "keystore of contacts", "opens with its root key; max_versions is 1"
    )
    assert not [each for each in schemas(Place(folder=tmp_path)) if "keystore" in each.what]
    server.config["max_versions"] = 10
    kept, _ = keystores(Place(folder=tmp_path, variables=known))
    assert (kept.grade, "max_versions=1" in kept.do) == (Grade.MEND, True)
    server.config["max_versions"] = 1
    assert told(tmp_path, {}).grade is Grade.UNSEEN
    assert "CAPSULE_KEYSTORE" in told(tmp_path, {}).do
    bad = tmp_path / "token"
    bad.write_text("no-such-token")
    assert "does not let us in" in told(tmp_path, {**known, "CAPSULE_KEYSTORE_TOKEN": str(bad)}).do
    nobody = told(tmp_path, {**known, "CAPSULE_KEYSTORE": "https://127.0.0.1:1/capsule"})
    assert (nobody.grade, nobody.found) == (Grade.MEND, "it is not reached")
    (tmp_path / "contacts" / "root.key").write_bytes(bytes(32))
    assert told(tmp_path, known).found == "the root key does not open it"


def test_a_root_key_that_is_being_replaced_is_noted(tmp_path: Path) -> None:
    folder = tmp_path / "contacts"
    folder.mkdir()
    with ExitStack() as stack:
        open_keystore(folder, None, stack)
    (folder / "root.key.next").write_bytes(bytes(32))
    well, noted = keystores(Place(folder=tmp_path, variables={}))
    assert (well.grade, noted.grade) == (Grade.GOOD, Grade.NOTE)
    assert "rotate-root" in noted.do


def test_an_address_below_is_the_services_own(server: Server) -> None:
    address = address_from(variables(server))
    assert address is not None
    assert attrs.evolve(address.below("contacts"), folder="") == address
    with pytest.raises(CapsuleError):
        open_keystore(Path("/nowhere"), attrs.evolve(address, host="https://127.0.0.1:1"), ExitStack())
