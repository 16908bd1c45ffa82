"""How a run of tests hands them out: what is made once for a module is made once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import REPOSITORY, ROOTS, of_each

PRELOAD = ".set_forkserver" + "_preload("

MODULE = """
import pytest

@pytest.fixture(SCOPE)
def made():
    with open("made", "a") as file:
        file.write("once\\n")

@pytest.mark.parametrize("number", range(12))
def test_something(made, number):
    assert number >= 0
"""


def test_all_tests_of_a_module_that_makes_something_once_are_for_one_worker(tmp_path: Path) -> None:
    shutil.copy(REPOSITORY / "tests" / "conftest.py", tmp_path / "conftest.py")
    (tmp_path / "test_it.py").write_text(MODULE.replace("SCOPE", 'scope="module"'), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--no-loadscope-reorder", "-p", "no:cacheprovider", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "made").read_text().splitlines() == ["once"]


def test_a_check_of_many_names_each_that_breaks_it_and_no_other() -> None:
    @of_each(lambda: "abc")
    def check(letter: str) -> None:
        assert letter == "b", "is no b"

    with pytest.raises(AssertionError) as broken:
        check()
    said = [line for line in str(broken.value).splitlines() if line.endswith("is no b")]
    assert said == ["a: is no b", "c: is no b"]


def test_what_processes_are_forked_from_is_said_in_one_place() -> None:
    """It is one for a whole process: whoever named something else would have every service load everything again."""
    naming = [path for root in (*ROOTS, "tests") for path in (REPOSITORY / root).rglob("*.py") if PRELOAD in text(path)]
    assert [path.name for path in naming] == ["children.py"]


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")
