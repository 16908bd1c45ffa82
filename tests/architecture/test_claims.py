"""The page of claims names, for each, the tests that hold it: they are there, and are tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.tree import REPOSITORY

PAGE = REPOSITORY / "docs" / "explanation" / "claims.md"
ROWS = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith("| claim ")]
LINK = re.compile(r"\[([^]]+)]\(\.\./\.\./tests/([^)]+)\)")


def held_in(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    return [each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef) and each.name.startswith("test_")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:50])
def test_every_claim_names_tests_that_are_there(row: str) -> None:
    named = LINK.findall(row)
    assert named, "who holds it?"
    for text, path in named:
        assert text == path
        assert held_in(REPOSITORY / "tests" / path), f"there is no test in {path}"


def test_no_claim_is_made_twice() -> None:
    claims = [row.split("|")[1] for row in ROWS]
    assert len(set(claims)) == len(claims) > 25
