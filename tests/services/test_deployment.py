"""A deployment starts whole or not at all, ends with whoever started it, and overwrites nothing."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import pytest

from capsule_core.errors import CapsuleError
from capsule_services.runtime.deployment import Options, running
from capsule_services.runtime.layout import ORDER
from capsule_services.runtime.opening import open_holding
from tests.services.office import KINDS, host

CAPSULE = [sys.executable, "-c", "import sys; from capsule_services.cli import main; sys.exit(main())"]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deployment that ran once."""
    folder = tmp_path_factory.mktemp("used") / "deployment"
    with running(folder, Options(dev=True)) as deployment:
        assert set(deployment.addresses) == set(ORDER)
        assert deployment.failed() is None
        processes = dict(deployment.processes)
    assert [process.exitcode for process in processes.values()] == [0, 0, 0]
    return folder


@pytest.fixture
def copied(used: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(used, folder)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    """Hash what must not change when a start is refused: everything but the logs and what a running service writes."""
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {"logs", "addresses"} & set(path.relative_to(folder).parts)
    }


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def up(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [*CAPSULE, "up", "--data", str(folder), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def assert_one_sentence(err: str) -> None:
    assert err.startswith("capsule: ")
    assert len(err.strip().splitlines()) == 1, err
    assert "Traceback" not in err
    assert len(err.strip()) > len("capsule: ") + 20


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    process = up(tmp_path / "d", "--dev")
    try:
        yield process, tmp_path / "d"
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=30)


def listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def descendant(ancestor: int, called: str) -> int:
    """Return the id of the process that is *called* so, among those that *ancestor* and its children have started."""
    for child in Path(f"/proc/{ancestor}/task/{ancestor}/children").read_text().split():
        if Path(f"/proc/{child}/comm").read_text().strip() == called:
            return int(child)
        with suppress(AssertionError):
            return descendant(int(child), called)
    raise AssertionError(f"there is no {called}")


def gone(addresses: list[str]) -> None:
    """Return when nobody listens at *addresses* any more."""
    for _ in range(200):
        if not any(map(listening, addresses)):
            return
        select.select([], [], [], 0.1)
    raise AssertionError("a process outlived the deployment")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_no_service_outlives_whoever_started_it_however_that_ends(
    serving: tuple[subprocess.Popen[str], Path], how: signal.Signals
) -> None:
    process, _ = serving
    assert process.stdout is not None
    said = json.loads(process.stdout.readline())
    assert set(said["addresses"]) == set(ORDER)
    assert Path(said["ca"]).is_file()
    addresses = list(said["addresses"].values())
    assert all(map(listening, addresses))
    process.send_signal(how)
    code, _, err = ended(process)
    assert code == (-how if how is signal.SIGKILL else 0)
    assert err == ""
    gone(addresses)


def test_a_service_that_ends_by_itself_ends_them_all(serving: tuple[subprocess.Popen[str], Path]) -> None:
    process, folder = serving
    assert process.stdout is not None
    addresses = list(json.loads(process.stdout.readline())["addresses"].values())
    os.kill(descendant(process.pid, "contacts"), signal.SIGKILL)
    code, _, err = ended(process)
    assert code == 1
    assert_one_sentence(err)
    assert "contacts was ended by SIGKILL" in err
    gone(addresses)
    assert (folder / "logs").is_dir()


def test_a_folder_that_is_in_use_is_refused_and_its_user_goes_on(used: Path) -> None:
    with running(used, Options()) as deployment:
        code, out, err = ended(up(used))
        assert (code, out) == (2, "")
        assert_one_sentence(err)
        assert "another capsule is running" in err
        assert f"(process {os.getpid()})" in err
        assert deployment.failed() is None
        assert all(map(listening, deployment.addresses.values()))


def test_a_port_that_is_in_use_is_refused_and_nothing_stays_behind(copied: Path) -> None:
    before = hashes(copied)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = ended(up(copied, "--contacts-port", str(port)))
    assert (code, out) == (2, "")
    assert_one_sentence(err)
    assert f"127.0.0.1:{port}" in err
    assert _stable(hashes(copied)) == _stable(before)


def _stable(found: dict[str, str]) -> dict[str, str]:
    """Leave out what a service writes that is opened and closed in order, or sweeps; nothing of it is content."""
    swept = ("engine.db", "sweep.json", "clock.seen")
    return {name: digest for name, digest in found.items() if not name.endswith(("-wal", "-shm", "lock", *swept))}


def test_a_folder_that_cannot_be_made_or_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/capsule")):
        code, out, err = ended(up(folder))
        assert (code, out) == (2, "")
        assert_one_sentence(err)
    assert (tmp_path / "file").read_text() == "mine"


def newer_schema(folder: Path) -> None:
    with sqlite3.connect(folder / "contacts" / "data.db") as database:
        database.execute("UPDATE alembic_version SET version_num = 'data_9999'")
    database.close()


def keystore_of_another(folder: Path) -> None:
    for name in ("keystore.db", "mirror/keystore.db"):
        shutil.copyfile(folder / "identity" / name, folder / "contacts" / name)


def keystore_alone_of_another(folder: Path) -> None:
    shutil.copyfile(folder / "identity" / "keystore.db", folder / "contacts" / "keystore.db")


def root_key_missing(folder: Path) -> None:
    (folder / "contacts" / "root.key").unlink()


def root_key_truncated(folder: Path) -> None:
    (folder / "contacts" / "root.key").write_bytes(b"short")


def a_database_that_is_none(folder: Path) -> None:
    (folder / "contacts" / "data.db").write_bytes(b"not a database at all" * 500)


def databases_swapped(folder: Path) -> None:
    shutil.copyfile(folder / "contacts" / "journal.db", folder / "contacts" / "data.db")


@pytest.mark.parametrize("damage", [newer_schema, keystore_of_another])
def test_a_deployment_whose_files_do_not_belong_together_is_refused_in_one_sentence_and_left_as_it_is(
    copied: Path, damage: Callable[[Path], None]
) -> None:
    damage(copied)
    before = _stable(hashes(copied))
    code, out, err = ended(up(copied))
    assert (code, out) == (2, "")
    assert_one_sentence(err)
    assert "see logs" not in err
    after = _stable(hashes(copied))
    assert {name: after.get(name) for name in before} == before


@pytest.mark.parametrize(
    "damage",
    [
        newer_schema,
        keystore_of_another,
        keystore_alone_of_another,
        root_key_missing,
        root_key_truncated,
        a_database_that_is_none,
        databases_swapped,
    ],
)
def test_a_service_refuses_files_that_do_not_belong_together_and_leaves_them_as_they_are(
    copied: Path, damage: Callable[[Path], None]
) -> None:
    damage(copied)
    before = _stable(hashes(copied))
    with pytest.raises(CapsuleError) as refused:
        open_holding(host(copied), "contacts", KINDS)
    assert len(str(refused.value).splitlines()) == 1
    after = _stable(hashes(copied))
    assert {name: after.get(name) for name in before} == before
