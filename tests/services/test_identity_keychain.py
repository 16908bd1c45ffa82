"""The file of the signing keys: every process of identity follows it, and goes on without it when it is damaged."""

from __future__ import annotations

import os
import pwd
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from capsule_services.identity.issuer import Issuer
from capsule_services.identity.keychain import (
    KEYS,
    Keychain,
    changing,
    fresh_key,
    load_keys,
    load_or_create_keys,
)
from capsule_services.identity.signing import LEAD, SigningKeys
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.private import write_private

NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    load_or_create_keys(tmp_path / KEYS, NOW)
    return tmp_path / KEYS


def rotate(file: Path) -> SigningKeys:
    with changing(file) as (keys, store):
        store(rotated := keys.rotated(fresh_key(NOW), NOW))
    return rotated


def withdraw(file: Path, kid: str) -> SigningKeys:
    with changing(file) as (keys, store):
        store(left := keys.withdrawn([kid], fresh_key(NOW), NOW))
    return left


def test_keys_are_made_once_and_for_their_owner_only(file: Path) -> None:
    assert load_or_create_keys(file, NOW) == load_keys(file)
    assert file.stat().st_mode & 0o777 == 0o600
    rotate(file)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == [KEYS]


def test_of_many_who_make_the_first_key_at_once_all_have_the_same(tmp_path: Path) -> None:
    made: list[SigningKeys] = []
    together = threading.Barrier(8)

    def make() -> None:
        together.wait()
        made.append(load_or_create_keys(tmp_path / KEYS, NOW))

    threads = [threading.Thread(target=make) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [load_keys(tmp_path / KEYS)] * 8


def test_of_many_who_rotate_at_once_none_undoes_what_another_did(file: Path) -> None:
    threads = [threading.Thread(target=rotate, args=(file,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(load_keys(file).keys) == 9


def test_every_process_follows_what_was_done_to_the_file(file: Path) -> None:
    processes = [Keychain(file) for _ in range(3)]
    issuers = [Issuer(each.keys, lambda: NOW) for each in processes]
    for change in (rotate, lambda path: withdraw(path, load_keys(path).signing(NOW).kid)):
        expected = change(file)
        assert [each.keys() for each in processes] == [expected] * 3
        assert len({each.jwks() for each in issuers}) == 1


def test_what_is_published_names_the_new_key_before_it_signs(file: Path) -> None:
    issuer = Issuer(Keychain(file).keys, lambda: NOW)
    old, new = rotate(file).keys
    assert old.kid.encode() in issuer.jwks()
    assert new.kid.encode() in issuer.jwks()
    assert Keychain(file).keys().signing(NOW + LEAD) == new


def damaged(file: Path) -> None:
    write_private(file, b"nonsense")


def gone(file: Path) -> None:
    file.unlink()


def half(file: Path) -> None:
    write_private(file, file.read_bytes()[:100])


@pytest.mark.parametrize("damage", [damaged, gone, half])
def test_a_process_goes_on_with_the_keys_it_has_and_says_so_once(file: Path, damage: Callable[[Path], None]) -> None:
    told: list[bool] = []
    keychain = Keychain(file, told.append)
    before = keychain.keys()
    damage(file)
    assert [keychain.keys() for _ in range(5)] == [before] * 5
    assert (told, keychain.is_held_back) == ([False], True)
    write_private(file, before.to_bytes())
    assert keychain.keys() == before
    rotated = rotate(file)
    assert keychain.keys() == rotated
    assert (told, keychain.is_held_back) == ([False, True, True], False)


@pytest.mark.parametrize(("damage", "says"), [(damaged, "is damaged"), (gone, "cannot read")])
def test_nobody_starts_with_or_changes_a_file_that_is_damaged_or_gone(
    file: Path, damage: Callable[[Path], None], says: str
) -> None:
    damage(file)
    before = {path.name: path.read_bytes() for path in file.parent.iterdir()}
    with pytest.raises(StartRefused, match=says):
        Keychain(file)
    with pytest.raises(StartRefused, match=says):
        rotate(file)
    assert {path.name: path.read_bytes() for path in file.parent.iterdir()} == before


def test_a_damaged_file_is_not_made_anew_at_a_start(file: Path) -> None:
    damaged(file)
    with pytest.raises(StartRefused, match="is damaged"):
        load_or_create_keys(file, NOW)
    assert file.read_bytes() == b"nonsense"


def test_what_root_writes_belongs_to_whom_it_did(file: Path) -> None:
    owner = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()
    os.chown(file, owner, -1)
    rotate(file)
    assert file.stat().st_uid == owner
