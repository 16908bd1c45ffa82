"""Names say what a thing is; a name that says nothing collects things that belong elsewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.tree import REPOSITORY, ROOTS, of_each

FORBIDDEN = {"base", "common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
WRITTEN = (*ROOTS, "protos", "docs", "examples", "tests")
UNFINISHED = re.compile(rf"\b({'TO' + 'DO'}|{'FIX' + 'ME'})\b")

FILES = sorted(
    path
    for folder in WRITTEN
    for path in (REPOSITORY / folder).rglob("*")
    if path.suffix in {".py", ".proto", ".md", ".html", ".mako"} and "__pycache__" not in path.parts
)


def place(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def test_no_file_or_folder_has_a_name_that_says_nothing() -> None:
    guilty = [
        place(path)
        for path in FILES
        if FORBIDDEN & {part.lower() for part in path.relative_to(REPOSITORY).with_suffix("").parts}
    ]
    assert guilty == []


@of_each(lambda: FILES)
def test_nothing_is_left_for_later(path: Path) -> None:
    assert UNFINISHED.findall(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("root", [*ROOTS, "src/capsule_api"])
def test_every_root_ships_its_types(root: str) -> None:
    assert (REPOSITORY / root / "py.typed").read_bytes() == b""
    assert (REPOSITORY / root / "__init__.py").is_file()
