"""Whatever comes from outside is taken, or refused in a way that is meant; what was taken is what it seems."""

from __future__ import annotations

import ast
import io
import re
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from rich.console import Console

from tests.architecture.tree import REPOSITORY, Module, modules
from tests.fuzzing.__main__ import fuzzed, main
from tests.fuzzing.mutation import damaged
from tests.fuzzing.planted import PLANTED
from tests.fuzzing.target import REGRESSIONS, Target
from tests.fuzzing.targets import TARGETS

BROKE = sorted(REGRESSIONS.rglob("*.bin"))
GUIDED = [True] if find_spec("atheris") else []
"""Whether coverage can guide here: atheris is published for some platforms, and elsewhere damage stands in for it."""

PARSES = re.compile(
    r"(read|decode\w*|parse_\w+|parsed_\w+|\w+_from|verify\w*|open_(blob|bytes|checkpoint|jws|page)|load_\w+|unwrap"
    r"|moment|understood|from_bytes|canonical|mailbox|words)"
)
PARSES_NOT = {
    "capsule_core.arguments.moment": "takes a datetime, and reads no text",
    "capsule_core.checkpoints.canonical": "writes",
    "capsule_services.backups.verify": "is a command: what it reads, others parse",
    "capsule_services.ledgers.verify": "is a command: what it reads, others parse",
    "capsule_services.runtime.keys.fetched_from": "gives what asks for bytes that the target key-set damages",
    "capsule_sql.rows.words": "splits what was made here",
}

of_every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS.keys())
# What libraries warn of is not what is asked here.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_coverage_guides_wherever_atheris_is_published() -> None:
    groups = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    (requirement,) = map(Requirement, groups["fuzzing"])
    assert requirement.marker is not None
    assert requirement.marker.evaluate() <= bool(GUIDED)


def test_every_function_that_parses_is_reached_by_a_target() -> None:
    """By their names: whoever adds one adds a target, or says here why not."""
    named = {f"{module.name}.{name}" for module in modules() for name in parsing(module) if is_ours(module)}
    reached = {f"{each.__module__}.{each.__qualname__}" for target in TARGETS.values() for each in target.parsers}
    assert named - reached - PARSES_NOT.keys() == set()
    assert named >= PARSES_NOT.keys()
    assert len(named & reached) > 50


def is_ours(module: Module) -> bool:
    return module.is_public and not {"testing", "demo", "sample"} & set(module.name.split("."))


def parsing(module: Module) -> Iterator[str]:
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef) and PARSES.fullmatch(node.name) and not node.name.startswith("_"):
            yield node.name
        if isinstance(node, ast.ClassDef):
            made = (each for each in node.body if isinstance(each, ast.FunctionDef) and is_classmethod(each))
            yield from (f"{node.name}.{each.name}" for each in made if PARSES.fullmatch(each.name))


def is_classmethod(function: ast.FunctionDef) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "classmethod" for each in function.decorator_list)


@of_every_target
def test_of_the_real_samples_some_are_taken(target: Target) -> None:
    taken = [target.takes(seed) for seed in target.samples()]
    assert any(taken)


@of_every_target
@given(data=st.data())
def test_whatever_is_made_of_them_is_taken_or_refused(target: Target, data: st.DataObject) -> None:
    target.takes(data.draw(damaged(target.seeds(), longest=target.longest)))


@of_every_target
def test_what_is_nested_as_deep_as_it_fits_is_taken_or_refused(target: Target) -> None:
    for opening in (b"[", b'{"keys":', b'{"a":'):
        target.takes(opening * (target.longest // len(opening)))


@pytest.mark.parametrize("path", BROKE, ids=[f"{path.parent.name}-{path.stem}" for path in BROKE])
def test_what_once_broke_something_breaks_nothing_any_more(path: Path) -> None:
    TARGETS[path.parent.name].takes(path.read_bytes())


def test_damage_alone_finds_what_is_broken() -> None:
    found = damaged([b"CAPS", b"CA"], longest=100)

    @given(found)
    def look(data: bytes) -> None:
        PLANTED.takes(data)

    with pytest.raises(ZeroDivisionError):
        look()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("_guided", GUIDED)
def test_a_short_run_that_coverage_guides_breaks_nothing(_guided: bool, tmp_path: Path) -> None:
    outcomes = list(fuzzed(list(TARGETS), tmp_path, seconds=0, jobs=2, console=Console(file=io.StringIO())))
    assert {each.name: each.log for each in outcomes if each.code} == {}
    assert {each.name for each in outcomes} == set(TARGETS)
    for each in outcomes:
        assert each.runs == TARGETS[each.name].runs, each.name


@pytest.mark.parametrize("_guided", GUIDED)
def test_coverage_leads_to_what_is_broken_and_the_input_is_kept(_guided: bool, tmp_path: Path) -> None:
    (outcome,) = fuzzed([PLANTED.name], tmp_path, seconds=0, jobs=1, console=Console(file=io.StringIO()))
    (path,) = outcome.broke
    assert outcome.code
    assert path.read_bytes()[:3] == b"CAP"
    assert "ZeroDivisionError" in outcome.log


def test_an_input_is_tried_again_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "input").write_bytes(b'"7"')
    assert main(["--only", "etag", "--input", str(tmp_path / "input")]) == 0
    assert capsys.readouterr().out == "taken\n"
