"""There is one door for what is kept: the repository, which asks at every write and every restore who is suppressed."""

from __future__ import annotations

import ast

from tests.architecture.tree import Module, modules, of_each

DOOR = "capsule_core.repository"
BRINGS_IN = {"write", "move"}
ASKED_BY = {"add": "_keep", "restore": "_take_back", "take_back": "_take_back", "trash": "move", "throw_away": "move"}
TAKES_NOTHING_IN = {"trash", "throw_away"}
INSIDE = {"_keep", "_take_back"}


def store_calls(module: Module) -> list[str]:
    """Calls that bring records into a store: ``anything.write(..., act=...)``, or ``mark`` with records beside."""
    return [
        f"line {node.lineno}: {ast.unparse(node.func)}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and brings_in(node.func.attr, {keyword.arg for keyword in node.keywords})
    ]


def brings_in(method: str, told: set[str | None]) -> bool:
    if method == "mark":
        return bool(told & {"beside", None})
    return method in BRINGS_IN and bool(told & {"act", "admits", None})


def everybody_else() -> list[Module]:
    return [each for each in modules() if each.name != DOOR and not each.name.startswith("capsule_core.testing")]


@of_each(everybody_else)
def test_only_the_repository_brings_records_into_a_store(module: Module) -> None:
    assert store_calls(module) == []


def test_the_repository_does_so_and_the_search_sees_it() -> None:
    (door,) = (each for each in modules() if each.name == DOOR)
    assert len(store_calls(door)) == 5


def test_each_way_through_the_repository_says_what_it_brings() -> None:
    """Whatever in it reaches the store puts identifiers on its act, or takes nothing in."""
    (door,) = (each for each in modules() if each.name == DOOR)
    (repository,) = (node for node in door.tree.body if isinstance(node, ast.ClassDef) and node.name == "Repository")
    ways: dict[str, str] = {}
    for method in (node for node in repository.body if isinstance(node, ast.FunctionDef)):
        called = {ast.unparse(node.func) for node in ast.walk(method) if isinstance(node, ast.Call)}
        for way in ("self.store.write", "self.store.move", "self.store.mark", "self._keep", "self._take_back"):
            if way in called and method.name not in INSIDE:
                ways[method.name] = way.rpartition(".")[2]
    assert ways == ASKED_BY
    said = {
        method.name
        for method in repository.body
        if isinstance(method, ast.FunctionDef)
        and any(key.arg == "brings" for node in ast.walk(method) if isinstance(node, ast.Call) for key in node.keywords)
    }
    assert {name for name, way in ways.items() if not {name, way} & said} == TAKES_NOTHING_IN
