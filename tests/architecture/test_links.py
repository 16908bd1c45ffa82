"""Pages agree with what they speak of: links lead somewhere, quoted code is real, tables are what sources make."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.architecture.tree import REPOSITORY

DOCS = REPOSITORY / "docs"
PAGES = sorted([*REPOSITORY.glob("*.md"), *DOCS.rglob("*.md"), REPOSITORY / "tests/README.md"])
ELSEWHERE = ("https://", "http://", "mailto:")
LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\\[\[\]])+\]\(([^()\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
QUOTED = re.compile(r"^```py\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SOURCE = re.compile(r"`((?:[\w-]+/)+[\w-]+\.(?:py|proto|md))`")
MOST_LINES = 150


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def anchors(page: Path) -> set[str]:
    """What headings are called in a link: lower case, signs left out, dashes for spaces."""
    titles = re.findall(r"^#+ (.+)$", FENCE.sub("", text(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def targets(page: Path) -> list[str]:
    found = LINK.findall(FENCE.sub("", text(page)))
    return [unquote(target) for target in found if not target.startswith(ELSEWHERE)]


def leads_somewhere(page: Path, target: str) -> bool:
    place, _, anchor = target.partition("#")
    path = (page.parent / place).resolve() if place else page
    if not path.exists() or not path.is_relative_to(REPOSITORY):
        return False
    return not anchor or (path.suffix == ".md" and anchor in anchors(path))


@cache
def files() -> frozenset[str]:
    roots = ("src", "services", "protos", "tests", "docs", "examples")
    return frozenset(f"/{name(path)}" for root in roots for path in (REPOSITORY / root).rglob("*.*"))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert [target for target in targets(page) if not leads_somewhere(page, target)] == []


@pytest.mark.parametrize("page", [REPOSITORY / "README.md", *sorted(DOCS.rglob("*.md"))], ids=name)
def test_every_file_that_a_page_names_is_there(page: Path) -> None:
    named = SOURCE.findall(FENCE.sub("", text(page)))
    assert [each for each in named if not any(path.endswith(f"/{each}") for path in files())] == []


@pytest.mark.parametrize("page", sorted(DOCS.rglob("*.md")), ids=name)
def test_code_that_a_page_quotes_stands_in_an_example(page: Path) -> None:
    examples = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "examples").rglob("*.py")]
    assert [code for code in QUOTED.findall(text(page)) if not any(code in example for example in examples)] == []


@pytest.mark.parametrize("page", sorted(set(DOCS.rglob("*.md")) - {DOCS / "index.md"}), ids=name)
def test_every_page_of_the_documentation_has_a_title_and_is_found_from_its_index(page: Path) -> None:
    waiting, reached = [DOCS / "index.md"], set[Path]()
    while waiting:
        here = waiting.pop()
        reached.add(here)
        there = {(here.parent / target.partition("#")[0]).resolve() for target in targets(here)}
        waiting += [path for path in there - reached if path.suffix == ".md" and path.is_file()]
    assert page in reached
    assert text(page).startswith("# ")


def test_the_readme_is_short() -> None:
    assert len(text(REPOSITORY / "README.md").splitlines()) < MOST_LINES


def test_the_tables_of_the_reference_are_those_that_the_sources_make() -> None:
    command = [sys.executable, str(DOCS / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_step_of_the_demo_that_the_readme_cites_is_played() -> None:
    played = "".join(
        path.read_text(encoding="utf-8") for path in (REPOSITORY / "services/capsule_services/demo").glob("*.py")
    )
    cited = [
        step
        for cites in re.findall(r"demo, ([^|;]+)", text(REPOSITORY / "README.md"))
        for step in re.findall(r'"([^"]+)"', cites)
    ]
    assert cited
    assert [step for step in cited if f'("{step}", ' not in played] == []
