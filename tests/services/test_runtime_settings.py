"""Settings: read from the environment alone, and refused in one sentence that names the variable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from capsule_services.runtime.certificates import Credential
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.settings import environment, settings_from

FILES = Credential(certificate=Path("/c.pem"), key=Path("/c.key"), authority=Path("/ca.pem"))
WHOLE = environment(FILES, data=Path("/d"), addresses=Path("/a"))


def test_what_a_parent_writes_a_service_reads() -> None:
    told = environment(
        FILES, data=Path("/d"), addresses=Path("/a"), listen="[::1]:0", dev=True, clock=Path("/k"), parent=7, metrics=9
    )
    settings = settings_from(told)
    assert settings.credential == FILES
    assert (settings.data, settings.addresses, settings.listen) == (Path("/d"), Path("/a"), "[::1]:0")
    assert (settings.dev, settings.offset_file, settings.parent, settings.metrics) == (True, Path("/k"), 7, 9)


def test_what_is_not_said_has_a_default() -> None:
    settings = settings_from(WHOLE)
    assert (settings.listen, settings.dev, settings.parent, settings.metrics) == ("127.0.0.1:0", False, None, None)


def test_a_clock_moves_with_dev_only() -> None:
    assert settings_from({**WHOLE, "CAPSULE_CLOCK": "/k"}).offset_file is None


@pytest.mark.parametrize("name", ["DATA", "CERTIFICATE", "KEY", "AUTHORITY", "ADDRESSES"])
def test_what_is_missing_is_named(name: str) -> None:
    variables = {key: value for key, value in WHOLE.items() if key != f"CAPSULE_{name}"}
    with pytest.raises(StartRefused, match=f"CAPSULE_{name}"):
        settings_from(variables)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LISTEN", "8080"),
        ("LISTEN", "host:99999"),
        ("PARENT", "x"),
        ("METRICS", "-1"),
        ("PHONE_REGION", "de"),
        ("RATE", "9" * 5000),
    ],
)
def test_what_is_malformed_is_named_and_not_repeated(name: str, value: str) -> None:
    with pytest.raises(StartRefused, match=f"CAPSULE_{name}"):
        settings_from({**WHOLE, f"CAPSULE_{name}": value})


def test_several_processes_need_a_database_on_a_server() -> None:
    with pytest.raises(StartRefused, match=r"CAPSULE_WORKERS.*capsule db init"):
        settings_from({**WHOLE, "CAPSULE_WORKERS": "2"})
    assert settings_from({**WHOLE, "CAPSULE_WORKERS": "2", "CAPSULE_DATABASE": "/d"}).workers == 2


def test_a_service_does_not_import_what_it_may_never_use_and_whoever_uses_it_can() -> None:
    lines = ("import capsule_services.contacts.__main__", "print('boto3' in sys.modules)", "import boto3")
    code = "; ".join(("import sys", *lines, "print(bool(boto3))"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
