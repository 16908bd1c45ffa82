"""The project's own files agree with each other."""

from __future__ import annotations

import configparser
import re
import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from capsule_core.statements import TOOL
from tests.architecture.tree import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
SECONDS = 600


def pins() -> dict[str, list[str]]:
    """Distribution -> its exact versions (one for each marker), as constraints.txt has them."""
    found: dict[str, list[str]] = {}
    for line in (REPOSITORY / "constraints.txt").read_text(encoding="utf-8").splitlines():
        requirement = Requirement(line)
        (version,) = requirement.specifier
        assert version.operator == "==", line
        found.setdefault(canonicalize_name(requirement.name), []).append(version.version)
    return found


def ranges() -> list[Requirement]:
    project = PROJECT["project"]
    groups = [*project["optional-dependencies"].values(), *PROJECT["dependency-groups"].values()]
    found = [Requirement(each) for each in sum(groups, project["dependencies"])]
    return [each for each in found if each.name != project["name"]]


def test_every_dependency_is_pinned_inside_its_range() -> None:
    pinned = pins()
    for requirement in ranges():
        versions = pinned.get(canonicalize_name(requirement.name))
        assert versions, f"{requirement.name} has no version in constraints.txt: tox -e constraints"
        assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), str(requirement)


def test_every_dependency_a_user_gets_has_a_floor_and_no_ceiling() -> None:
    project = PROJECT["project"]
    for text in sum(project["optional-dependencies"].values(), project["dependencies"]):
        requirement = Requirement(text)
        operators = [each.operator for each in requirement.specifier]
        assert requirement.name == project["name"] or operators == [">="], text


def test_the_hooks_before_a_commit_use_the_same_versions_as_tox() -> None:
    text = (REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    versions = dict(re.findall(r"\[([\w-]+)==([\w.]+)\]", text))
    pinned = pins()
    assert {"ruff", "codespell"} <= versions.keys()
    assert all(pinned[name] == [version] for name, version in versions.items() if name in pinned)


def test_every_environment_has_a_budget_and_all_together_stay_below_ten_minutes() -> None:
    text = (REPOSITORY / "tox.ini").read_text(encoding="utf-8")
    tox = configparser.ConfigParser(interpolation=None)
    tox.read_string(text)
    budgets = {name: int(seconds) for name, seconds in re.findall(r"^\[testenv:(\w+)\] # (\d+) s$", text, re.MULTILINE)}
    assert set(budgets) == {name.strip() for name in tox["tox"]["env_list"].split(",")}
    assert sum(budgets.values()) < SECONDS


def test_the_tool_that_receipts_name_is_this_release() -> None:
    assert f"{PROJECT['project']['name']} {PROJECT['project']['version']}" == TOOL
