"""Where the durable engine keeps its own state on files: in the file it was given, whatever that is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from capsule_sql.durable import ENGINE_FILE, engine_in_file


@pytest.mark.parametrize("name", ["contacts", "a?b", "50%41", "[a] copy?#%41", "a&b=c", "ä b", "file:x"])
def test_it_is_in_the_file_of_that_name_and_in_no_other(tmp_path: Path, name: str) -> None:
    file = tmp_path / name / ENGINE_FILE
    file.parent.mkdir()
    connections = engine_in_file(file)
    with connections.begin() as connection:
        connection.execute(text("CREATE TABLE here (id INTEGER)"))
    connections.dispose()
    assert file.read_bytes().startswith(b"SQLite format 3")
    assert [path.name for path in tmp_path.iterdir()] == [name]
