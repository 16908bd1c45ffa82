"""Every example runs as its reader would run it: as a program of its own, with nothing but what is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import REPOSITORY

EXAMPLES = REPOSITORY / "examples"
SAID = {
    "library/ticket.py": ["found by the beginnings of words", "a late writer is told", "the receipt is valid"],
    "client/address_book.py": [
        "kept: ",
        "refused: ETAG_MISMATCH",
        "in the trash until",
        "row 2 was refused: EMAIL_MALFORMED",
    ],
    "holder/newsletter.py": ["located: ", "erased, and proved: clear", "a late form is told"],
}


def run(example: str, folder: Path) -> str:
    """Run an example in a folder where it can find nothing of the repository; return what it said."""
    command = [sys.executable, "-W", "error", str(EXAMPLES / example)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", SAID)
def test_an_example_runs_and_shows_what_it_promises(example: str, tmp_path: Path) -> None:
    said = run(example, tmp_path)
    assert [promise for promise in SAID[example] if promise not in said] == []


def test_every_example_is_run() -> None:
    found = {path.relative_to(EXAMPLES).as_posix() for path in EXAMPLES.rglob("*.py")}
    assert found == {*SAID, "verify/verify_receipt.py"}, "the script is run by test_verify.py, with receipts"


def test_the_library_needs_less_than_sixty_lines_to_a_verified_receipt() -> None:
    assert len((EXAMPLES / "library/ticket.py").read_text(encoding="utf-8").splitlines()) < 60
