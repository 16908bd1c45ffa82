"""Where nothing can be written a command says so in one sentence: it names a place, and shows no trace of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# No file may grow by a byte: the nearest thing to a full disk that needs no other disk.
FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
sys.dont_write_bytecode = True
from capsule_services.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    "arguments", [("up", "--dev", "--data"), ("demo", "--data"), ("certificates", "--data")], ids=lambda a: a[0]
)
def test_a_full_disk_is_told_in_one_sentence(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", FULL, *arguments, str(tmp_path / "full" / "d")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (2, "")
    assert done.stderr.startswith("capsule: cannot write ")
    assert str(tmp_path / "full" / "d") in done.stderr
    assert "free some space" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
