"""`import capsule_core` needs nothing but the bare dependencies, and is quick."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest

from tests.architecture.tree import REPOSITORY, modules

SECONDS = 1.5
PROBE = """
import importlib, json, sys, time

allowed, names = json.loads(sys.argv[1])

class Bare:
    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root not in sys.stdlib_module_names.union(allowed) and not root.startswith("_sysconfigdata_"):
            raise ModuleNotFoundError(f"{name} is not a bare dependency", name=name)

sys.meta_path.insert(0, Bare())
started = time.process_time()
for name in names:
    importlib.import_module(name)
print(time.process_time() - started)
"""


def name_of(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-")  # type: ignore[index]


def bare_distributions() -> set[str]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found, waiting = set(), [name_of(each) for each in project["dependencies"]]
    while waiting:
        name = waiting.pop()
        found.add(name)
        try:
            needs = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # needed on another platform or Python only
            continue
        waiting += [name_of(each) for each in needs if "extra ==" not in each and name_of(each) not in found]
    return found


def bare_roots() -> set[str]:
    wanted = bare_distributions()
    owners = metadata.packages_distributions()
    return {root for root, names in owners.items() if {n.lower().replace("_", "-") for n in names} & wanted} | {
        "capsule_core"
    }


def seconds_to_import(*names: str) -> float:
    question = json.dumps([sorted(bare_roots()), names])
    answer = subprocess.run([sys.executable, "-c", PROBE, question], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return float(answer.stdout)


def test_the_domain_imports_with_nothing_but_its_bare_dependencies() -> None:
    domain = [each.name for each in modules("capsule_core") if not each.name.startswith("capsule_core.testing")]
    seconds_to_import("capsule_core", *domain)


def test_importing_the_domain_is_quick() -> None:
    """Processor time, and the best of three, so that a busy machine is not taken for a slow import."""
    assert min(seconds_to_import("capsule_core") for _ in range(3)) < SECONDS


@pytest.mark.parametrize("stranger", ["pytest", "hypothesis"])
def test_the_probe_refuses_what_is_not_a_bare_dependency(stranger: str) -> None:
    with pytest.raises(AssertionError, match="is not a bare dependency"):
        seconds_to_import(stranger)
