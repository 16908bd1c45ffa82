"""Fairness: nobody has more than their share, nobody starves, and whoever keeps to the rate is never refused."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_api.identity.v1 import identity_pb2
from capsule_core.errors import RateExceeded, StreamsExceeded
from capsule_core.names import TenantId
from capsule_services.runtime.admission import Admission
from capsule_services.runtime.fairness import Allowance, Rate, Streams, Turns
from capsule_services.runtime.policy import HEALTH, Rule
from capsule_services.runtime.workers import ANYONE, NEWCOMERS, OPERATIONS, SERVICES, Workers
from tests.services.office import CONTACTS, rules_of

TENANTS = ["acme", "rival", "third", "fourth"]
WIDTHS = st.integers(1, 8)
ACME = TenantId("acme")
READ, EXPORT = rules_of(CONTACTS)["GetContact"], rules_of(CONTACTS)["ExportContacts"]
SIGNING_KEYS = rules_of(identity_pb2.DESCRIPTOR.services_by_name["IdentityService"])["GetSigningKeys"]

# A name: a job of that party arrives. A number: one of those under way ends, whichever it picks.
STEPS = st.lists(st.sampled_from(TENANTS) | st.integers(0, 7), max_size=120)


@attrs.define
class Played:
    """Turns that were taken: who is under way, who waits since how many turns of whom."""

    turns: Turns[int]
    under_way: list[str] = attrs.Factory(list)
    begun: list[tuple[str, int]] = attrs.Factory(list)
    added: list[tuple[str, int]] = attrs.Factory(list)

    def step(self, step: str | int) -> None:
        if isinstance(step, str):
            self.added.append((step, len(self.added)))
            self.turns.add(*self.added[-1])
        elif self.under_way:
            self.turns.end(self.under_way.pop(step % len(self.under_way)))
        while (next_one := self.turns.begin()) is not None:
            self.begun.append(next_one)
            self.under_way.append(next_one[0])

    def drain(self) -> None:
        while self.under_way:
            self.step(0)


def half(width: int) -> Turns[int]:
    return Turns(width, lambda _: max(width // 2, 1))


@given(WIDTHS, STEPS)
def test_nobody_has_more_than_their_share_and_all_together_no_more_than_there_is(
    width: int, steps: list[str | int]
) -> None:
    played = Played(half(width))
    for step in steps:
        played.step(step)
        assert len(played.under_way) == played.turns.busy <= width
        assert all(count <= max(width // 2, 1) for count in Counter(played.under_way).values())


@given(WIDTHS, STEPS)
def test_no_thread_is_idle_while_somebody_waits_who_may_go_on(width: int, steps: list[str | int]) -> None:
    played = Played(half(width))
    for step in steps:
        played.step(step)
        under_way = Counter(played.under_way)
        may_go_on = [each for each in TENANTS if played.turns.waiting(each) and under_way[each] < max(width // 2, 1)]
        assert not may_go_on or len(played.under_way) == width


@given(WIDTHS, STEPS)
def test_everything_is_begun_once_and_each_tenants_calls_in_the_order_they_came(
    width: int, steps: list[str | int]
) -> None:
    played = Played(half(width))
    for step in steps:
        played.step(step)
    played.drain()
    for tenant in TENANTS:
        assert [n for who, n in played.begun if who == tenant] == [n for who, n in played.added if who == tenant]


@given(st.integers(2, 8), STEPS, st.integers(10, 60))
def test_nobody_waits_for_more_than_one_turn_of_each_other(width: int, steps: list[str | int], crowd: int) -> None:
    played = Played(half(width))
    for step in [*["acme"] * crowd, *["rival"] * crowd, *steps, "late"]:
        played.step(step)
    before = len(played.begun)
    played.drain()
    at = next(place for place, (who, _) in enumerate(played.begun) if who == "late")
    assert max(Counter(who for who, _ in played.begun[before:at]).values(), default=0) <= 1


@given(WIDTHS, STEPS)
def test_whoever_neither_waits_nor_works_takes_no_room(width: int, steps: list[str | int]) -> None:
    played = Played(half(width))
    for step in steps:
        played.step(step)
    played.drain()
    turns = played.turns
    assert (turns.busy, turns._waiting, turns._working, turns._order) == (0, {}, {}, deque())


PAUSES = st.lists(st.floats(0, 0.5), min_size=1, max_size=80)


@given(st.integers(1, 50), st.integers(1, 20), PAUSES)
def test_in_any_stretch_of_time_a_tenant_makes_its_burst_and_what_the_rate_gives(
    calls: int, burst: int, pauses: list[float]
) -> None:
    allowance, now, made = Allowance(Rate(calls, burst)), 100.0, list[float]()
    for pause in pauses:
        now += pause
        try:
            allowance.take(ACME, now=now)
            made.append(now)
        except RateExceeded as error:
            late = now + error.milliseconds / 1000
            assert late > now
            promised = Allowance(Rate(calls, burst))
            promised._full_at.update(allowance._full_at)
            promised.take(ACME, now=late)
    for first, begin in enumerate(made):
        for last in range(first, len(made)):
            assert last - first + 1 <= burst + calls * (made[last] - begin) + 1e-6


@given(st.integers(1, 50), st.integers(1, 5), st.integers(1, 200))
def test_whoever_keeps_to_the_rate_is_never_refused_however_much_another_asks(
    calls: int, burst: int, count: int
) -> None:
    allowance = Allowance(Rate(calls, burst))
    refused = 0
    for number in range(count):
        allowance.take(ACME, now=number / calls)
        for _ in range(10):
            try:
                allowance.take(TenantId("rival"), now=number / calls)
            except RateExceeded:
                refused += 1
    assert refused >= 9 * count - burst


def test_tenants_that_do_not_call_take_no_room() -> None:
    allowance = Allowance(Rate(10, 10))
    for number in range(20_000):
        allowance.take(TenantId(f"t{number}"), now=number / 100)
    assert len(allowance._full_at) <= 1024


def test_a_bucket_that_is_not_full_is_kept_however_many_others_come() -> None:
    allowance = Allowance(Rate(1, 5))
    for _ in range(5):
        allowance.take(ACME, now=0)
    for number in range(5_000):
        allowance.take(TenantId(f"t{number}"), now=0.5)
    with pytest.raises(RateExceeded):
        allowance.take(ACME, now=0.5)


def test_a_stream_more_than_a_tenant_may_have_is_refused_until_one_ends() -> None:
    streams = Streams(1)
    with streams.held(ACME):
        with pytest.raises(StreamsExceeded), streams.held(ACME):
            raise AssertionError
        with streams.held(TenantId("rival")):
            pass
    with streams.held(ACME):
        pass
    assert not streams._open


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers("test", 8)
    yield made
    made.shutdown()


@attrs.define
class Gate:
    """Jobs that stand at a gate; *begun* counts those that came as far."""

    opened: threading.Event = attrs.Factory(threading.Event)
    begun: threading.Semaphore = attrs.Factory(lambda: threading.Semaphore(0))
    order: list[str] = attrs.Factory(list)

    def job(self, name: str) -> Callable[[], None]:
        def stand() -> None:
            self.order.append(name)
            self.begun.release()
            assert self.opened.wait(30)

        return stand

    def arrived(self, count: int) -> bool:
        return all(self.begun.acquire(timeout=10) for _ in range(count))


def submit(workers: Workers, party: str, job: Callable[[], None], *, stream: bool = False) -> None:
    workers.expect(party, stream=stream)
    workers.submit(job)


def test_a_tenant_that_asks_much_leaves_half_of_the_threads(workers: Workers) -> None:
    gate, free = Gate(), Gate()
    free.opened.set()
    for _ in range(100):
        submit(workers, "acme", gate.job("acme"))
    assert gate.arrived(4)
    for number in range(50):
        submit(workers, f"t{number}", free.job("other"))
    assert free.arrived(50)
    assert gate.order == ["acme"] * 4
    gate.opened.set()
    assert gate.arrived(96)


def test_those_who_have_shown_no_token_leave_a_thread_to_those_who_have(workers: Workers) -> None:
    gate, free = Gate(), Gate()
    free.opened.set()
    for party in (NEWCOMERS, ANYONE, SERVICES, OPERATIONS):
        for _ in range(20):
            submit(workers, party, gate.job(party))
    assert gate.arrived(7)
    submit(workers, "acme", free.job("acme"))
    assert free.arrived(1)
    assert Counter(gate.order) == {NEWCOMERS: 2, ANYONE: 2, SERVICES: 2, OPERATIONS: 1}
    gate.opened.set()


def test_calls_overtake_streams(workers: Workers) -> None:
    gate, free = Gate(), Gate()
    free.opened.set()
    for number in range(30):
        submit(workers, f"t{number}", gate.job("stream"), stream=True)
    assert gate.arrived(8)
    submit(workers, "t1", free.job("call"))
    assert free.arrived(1)
    gate.opened.set()


def test_a_refusal_waits_for_nobody(workers: Workers) -> None:
    gate, free = Gate(), Gate()
    free.opened.set()
    for number in range(30):
        submit(workers, f"t{number}", gate.job("call"))
    assert gate.arrived(8)
    workers.expect_refusal()
    workers.submit(free.job("refusal"))
    assert free.arrived(1)
    gate.opened.set()


def test_a_tenant_that_lets_too_much_wait_is_refused_and_others_are_not(workers: Workers) -> None:
    gate = Gate()
    for _ in range(4 + 128):
        submit(workers, "acme", gate.job("acme"))
    with pytest.raises(RateExceeded):
        workers.expect("acme", stream=False)
    workers.expect("rival", stream=False)
    gate.opened.set()


def test_a_job_that_fails_tells_its_future_and_costs_no_thread(workers: Workers) -> None:
    def fail() -> None:
        raise LookupError

    for _ in range(20):
        workers.expect("acme", stream=False)
        with pytest.raises(LookupError):
            workers.submit(fail).result(10)


def test_threads_are_started_when_they_are_needed_and_end_with_the_server() -> None:
    before, workers, gate = threading.active_count(), Workers("test", 8), Gate()
    assert threading.active_count() == before
    for _ in range(3):
        submit(workers, "acme", gate.job("acme"))
    assert gate.arrived(3)
    assert threading.active_count() == before + 3
    gate.opened.set()
    workers.shutdown()
    assert threading.active_count() == before


class Noted(Workers):
    """Notes whose calls it was told to expect."""

    def __init__(self) -> None:
        super().__init__("test", 8)
        self.told: list[tuple[str, bool]] = []

    def expect(self, party: str, *, stream: bool) -> None:
        super().expect(party, stream=stream)
        self.told.append((party, stream))


def metadata(token: str) -> Sequence[tuple[str, str]]:
    return [("user-agent", "x"), ("authorization", f"Bearer {token}")]


def admission(rate: Rate | None = None) -> tuple[Admission, Noted]:
    workers = Noted()
    allowance = None if rate is None else Allowance(rate)
    return Admission(workers=workers, streams=Streams(4), allowance=allowance, seconds=lambda: 7.0), workers


def test_a_token_counts_for_its_tenant_once_it_was_proved_and_not_before() -> None:
    admitting, workers = admission()
    assert not admitting.arrive(READ, metadata("one"), stream=False)
    admitting.recognise(metadata("one"), ACME)
    assert admitting.arrive(READ, metadata("one"), stream=False)
    assert admitting.arrive(EXPORT, metadata("one"), stream=True)
    assert not admitting.arrive(READ, metadata("two"), stream=False)
    assert not admitting.arrive(READ, [], stream=False)
    assert workers.told == [(NEWCOMERS, False), ("acme", False), ("acme", True), (NEWCOMERS, False), (NEWCOMERS, False)]


@pytest.mark.parametrize(
    ("rule", "party"),
    [
        (HEALTH[0], OPERATIONS),
        (SIGNING_KEYS, OPERATIONS),
        (attrs.evolve(READ, callers=type(READ.callers).ANYONE), ANYONE),
        (attrs.evolve(READ, callers=type(READ.callers).SERVICES), SERVICES),
    ],
)
def test_a_token_is_no_passport_where_none_is_asked_for(rule: Rule, party: str) -> None:
    admitting, workers = admission(Rate(1, 1))
    admitting.recognise(metadata("one"), ACME)
    for _ in range(3):
        assert not admitting.arrive(rule, metadata("one"), stream=False)
    assert workers.told == [(party, False)] * 3


def test_every_call_is_counted_once_whether_it_was_known_or_not() -> None:
    admitting, _ = admission(Rate(1, 3))
    assert not admitting.arrive(READ, metadata("one"), stream=False)
    admitting.recognise(metadata("one"), ACME)
    for _ in range(2):
        assert admitting.arrive(READ, metadata("one"), stream=False)
    with pytest.raises(RateExceeded):
        admitting.arrive(READ, metadata("one"), stream=False)
    with pytest.raises(RateExceeded):
        admitting.recognise(metadata("another token of theirs"), ACME)
    admitting.recognise(metadata("rival"), TenantId("rival"))


def test_tokens_take_no_more_room_than_they_may() -> None:
    admitting, _ = admission()
    for number in range(10_000):
        admitting.recognise(metadata(str(number)), ACME)
    assert len(admitting._tenants) <= 4096
    assert admitting.arrive(READ, metadata("9999"), stream=False)
