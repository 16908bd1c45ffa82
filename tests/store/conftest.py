"""Where files lie that are written, killed and copied hundreds of times; and a store of every kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from capsule_core.journal import MemoryJournal
from capsule_core.ledger import MemoryLedger
from capsule_core.memory import MemoryStore
from capsule_sql.database import open_database
from capsule_sql.migration import Role
from capsule_sql.postgres import open_postgres
from capsule_sql.records import SqlStore

MEMORY = Path("/dev/shm")  # noqa: S108  a folder of our own is made in it


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory, if there is such a place: what a killed process wrote stays there too, and no disk is waited for."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with TemporaryDirectory(dir=MEMORY) as made:
        yield Path(made)


@pytest.fixture(params=["memory", "files", "server"])
def store(request: pytest.FixtureRequest, folder: Path) -> Iterator[Any]:
    """A store in memory, in a file, or on a server."""
    with ExitStack() as stack:
        if request.param == "memory":
            yield MemoryStore(MemoryLedger(), MemoryJournal())
        elif request.param == "files":
            yield SqlStore(stack.enter_context(closing(open_database(folder / "data", Role.DATA))), MemoryJournal())
        else:
            url = request.getfixturevalue("database").url
            yield SqlStore(stack.enter_context(closing(open_postgres(url, Role.DATA))), MemoryJournal())
