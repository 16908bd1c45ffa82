"""One contract, said three times in the same words: in the port, on the page, and in the suite."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from types import ModuleType

import pytest

from capsule_core.holder import Holder
from capsule_core.journal import Journal
from capsule_core.ledger import LedgerStore
from capsule_core.pages import Keystore, PageStore
from capsule_core.stores import Answers, Backlog, Derived, Moments, RecordStore, Restorable, Suppressions
from capsule_core.testing.conformance import (
    _model,
    _protecting,
    _records,
    derived,
    holder,
    journal,
    keystore,
    ledger,
    moments,
    pages,
    records,
    restorable,
    suppressions,
)

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "ports.md"
CLAUSE = re.compile(r"^ *([ABCHIMPRS]\d+)[. ] *(.*?)(?=^ *[ABCHIMPRS]\d+[. ]|\Z)", re.MULTILINE | re.DOTALL)
PORTS = [
    RecordStore,
    Answers,
    Backlog,
    Derived,
    Moments,
    Suppressions,
    Restorable,
    PageStore,
    Keystore,
    Journal,
    LedgerStore,
    Holder,
]
SUITES = [
    ([records, _records, _protecting, _model], [RecordStore, Answers, Backlog]),
    ([derived], [Derived]),
    ([moments], [Moments]),
    ([suppressions], [Suppressions]),
    ([restorable], [Restorable]),
    ([pages], [PageStore]),
    ([keystore], [Keystore]),
    ([journal], [Journal]),
    ([ledger], [LedgerStore]),
    ([holder], [Holder]),
]


def clauses(text: str) -> dict[str, str]:
    return {name: " ".join(words.replace("`", "").split()) for name, words in CLAUSE.findall(text)}


def in_port(port: type) -> dict[str, str]:
    found = clauses(inspect.getdoc(port) or "")
    assert found, port
    return found


def on_page(port: type) -> dict[str, str]:
    section = re.search(
        rf"^## `{port.__name__}`.*?$(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    assert section, f"{PAGE.name} has no section on {port.__name__}"
    return clauses(re.sub(r"^\* ", "", section[1], flags=re.MULTILINE))


def in_suite(modules: list[ModuleType]) -> set[str]:
    """Every clause that a suite can say is broken; what it names only as untried does not count."""
    found: set[str] = set()
    for module in modules:
        tree = ast.parse(inspect.getsource(module))
        untried = {
            id(node)
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and ast.unparse(call.func) == "lacking"
            for node in ast.walk(call)
        }
        found |= {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.fullmatch(r"[ABCHIMPRS]\d+", node.value)
            and id(node) not in untried
        }
    return found


@pytest.mark.parametrize("port", PORTS, ids=lambda port: port.__name__)
def test_the_page_says_what_the_port_says(port: type) -> None:
    assert on_page(port) == in_port(port)


@pytest.mark.parametrize("port", PORTS, ids=lambda port: port.__name__)
def test_the_clauses_of_a_port_are_numbered_without_a_gap(port: type) -> None:
    names = list(in_port(port))
    assert names == [f"{names[0][0]}{number}" for number in range(1, len(names) + 1)]


@pytest.mark.parametrize(("modules", "ports"), SUITES, ids=lambda each: each[0].__name__.rpartition(".")[2])
def test_a_suite_tries_every_clause_of_its_ports_and_no_other(modules: list[ModuleType], ports: list[type]) -> None:
    assert in_suite(modules) == {clause for port in ports for clause in in_port(port)}
