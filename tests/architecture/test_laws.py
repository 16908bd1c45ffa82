"""Every law is held by a test that names it, and tests/README.md says which."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tests.architecture.tree import REPOSITORY

TESTS = REPOSITORY / "tests"
README = TESTS / "README.md"
LAWS = {f"L{number}" for number in range(1, 16)}
KEPT = LAWS - {"L11"}  # of consent, which is not built yet


def named(path: Path) -> Iterator[str]:
    """Laws that the tests of a file are marked with: `@pytest.mark.law("L1")`, or several at once."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.law":
            yield from (str(ast.literal_eval(argument)) for argument in node.args)


@cache
def held() -> dict[str, set[str]]:
    """Law -> the test files that name it."""
    found: dict[str, set[str]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for law in named(path):
            found.setdefault(law, set()).add(str(path.relative_to(TESTS)))
    return found


def written() -> dict[str, set[str]]:
    """Law -> test files, as the table of tests/README.md has them."""
    rows = re.findall(r"^\| (L\d+) \|[^|]*\|([^|]*)\|$", README.read_text(encoding="utf-8"), re.MULTILINE)
    return {law: set(re.findall(r"`([^`]+)`", files)) for law, files in rows}


def test_every_law_is_named_by_a_test() -> None:
    assert KEPT - held().keys() == set(), "no test is marked with them"


def test_no_test_names_a_law_that_does_not_exist() -> None:
    assert set(held()) <= LAWS


def test_the_table_of_laws_is_true() -> None:
    lines = [f"{law}: {', '.join(f'`{file}`' for file in sorted(files))}" for law, files in sorted(held().items())]
    assert {law: files for law, files in written().items() if files} == held(), "held in:\n" + "\n".join(lines)


def test_every_test_directory_has_its_line_in_the_readme() -> None:
    text = README.read_text(encoding="utf-8")
    folders = {path.parent.relative_to(TESTS).parts[0] for path in TESTS.rglob("test_*.py") if path.parent != TESTS}
    assert [folder for folder in sorted(folders) if f"`{folder}/`" not in text] == []
    assert not list(TESTS.glob("test_*.py")), "a test lives in a folder that says what it is about"
