"""A keystore in OpenBao: it keeps the contract, and every call is done or not done, whatever happens on the way."""

from __future__ import annotations

import logging
import random
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capsule_core.errors import (
    CapsuleError,
    KeystoreDenied,
    KeystoreUnreachable,
    RootKeyAbsent,
    SealBroken,
    Unavailable,
)
from capsule_core.names import TenantId
from capsule_core.pages import AT_ONCE, TENANT_SECRET, KeyMoved, PageKey
from capsule_core.testing.conformance.keystore import run_keystore_conformance
from capsule_core.wrapping import RootKey, Roots
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.openbao import shards
from capsule_services.runtime.openbao.address import address_from
from capsule_services.runtime.openbao.keystore import BaoKeystore, KeepsVersions
from capsule_sql.failures import ForeignKeystore
from tests.services.bao import IMPATIENT, PATIENT, Asked, Fault, Server, serving

ROOT = bytes(range(32))
ACME, ZETA = TenantId("acme"), TenantId("zeta")
_NUMBERS = count()

FEWER = settings(settings(), max_examples=max(8, settings().max_examples // 4))
"""Each example is dozens of requests, and some cost a client its patience."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("bao")) as made:
        yield made


@pytest.fixture
def server(running: Server) -> Iterator[Server]:
    """Empty and well."""
    emptied(running)
    yield running
    running.fault = lambda _: None
    running.wait()


def emptied(server: Server) -> None:
    server.fault = lambda _: None
    server.wait()
    server.entries.clear()
    server.asked.clear()
    server.untidy = 0
    server.config["max_versions"] = 1


def opened(server: Server, folder: str = "/contacts", *, roots: bytes | Roots = ROOT, timeout: Any = PATIENT) -> Any:
    return BaoKeystore(server.client(folder, timeout=timeout), roots, secrets.token_bytes)


def key(page: int, tenant: TenantId = ACME) -> PageKey:
    return PageKey(tenant=tenant, page=page, id=secrets.token_bytes(8), key=secrets.token_bytes(32))


def left_of(server: Server, *keys: PageKey) -> list[PageKey]:
    written = b"".join(server.files())
    return [each for each in keys if each.id in written or each.key in written]


@pytest.fixture(params=[512, 1], ids=["one secret", "a secret for each page"])
def _width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many pages one secret holds: at 1, every change of two pages spans two secrets."""
    monkeypatch.setattr(shards, "PAGES", request.param)


@attrs.define
class Under:
    """A keystore in a folder of its own."""

    server: Server
    folder: str = attrs.field(factory=lambda: f"/f{next(_NUMBERS)}")
    store: BaoKeystore = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.reopen()

    def reopen(self) -> None:
        self.store = opened(self.server, self.folder)

    def files(self) -> list[bytes]:
        return self.server.files()

    def close(self) -> None:
        self.server.entries.clear()


@pytest.mark.usefixtures("_width")
def test_it_keeps_the_contract_of_a_keystore(server: Server) -> None:
    assert run_keystore_conformance(lambda: Under(server), settings=FEWER) == ()


def test_a_change_of_the_most_keys_at_once_stays_far_below_what_a_storage_takes(server: Server) -> None:
    store = opened(server)
    pages = range(shards.PAGES - 1, shards.PAGES - 1 + AT_ONCE)
    sizes: list[int] = []

    def measure(_: Asked) -> None:
        sizes.extend(len(str(version)) for entry in server.entries.values() for version in entry.versions.values())

    server.fault = measure
    store.put([key(page) for page in pages])
    store.replace([(held.id, key(page)) for page, held in zip(pages, store.get(ACME, pages), strict=True) if held])
    assert 100_000 < max(sizes) < 200_000
    assert len([name for name in server.entries if name.startswith("contacts/") and name != "contacts/seals"]) == 3


# What befalls requests


def befalling(chance: random.Random, share: float) -> Callable[[Asked], Fault | None]:
    lock = threading.Lock()

    def fault(_: Asked) -> Fault | None:
        with lock:
            if chance.random() >= share:
                return None
            slow = {Fault.SLOW_AFTER, Fault.LATE}  # they cost a client its patience
            return chance.choice([each for each in Fault if each not in slow or chance.random() < 0.07])

    return fault


@pytest.mark.usefixtures("_width")
@given(seed=st.integers(0, 2**32), share=st.sampled_from((0.1, 0.3, 0.7)))
@FEWER
def test_every_call_is_done_or_not_done_whatever_befalls_its_requests(running: Server, seed: int, share: float) -> None:
    """With what a call that failed may have done seen afterwards, past all faults."""
    emptied(running)
    chance = random.Random(seed)  # noqa: S311  a seed, so that a failure comes again
    store, calm = opened(running, timeout=IMPATIENT), opened(running)
    model: dict[tuple[TenantId, int], PageKey] = {}
    gone: list[PageKey] = []
    for _ in range(10):
        tenant, pages = chance.choice((ACME, ZETA)), chance.sample(range(3), chance.randint(1, 3))
        fresh = [key(page, tenant) for page in pages]
        held = [model.get((tenant, page)) for page in pages]
        after = {**model, **{(tenant, each.page): each for each in fresh}}
        way = chance.choice(("put", "replace", "replace", "close"))
        running.fault = befalling(chance, share)
        try:
            if way == "put":
                store.put(fresh)
                assert not any(held)
            elif way == "replace":
                store.replace([(old.id if old else b"missing.", new) for old, new in zip(held, fresh, strict=True)])
                assert all(held)
            else:
                mark = key(TENANT_SECRET, tenant)
                after = {place: each for place, each in model.items() if place[0] != tenant}
                after[tenant, TENANT_SECRET] = mark
                store.close(mark)
            done = True
        except KeyMoved:
            assert way != "close"
            assert any(held) if way == "put" else not all(held)
            done = False
        except KeystoreUnreachable:
            done = None
        running.fault = lambda _: None
        running.wait()
        seen = {(t, p): k for t in (ACME, ZETA) for p, k in enumerate(calm.get(t, range(3))) if k is not None}
        assert seen in ([after] if done else [model] if done is False else [model, after])
        if done:
            assert left_of(running, *(each for place, each in model.items() if after.get(place) != each)) == []
        gone += [each for place, each in model.items() if seen.get(place) != each]
        model = seen
    for tenant in (ACME, ZETA):
        calm.close(key(TENANT_SECRET, tenant))
    assert left_of(running, *gone, *model.values()) == []


@pytest.mark.usefixtures("_width")
@given(seed=st.integers(0, 2**32))
@FEWER
def test_of_many_who_change_the_same_keys_among_faults_each_follows_on_one_other(running: Server, seed: int) -> None:
    """The keys of a page are a chain: nothing acknowledged is lost, and no key is replaced twice."""
    emptied(running)
    chance = random.Random(seed)  # noqa: S311  a seed, so that a failure comes again
    first = [key(page) for page in range(3)]
    opened(running).put(first)
    done: list[tuple[bytes, PageKey]] = []
    maybe: list[tuple[bytes, PageKey]] = []
    dice = [random.Random(chance.random()) for _ in range(4)]  # noqa: S311

    def work(store: BaoKeystore, mine: random.Random) -> None:
        for _ in range(6):
            pages = mine.sample(range(3), mine.randint(1, 3))
            with suppress(KeyMoved, KeystoreUnreachable):
                held = store.get(ACME, pages)
                changes = [(old.id, key(old.page)) for old in held if old is not None]
                assert len(changes) == len(pages)
                try:
                    store.replace(changes)
                    done.extend(changes)
                except KeystoreUnreachable:
                    maybe.extend(changes)

    threads = [threading.Thread(target=work, args=[opened(running, timeout=IMPATIENT), each]) for each in dice]
    for thread in threads:
        thread.start()
    running.fault = befalling(chance, 0.2)
    for thread in threads:
        thread.join(60)
    running.fault = lambda _: None
    running.wait()
    last = opened(running).get(ACME, range(3))
    replaced = [old for old, _ in done]
    assert len(replaced) == len(set(replaced)), "a key was replaced twice"
    followed = {old for old, _ in (*done, *maybe)}
    for made in last:
        assert made in [*first, *(new for _, new in (*done, *maybe))]
    assert all(new in last or new.id in followed for _, new in done), "an acknowledged key is lost"
    for page in range(3):
        chain = {old: new for old, new in (*maybe, *done) if new.page == page}
        here: PageKey | None = first[page]
        while here is not None and here not in last:
            here = chain.get(here.id)
        assert here is not None
    assert left_of(running, *(each for each in first if each not in last and each.id in replaced)) == []


def test_what_was_decided_is_not_done_again_by_who_comes_late(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper reads what another left undone, and stands still while everybody goes on without it."""
    monkeypatch.setattr(shards, "PAGES", 1)
    old, second, third = key(1), key(1), key(1)
    store = opened(server)
    store.put([old])
    writes = count()

    def ends_when_decided(asked: Asked) -> Fault | None:
        return Fault.SEALED if asked[0] == "POST" and next(writes) else None

    server.fault = ends_when_decided
    with pytest.raises(Unavailable):
        store.replace([(old.id, second)])
    stands, goes_on = threading.Event(), threading.Event()

    def stand(asked: Asked) -> None:
        if asked[0] == "POST" and asked[1].endswith("/1") and not stands.is_set():
            stands.set()
            assert goes_on.wait(30)

    server.fault = stand
    late = threading.Thread(target=opened(server).get, args=(ACME, [1]))
    late.start()
    assert stands.wait(30)
    others = opened(server)
    assert others.get(ACME, [1]) == [second]
    others.replace([(second.id, third)])
    goes_on.set()
    late.join(30)
    assert others.get(ACME, [1]) == [third]
    assert left_of(server, old, second) == []


@pytest.mark.usefixtures("_width")
def test_a_version_that_the_server_did_not_put_away_is_put_away_before_anybody_is_told(server: Server) -> None:
    store = opened(server)
    old = [key(0), key(1)]
    store.put(old)
    server.untidy = 1
    store.replace([(each.id, key(each.page)) for each in old])
    assert left_of(server, *old) == []
    for entry in server.entries.values():
        entry.most = 10  # somebody lets this one have versions
    kept = [each for each in store.get(ACME, [0, 1]) if each is not None]
    store.replace([(each.id, key(each.page)) for each in kept])
    assert left_of(server, *kept) == []
    assert any(entry.destroyed for entry in server.entries.values())


# What lets us in, and what is refused


def test_a_new_token_is_taken_up_when_the_old_one_ends(server: Server) -> None:
    store = opened(server)
    kept = key(1)
    store.put([kept])
    server.tokens = {"another-one"}
    with pytest.raises(KeystoreDenied):
        store.get(ACME, [1])
    server.token_file.write_text("another-one")
    assert store.get(ACME, [1]) == [kept]


def test_an_approle_signs_in_and_signs_in_again(server: Server, tmp_path: Path) -> None:
    server.roles["contacts"] = "secret-of-contacts"
    file = tmp_path / "approle"
    file.write_text("contacts\nsecret-of-contacts\n")
    address = attrs.evolve(server.address(), token=file)
    store = BaoKeystore(attrs.evolve(server.client(), address=address), ROOT, secrets.token_bytes)
    kept = key(1)
    store.put([kept])
    server.tokens.clear()
    assert store.get(ACME, [1]) == [kept]
    server.roles.clear()
    server.tokens.clear()
    with pytest.raises(KeystoreDenied):
        store.get(ACME, [1])
    server.tokens.add(server.token_file.read_text().strip())


def test_an_engine_that_keeps_versions_is_refused(server: Server) -> None:
    server.config["max_versions"] = 0
    with pytest.raises(KeepsVersions, match="max_versions=1"):
        opened(server)
    assert server.entries == {}


def test_a_keystore_under_another_root_key_is_refused_and_left_alone(server: Server) -> None:
    opened(server).put([key(1)])
    before = str(server.entries)
    with pytest.raises(ForeignKeystore, match="another deployment"):
        opened(server, roots=bytes(32))
    assert str(server.entries) == before


def test_a_root_key_that_was_not_handed_on_is_told_from_damage(server: Server) -> None:
    store = opened(server)
    store.put([key(1)])
    new = RootKey(secrets.token_bytes(32))
    store.adopt(new)
    elsewhere = opened(server, roots=Roots(lambda: (ROOT, new.key)))
    held = elsewhere.get(ACME, [1])[0]
    assert held is not None
    elsewhere.replace([(held.id, key(1))])
    with pytest.raises(RootKeyAbsent):
        store.get(ACME, [1])


@pytest.mark.parametrize("place", [0, 6, 7, 10, 20, 40, 83])
def test_a_row_that_was_altered_does_not_open(server: Server, place: int) -> None:
    store = opened(server)
    store.put([key(0), key(1)])
    (entry,) = [entry for name, entry in server.entries.items() if name.endswith("/0")]
    packed = bytearray(shards.base64.b64decode(entry.versions[entry.newest]["rows"]))
    packed[place] ^= 1
    entry.versions[entry.newest]["rows"] = shards.base64.b64encode(packed).decode()
    with pytest.raises(SealBroken):
        store.get(ACME, [0])


@pytest.mark.parametrize("data", [{}, {"rows": "no base64"}, {"rows": "AAAA", "root": "", "done": []}, {"root": 7}])
def test_a_secret_of_somebody_else_is_data_loss_and_never_nothing(server: Server, data: Any) -> None:
    store = opened(server)
    store.put([key(1)])
    (entry,) = [entry for name, entry in server.entries.items() if name.endswith("/0")]
    entry.versions[entry.newest] = data
    with pytest.raises(SealBroken):
        store.get(ACME, [1])
    entry.deleted.add(entry.newest)
    with pytest.raises(SealBroken):
        store.get(ACME, [1])


@pytest.mark.parametrize(
    "url", ["http://bao/capsule", "https://bao", "https://bao/", "https://bao/a?b", "https://u:p@bao/a", "bao/a", "x"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(StartRefused, match="CAPSULE_KEYSTORE must be"):
        address_from({"CAPSULE_KEYSTORE": url, "CAPSULE_KEYSTORE_TOKEN": "/t"})


def test_an_address_needs_a_token_and_is_read_as_it_is_written() -> None:
    with pytest.raises(StartRefused, match="CAPSULE_KEYSTORE_TOKEN"):
        address_from({"CAPSULE_KEYSTORE": "https://bao:8200/capsule"})
    assert address_from({}) is None
    address = address_from({"CAPSULE_KEYSTORE": "https://[::1]:8200/capsule/eu/", "CAPSULE_KEYSTORE_TOKEN": "/t"})
    assert address is not None
    assert address.below("contacts").url == "https://[::1]:8200/capsule/eu/contacts"


def test_no_key_token_or_tenant_is_in_what_is_sent_in_the_clear_logged_or_raised(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token = server.token_file.read_text().strip()
    store = opened(server, timeout=IMPATIENT)
    kept = key(1)
    store.put([kept])
    told = [repr(store), repr(store._bao)]
    for fault in Fault:
        server.fault = lambda _, fault=fault: fault
        try:
            store.replace([(kept.id, key(1))])
        except CapsuleError as error:
            told += [str(error), repr(error), repr(error.__cause__), str(error.metadata)]
            assert error.__suppress_context__
    server.fault = lambda _: None
    told += [record.getMessage() for record in caplog.records]
    told += [f"{method} {path}" for method, path in server.asked]
    text = " ".join(told)
    assert "acme" not in text
    assert token not in text
    assert kept.key.hex() not in text
    assert str(kept.key)[2:-1] not in text
    assert len(told) > 40
