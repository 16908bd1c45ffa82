"""The root key is replaced without a page being touched: killed at any step, and while others use the keystore."""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from capsule_core.errors import RootKeyAbsent
from capsule_core.names import TenantId
from capsule_core.pages import KeyMoved, PageKey
from capsule_core.wrapping import RootKey
from capsule_services.commands import app
from capsule_services.rootkeys import replace_root
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.openbao.address import address_from
from capsule_services.runtime.safekeeping import Kept, open_keystore
from capsule_sql import keystores
from capsule_sql.failures import DamagedKey, ForeignKeystore, MissingKey
from tests.services.bao import serving
from tests.store.conftest import MEMORY

pytestmark = pytest.mark.timeout(900)  # hundreds of runs, each through real files or a real server

REPOSITORY = Path(__file__).parents[2]
ROTATIONS = Path(__file__).with_name("rotations.py")
ACME, ZETA = TenantId("acme"), TenantId("zeta")
SEVERAL = settings(settings(), max_examples=max(5, settings().max_examples // 6))


@pytest.fixture(params=["files", "openbao"])
def variables(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """What the environment says: nothing, or where an OpenBao is."""
    if request.param == "files":
        yield {}
        return
    with serving(tmp_path) as server:
        told = {"": server.url, "_TOKEN": str(server.token_file), "_AUTHORITY": str(server.authority)}
        yield {f"CAPSULE_KEYSTORE{name}": value for name, value in told.items()}


def test_killed_at_any_step_both_root_keys_open_everything_until_one_does(
    folder: Path, variables: Mapping[str, str]
) -> None:
    path = os.pathsep.join([str(REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, str(ROTATIONS), str(folder), *([json.dumps(variables)] if variables else [])],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    assert [each["step"] for each in told] == list(range(1, len(told) + 1))
    assert [each["killed"] for each in told] == [signal.SIGKILL] * (len(told) - 1) + [0]
    assert len(told) > 20
    assert len({each["wrapped anew afterwards"] for each in told}) > 3, "killed before, between and after"
    for each in told:
        assert each["readable after the crash"], each
        assert each["readable at the end"], each
        assert each["root files"] == ["root.key"], each
        assert not each["old root key left"], each
        assert each["under the old root key"] == 0, each


# While others use it


def opened(folder: Path, variables: Mapping[str, str], stack: ExitStack) -> Kept:
    address = address_from(variables)
    return open_keystore(folder, address and address.below(folder.name), stack)


def key(page: int, tenant: TenantId = ACME) -> PageKey:
    return PageKey(tenant=tenant, page=page, id=secrets.token_bytes(8), key=secrets.token_bytes(32))


@attrs.define
class User:
    """Somebody with an opening of their own, who keeps, replaces and looks at the keys of a tenant."""

    keystore: Kept
    tenant: TenantId
    chance: random.Random
    model: dict[int, PageKey] = attrs.Factory(dict)
    steps: int = 0

    def work(self, over: threading.Event, begun: threading.Semaphore) -> None:
        while not over.is_set() or self.steps < 3:
            self.step()
            begun.release()

    def step(self) -> None:
        fresh = [key(page, self.tenant) for page in self.chance.sample(range(40), 3)]
        known = [each for each in fresh if each.page in self.model]
        self.keystore.put([each for each in fresh if each not in known])
        self.model.update({each.page: each for each in fresh if each not in known})
        self.keystore.replace([(self.model[each.page].id, each) for each in known])
        self.model.update({each.page: each for each in known})
        self.check(self.keystore)
        self.steps += 1

    def check(self, keystore: Kept) -> None:
        assert list(keystore.get(self.tenant, range(40))) == [self.model.get(page) for page in range(40)]


@pytest.mark.parametrize("where", ["files", "openbao"])
@given(seed=st.integers(0, 2**32))
@SEVERAL
def test_who_uses_a_keystore_meanwhile_loses_no_key_and_needs_no_restart(where: str, seed: int) -> None:
    """Each of three has the keystore open since before, as a process of its own would, and none is told anything."""
    was, keystores._AT_ONCE = keystores._AT_ONCE, 7  # type: ignore[misc]  many steps, so that the others come in between
    try:
        with TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as made, ExitStack() as stack:
            variables: dict[str, str] = {}
            if where == "openbao":
                server = stack.enter_context(serving(Path(made)))
                told = {"": server.url, "_TOKEN": str(server.token_file), "_AUTHORITY": str(server.authority)}
                variables = {f"CAPSULE_KEYSTORE{name}": value for name, value in told.items()}
            rotate_among_users(Path(made) / "contacts", variables, seed, stack)
    finally:
        keystores._AT_ONCE = was  # type: ignore[misc]


def rotate_among_users(folder: Path, variables: Mapping[str, str], seed: int, stack: ExitStack) -> None:
    folder.mkdir()
    chance = random.Random(seed)  # noqa: S311  a seed, so that a failure comes again
    users = [User(opened(folder, variables, stack), TenantId(f"t{number}"), chance) for number in range(3)]
    over, begun, failures = threading.Event(), threading.Semaphore(0), list[BaseException]()

    def work(user: User) -> None:
        try:
            user.work(over, begun)
        except BaseException as failure:  # noqa: BLE001  it is for the test, not for the thread
            failures.append(failure)

    threads = [threading.Thread(target=work, args=[user]) for user in users]
    roots = [RootKey((folder / "root.key").read_bytes())]
    try:
        for thread in threads:
            thread.start()
        for _ in range(2):
            for _ in range(3):
                assert begun.acquire(timeout=60)
            while replace_root(folder, variables) is None:
                continue
            roots.append(RootKey((folder / "root.key").read_bytes()))
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    assert failures == []
    assert len({root.id for root in roots}) == 3
    with ExitStack() as last:
        fresh = opened(folder, variables, last)
        for user in users:
            assert user.steps >= 3
            user.check(fresh)
    kept = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert [root.id in kept or root.key in kept for root in roots[:2]] == [False, False]


# What is refused, and what is said


def test_the_command_replaces_the_root_key_of_every_service_and_says_what_to_do(tmp_path: Path) -> None:
    for name in ("contacts", "identity"):
        (tmp_path / name).mkdir()
        with ExitStack() as stack:
            opened(tmp_path / name, {}, stack).put([key(page) for page in range(5)])
    before = [(tmp_path / name / "root.key").read_bytes() for name in ("contacts", "identity")]
    result = CliRunner().invoke(app, ["keys", "rotate-root", "--data", str(tmp_path)])
    assert result.exit_code == 0, result.stderr
    assert result.stdout.count("5 page keys wrapped anew") == 2
    assert "safe" in result.stdout
    after = [(tmp_path / name / "root.key").read_bytes() for name in ("contacts", "identity")]
    assert len({*before, *after}) == 4
    assert (tmp_path / "contacts" / "root.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--service", "billing"], "no such service"),
        ([], "no such service"),
    ],
)
def test_a_service_that_is_not_there_is_refused(tmp_path: Path, arguments: list[str], told: str) -> None:
    result = CliRunner().invoke(app, ["keys", "rotate-root", "--data", str(tmp_path), *arguments])
    assert result.exit_code == 2
    assert told in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_page_keys_is_refused_and_left_alone(tmp_path: Path) -> None:
    with pytest.raises(StartRefused, match="no page keys yet"):
        replace_root(tmp_path, {})
    assert list(tmp_path.iterdir()) == []


def stolen(folder: Path) -> None:
    (folder / "root.key").unlink()


def foreign(folder: Path) -> None:
    (folder / "root.key").write_bytes(bytes(32))


def damaged(folder: Path) -> None:
    (folder / "root.key").write_bytes(b"short")


@pytest.mark.parametrize(
    ("deed", "refusal", "sentence"),
    [(stolen, MissingKey, "is missing"), (foreign, ForeignKeystore, "another deployment"), (damaged, DamagedKey, "32")],
)
def test_with_a_root_key_that_is_not_the_one_nothing_is_replaced_or_made(
    tmp_path: Path, deed: Any, refusal: type[Exception], sentence: str
) -> None:
    with ExitStack() as stack:
        opened(tmp_path, {}, stack).put([key(1)])
    right = (tmp_path / "root.key").read_bytes()
    deed(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for _ in range(2):
        with pytest.raises(refusal, match=sentence), ExitStack() as stack:
            opened(tmp_path, {}, stack)
        with pytest.raises(refusal, match=sentence):
            replace_root(tmp_path, {})
    assert {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    (tmp_path / "root.key").write_bytes(right)
    assert replace_root(tmp_path, {}) == 1


def test_a_row_that_does_not_open_stops_the_replacement_and_both_root_keys_stay(tmp_path: Path) -> None:
    with ExitStack() as stack:
        keystore = opened(tmp_path, {}, stack)
        keystore.put([key(page) for page in range(3)])
        keystore._database.write(  # type: ignore[attr-defined]
            lambda connection: connection.execute("UPDATE keys SET wrapped = zeroblob(68) WHERE page = 1")
        )
    with pytest.raises(Exception, match="does not open"):
        replace_root(tmp_path, {})
    assert {"root.key", "root.key.next"} <= {path.name for path in tmp_path.iterdir()}
    with ExitStack() as stack:
        keystore = opened(tmp_path, {}, stack)
        assert None not in keystore.get(ACME, [0, 2])
        with pytest.raises(KeyMoved):
            keystore.put([key(0)])


def test_on_many_machines_the_next_root_key_is_handed_on_before_anything_is_under_it(tmp_path: Path) -> None:
    one, two = tmp_path / "one" / "contacts", tmp_path / "two" / "contacts"
    with serving(tmp_path) as server, ExitStack() as stack:
        told = {"": server.url, "_TOKEN": str(server.token_file), "_AUTHORITY": str(server.authority)}
        variables = {f"CAPSULE_KEYSTORE{name}": value for name, value in told.items()}
        for folder in (one, two):
            folder.mkdir(parents=True)
        here = opened(one, variables, stack)
        (two / "root.key").write_bytes((one / "root.key").read_bytes())
        there = opened(two, variables, stack)
        here.put([first := key(1)])
        assert replace_root(one, variables) is None
        there.put([second := key(2)])
        (two / "root.key.next").write_bytes((one / "root.key.next").read_bytes())
        assert replace_root(one, variables) == 2
        assert there.get(ACME, [1, 2]) == [first, second], "it runs on, and takes the file up by itself"
        there.put([third := key(3)])
        assert replace_root(two, variables) == 0
        assert (two / "root.key").read_bytes() == (one / "root.key").read_bytes()
        assert [path.name for folder in (one, two) for path in folder.glob("root*")] == ["root.key", "root.key"]
        for folder in (one, two):
            with ExitStack() as fresh:
                assert opened(folder, variables, fresh).get(ACME, [1, 2, 3]) == [first, second, third]


def test_a_machine_that_was_not_given_the_next_root_key_says_so_until_it_is(tmp_path: Path) -> None:
    one, two = tmp_path / "one" / "contacts", tmp_path / "two" / "contacts"
    with serving(tmp_path) as server, ExitStack() as stack:
        told = {"": server.url, "_TOKEN": str(server.token_file), "_AUTHORITY": str(server.authority)}
        variables = {f"CAPSULE_KEYSTORE{name}": value for name, value in told.items()}
        for folder in (one, two):
            folder.mkdir(parents=True)
        here = opened(one, variables, stack)
        (two / "root.key").write_bytes((one / "root.key").read_bytes())
        there = opened(two, variables, stack)
        here.put([first := key(1)])
        while replace_root(one, variables) is None:
            continue
        for deed in (lambda: there.get(ACME, [1]), lambda: there.put([key(2)])):
            with pytest.raises(RootKeyAbsent, match="not at hand"):
                deed()
        with pytest.raises(ForeignKeystore):
            replace_root(two, variables)
        assert not (two / "root.key.next").exists()
        (two / "root.key.next").write_bytes((one / "root.key").read_bytes())
        assert there.get(ACME, [1]) == [first]
        there.put([key(2)])
