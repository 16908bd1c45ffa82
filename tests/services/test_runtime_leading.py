"""Leading: one alone at a time, the next when it is gone, and nobody serves before what was left is done."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import attrs
import pytest

from capsule_core.errors import Unavailable
from capsule_services.runtime import leading
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.leading import Leading
from capsule_services.runtime.log import made_log


@attrs.define
class Process:
    """Somebody who may lead, and what they have done so far."""

    folder: Path
    resuming: Callable[[], object] = lambda: None
    begun: Callable[[], object] = lambda: None
    shared: bool = True
    done: list[str] = attrs.Factory(list)
    leads: threading.Event = attrs.Factory(threading.Event)
    stopped: threading.Event = attrs.Factory(threading.Event)
    leading: Leading = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        log = made_log(StringIO(), service="contacts")
        self.leading = Leading(self.folder, self._resume, self._lead, self.stopped, log, self.shared)

    def begin(self) -> None:
        self.leading.begin()

    def die(self) -> None:
        """Let go of every lock, as the operating system does for who is killed."""
        self.leading._lead.close()

    def _resume(self) -> None:
        self.resuming()
        self.done.append("resumed")

    def _lead(self) -> None:
        self.begun()
        self.done.append("led")
        self.leads.set()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Makes processes that share a folder; none of their threads is left."""
    made: list[Process] = []

    def make(**more: Any) -> Process:
        made.append(Process(tmp_path, **more))
        return made[-1]

    yield make
    for each in made:
        each.stopped.set()
    locks = [each.leading._lead for each in made if hasattr(each.leading, "_lead")]
    while waiting := [thread for thread in threading.enumerate() if thread.name == "leading"]:
        for lock in locks:
            if not lock.closed:
                fcntl.flock(lock, fcntl.LOCK_UN)  # not closed yet: somebody may be about to wait for it
        waiting[0].join(0.01)
    for each in made:
        if hasattr(each.leading, "_lead"):
            each.die()


def test_one_leads_and_the_others_follow_one_after_the_other(process: Callable[..., Process]) -> None:
    crew = [process() for _ in range(4)]
    for each in crew:
        each.begin()
    assert [each.done for each in crew] == [["resumed", "led"], *[["resumed"]] * 3]
    while crew:
        (leader,) = (each for each in crew if each.leads.is_set())
        crew.remove(leader)
        leader.die()
        if crew:
            while not any(each.leads.wait(0.01) for each in crew):
                pass


def test_whoever_leads_next_first_does_what_the_last_one_left(process: Callable[..., Process]) -> None:
    first, second = process(), process()
    first.begin()
    second.begin()
    first.die()
    assert second.leads.wait(30)
    assert second.done == ["resumed", "resumed", "led"]


def test_who_begins_while_the_heir_has_not_begun_does_not_rely_on_it(process: Callable[..., Process]) -> None:
    """The leader dies in the middle of the beginning of a third: the heir has the lead, and has done nothing yet."""
    leader, heir = process(), process()
    leader.begin()
    heir.begin()
    third = process(resuming=leader.die)
    third.begin()
    assert third.done[0] == "resumed", "it may serve now"
    while not (heir.leads.wait(0.01) or third.leads.is_set()):
        pass
    assert [heir.leads.is_set(), third.leads.is_set()].count(True) == 1


def test_two_do_not_resume_at_the_same_time(process: Callable[..., Process]) -> None:
    inside, most = threading.Semaphore(1), list[bool]()

    def resume() -> None:
        alone = inside.acquire(blocking=False)
        most.append(alone)
        if alone:
            inside.release()

    threads = [threading.Thread(target=process(resuming=resume).begin) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert most == [True] * 8


def test_duties_that_cannot_be_taken_up_yet_are_tried_again(
    process: Callable[..., Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leading, "_AGAIN", 0.001)
    leader, heir, refusals = process(), process(), iter([Unavailable, Unavailable])
    leader.begin()
    heir.begin()

    def resume() -> None:
        for refusal in refusals:
            raise refusal

    heir.resuming = resume
    leader.die()
    assert heir.leads.wait(30)
    assert not heir.stopped.is_set()


def test_who_cannot_take_over_at_all_ends_rather_than_look_well(process: Callable[..., Process]) -> None:
    leader, heir = process(), process(begun=lambda: {}["nobody foresaw this"])
    leader.begin()
    heir.begin()
    told, threading.excepthook = threading.excepthook, lambda _: None
    try:
        leader.die()
        assert heir.stopped.wait(30)
    finally:
        threading.excepthook = told


def test_one_that_cannot_resume_does_not_serve(process: Callable[..., Process]) -> None:
    def refuse() -> None:
        raise Unavailable

    with pytest.raises(Unavailable):
        process(resuming=refuse).begin()


def test_in_a_folder_that_is_not_shared_whoever_does_not_lead_is_refused(process: Callable[..., Process]) -> None:
    first, second = process(shared=False), process(shared=False)
    first.begin()
    with pytest.raises(StartRefused, match="capsule db init"):
        second.begin()
    assert second.done == []
    first.die()
    process(shared=False).begin()
