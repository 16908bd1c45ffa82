"""What a service notes beside its data is read as damaged, not followed, if it is nested without end."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from capsule_services.runtime.begun import BEGUN, begun_in
from capsule_services.runtime.clockwatch import NOTED, noted
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.restored import RESTORED, restored_in
from capsule_services.runtime.shipping.marks import SHIPPED, ShippingMark, mark_in
from capsule_services.runtime.sweeper import STATUS, status_in

NESTED = b"[" * 100_000


@pytest.mark.parametrize(
    ("name", "read", "nothing"), [(NOTED, noted, None), (SHIPPED, mark_in, ShippingMark()), (STATUS, status_in, None)]
)
def test_a_note_that_can_be_done_without_is_none(
    tmp_path: Path, name: str, read: Callable[[Path], object], nothing: object
) -> None:
    (tmp_path / name).write_bytes(NESTED)
    assert read(tmp_path) == nothing


@pytest.mark.parametrize(("name", "read"), [(BEGUN, begun_in), (RESTORED, restored_in)])
def test_a_note_that_is_needed_is_asked_for(tmp_path: Path, name: str, read: Callable[[Path], object]) -> None:
    (tmp_path / name).write_bytes(NESTED)
    with pytest.raises(StartRefused, match=name):
        read(tmp_path)
