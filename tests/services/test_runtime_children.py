"""The processes of a deployment: one that cannot begin is told of and not begun again and again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from capsule_services.runtime.children import Child, Children
from capsule_services.runtime.faults import StartRefused


@pytest.fixture
def children(tmp_path: Path) -> Iterator[Children]:
    read_end, write_end = os.pipe()
    made = Children(tmp_path, read_end)
    yield made
    made.stop(["contacts"])
    os.close(write_end)
    os.close(read_end)


def test_one_that_never_was_ready_is_told_of_and_not_replaced(children: Children, tmp_path: Path) -> None:
    pair = [Child(service="contacts", called=f"contacts-{number}", told={"CAPSULE_DATA": ""}) for number in (1, 2)]
    with pytest.raises(StartRefused, match="CAPSULE_"):
        children.start(pair)
    for process in children.processes.values():
        process.join(60)
        assert process.exitcode == 2
    assert children.replaced() == []
    assert children.failed() == "contacts-1"
    assert "CAPSULE_" in (tmp_path / "contacts-2.log").read_text()


def test_where_nothing_was_started_nothing_failed_and_nothing_is_stopped(children: Children) -> None:
    assert children.start([]) == {}
    assert children.failed() is None
    assert children.replaced() == []


def test_one_is_told_what_holds_when_it_is_started_not_when_its_kind_was_loaded(
    children: Children, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {f"CAPSULE_{name}": "none" for name in ("DATA", "CERTIFICATE", "KEY", "AUTHORITY", "ADDRESSES")}
    with pytest.raises(StartRefused, match="set CAPSULE_"):
        children.start([Child(service="privacy", called="privacy", told={})])
    (tmp_path / "elsewhere" / "logs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("CAPSULE_DRAIN", "soon")
    later = Children(Path("logs"), children._parent)
    with pytest.raises(StartRefused, match="CAPSULE_DRAIN must be"):
        later.start([Child(service="privacy", called="privacy", told=told)])
    later.stop(["privacy"])
    assert "CAPSULE_DRAIN" in (tmp_path / "elsewhere" / "logs" / "privacy.log").read_text()
