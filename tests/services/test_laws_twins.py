"""Twin tenants with the same ids, addresses and request ids: what one does for ever leaves each byte of the other.

Through the public operations, on SQLite and on PostgreSQL: rows of every table, keys and their mirror, journal, both
logs, answers, tokens, signatures, reasons; on the server even where a row lies and who wrote it last.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from hypothesis import settings

from tests.services.twins import twins

CHILDHOOD: Final = 250
LOOKED_AT: Final = 40
"""How often the twin is looked at while the other lives."""
ENOUGH: Final = 10_000
ON_EACH_CHANGE: Final = {"files": ENOUGH, "server": 2_500}
"""How many steps fit into twenty seconds; all of them on both are for `tox -e deep`."""
MEMORY: Final = Path("/dev/shm")  # noqa: S108  a folder of our own is made in it


def steps(where: str) -> int:
    """How many steps to live: as many as are asked for, or as the profile can wait for."""
    asked = int(os.environ.get("CAPSULE_TWIN_STEPS", "0"))
    return asked or min(ENOUGH, ON_EACH_CHANGE[where] if os.environ.get("CI") else 6 * settings().max_examples)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory, if there is such a place: what is durable is another test's question."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with TemporaryDirectory(dir=MEMORY) as made:
        yield Path(made)


@pytest.mark.law("L1")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("where", ["files", "server"])
def test_whatever_one_tenant_does_each_byte_of_its_twin_stays(
    where: str, request: pytest.FixtureRequest, folder: Path
) -> None:
    database, count = request.getfixturevalue("database") if where == "server" else None, steps(where)
    with twins(folder, database, childhood=CHILDHOOD) as both:
        before, leaves = both.rows(), both.leaves()
        some = {name for name, rows in before.items() if rows}
        kept = {name.rpartition(".")[2] for name in some}
        assert {"subjects", "pages", "records", "tokens", "signatures", "reasons", "answers", "leaves"} <= kept
        assert {
            "keystore.db.keys",
            "mirror/keystore.db.keys",
            "journal.db.entries",
            "mirror/journal.db.entries",
        } <= some
        for number in range(count):
            both.first.step()
            both.clock.forward(timedelta(hours=2) if number % 25 == 0 else timedelta(seconds=1))
            if number % max(count // LOOKED_AT, 1) == 0:
                assert both.rows() == before, f"after step {number}"
        assert both.rows() == before
        assert both.leaves() == leaves
        idle = {way for way, outcomes in both.first.outcomes.items() if "done" not in outcomes}
        assert idle == set(), "every operation was done, not only refused"
