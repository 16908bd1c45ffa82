"""Renewal: a good certificate is taken at once, a bad one never, and that is told once and until it is over."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import attrs
import pytest

from capsule_services.runtime.certificates import Credential, prepared
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.proofs import Flaw, Proof
from capsule_services.runtime.renewal import SETTLED, Renewal
from tests.services.certified import BAD, Maker, put
from tests.services.chassis import wall

MOMENT = timedelta(milliseconds=100)


@attrs.define
class Service:
    """A service with a renewal, at a time that the test sets, and what it was told."""

    credential: Credential
    maker: Maker = attrs.field(factory=Maker)
    now: datetime = attrs.field(factory=wall)
    told: list[Flaw | None] = attrs.field(factory=list)
    renewal: Renewal = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        put(self.maker.proof(), self.credential)
        self.renewal = Renewal(self.credential, "contacts", lambda: self.now, self.told.append)
        self.renewal.read()

    def pass_by(self, span: timedelta, *, asked: int = 5) -> None:
        """Let time go by, in which the proof is asked for again and again."""
        for _ in range(asked):
            self.now += span / asked
            self.renewal.read()


@pytest.fixture
def service(tmp_path: Path) -> Service:
    return Service(prepared(tmp_path, ["contacts"], now=wall())["contacts"])


def test_a_good_one_is_taken_the_next_time_it_is_asked_for(service: Service) -> None:
    for _ in range(3):
        fresh = service.maker.proof()
        put(fresh, service.credential)
        assert service.renewal.read() == fresh
    assert service.told == [None] * 3


@pytest.mark.parametrize(("made", "flaw"), BAD.values(), ids=BAD)
def test_a_bad_one_is_never_shown_and_told_once_however_often_it_is_asked_for(
    service: Service, made: Callable[[Maker], Proof], flaw: Flaw
) -> None:
    before = service.renewal.read()
    put(made(service.maker), service.credential)
    service.pass_by(timedelta(minutes=1), asked=200)
    assert service.renewal.read() == before
    assert service.renewal.is_held_back
    assert service.told == [flaw]


def test_each_bad_one_is_told_and_the_alarm_ends_with_a_good_one(service: Service) -> None:
    for name in ("garbage", "expired"):
        put(BAD[name][0](service.maker), service.credential)
        service.pass_by(timedelta(minutes=1))
    assert service.told == [Flaw.DAMAGED, Flaw.TIME]
    put(service.maker.proof(), service.credential)
    service.pass_by(MOMENT)
    assert service.told == [Flaw.DAMAGED, Flaw.TIME, None]
    assert not service.renewal.is_held_back


def test_the_alarm_ends_when_the_old_one_is_put_back(service: Service) -> None:
    before = service.renewal.read()
    put(BAD["garbage"][0](service.maker), service.credential)
    service.pass_by(timedelta(minutes=1))
    put(before, service.credential)
    service.pass_by(timedelta(minutes=1))
    assert service.told == [Flaw.DAMAGED, None]


def test_files_that_are_being_replaced_one_after_the_other_are_no_alarm(service: Service) -> None:
    before, fresh = service.renewal.read(), Maker().proof()
    halves = [
        attrs.evolve(before, authority=fresh.authority),
        attrs.evolve(fresh, certificate=before.certificate),
        attrs.evolve(fresh, certificate=fresh.certificate[:200]),
    ]
    for half in halves:
        put(half, service.credential)
        service.pass_by(SETTLED - MOMENT)
        assert service.renewal.read() == before
    put(fresh, service.credential)
    assert service.renewal.read() == fresh
    assert service.told == [None]


def test_files_that_are_gone_are_an_alarm_and_the_old_one_goes_on(service: Service) -> None:
    before = service.renewal.read()
    service.credential.key.unlink()
    service.pass_by(timedelta(minutes=1))
    assert service.renewal.read() == before
    assert service.told == [Flaw.DAMAGED]


def test_one_of_tomorrow_is_taken_tomorrow(service: Service) -> None:
    early = service.maker.proof(days=1)
    put(early, service.credential)
    service.pass_by(timedelta(minutes=1))
    assert service.renewal.read() != early
    service.pass_by(timedelta(days=1))
    assert service.renewal.read() == early
    assert service.told == [Flaw.TIME, None]


def test_files_that_were_touched_and_not_changed_are_nothing_to_tell(service: Service) -> None:
    put(service.renewal.read(), service.credential)
    service.pass_by(timedelta(minutes=1))
    assert service.told == []


@pytest.mark.parametrize(("made", "flaw"), BAD.values(), ids=BAD)
def test_whoever_has_none_that_is_good_does_not_start(
    tmp_path: Path, made: Callable[[Maker], Proof], flaw: Flaw
) -> None:
    credential = prepared(tmp_path, ["contacts"], now=wall())["contacts"]
    put(made(Maker()), credential)
    with pytest.raises(StartRefused, match=flaw.value):
        Renewal(credential, "contacts", wall).read()
