"""Whatever destroys asks one question first: does anything guard this? Here is every path, and where it asks.

Stores ask, within the transaction that fences or destroys (``protection``, clauses C8, C9 and C15, which the suites
try on each adapter). So a path is in order if it goes to a store and admits no guard, or comes after a fence that did.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.tree import Module, modules

DESTROYS = {"destroy", "mark", "shred"}
"""What a store or vault is told: ``anything.destroy(..., act=...)``, ``anything.mark(..., act=...)``, ``shred``."""

KEYS = {"close", "replace"}
"""What ends keys: ``keystore.replace(...)``, ``keystore.close(tenant)``, ``vault.close(tenant)``."""

ASKS = {
    "capsule_core.dissolution.Dissolution._ended: destroy": "leaves out whatever is guarded; its keys are gone",
    "capsule_core.dissolution.Dissolution._forgotten: destroy": "leaves out whatever is guarded",
    "capsule_core.erasure.Eraser._fence: mark": "refused for whatever is guarded, but by what the erasure admits",
    "capsule_core.holder.RecordHolder.apply: mark": "refused likewise, if it is a fence; it admits nothing",
    "capsule_core.retaining.Retaining._destroy: destroy": "leaves out whatever is guarded",
    "capsule_core.sweeping.Sweep._clear: destroy": "leaves out whatever is guarded",
    "capsule_core.sweeping.Sweep._let_go: destroy": "leaves out whatever is guarded",
}
"""The paths on which it is decided: the store is asked, and what is guarded is not admitted."""

FENCED_BEFORE = {
    "capsule_core.erasure.Eraser._destroy: destroy": "only of whom this erasure fenced",
    "capsule_core.erasure.Eraser._destroy: shred": "only of whom this erasure fenced",
    "capsule_core.erasure.Eraser._finish: mark": "says ERASED of whom this erasure fenced; nobody else can be so",
    "capsule_core.restoring._fence: mark": "again, of whom an erasure fenced before the restore",
    "capsule_core.restoring._erase: mark": "again, of whom an erasure fenced before the restore",
    "capsule_core.restoring._erase: destroy": "again, of whom an erasure fenced before the restore",
}
"""What follows a fence: whoever is fenced is guarded by nothing, and nothing guards them any more."""

DESTROYS_NOTHING = {
    "capsule_core.privacy.Privacy.discharge: mark": "lifts a guard",
    "capsule_core.relics._end: mark": "lifts guards, and ends erasures that had begun: the keys are gone",
    "capsule_core.repository.Repository._keep: mark": "puts and lifts guards",
    "capsule_core.restoring._mark: mark": "puts and lifts what is no fence",
}

WITHOUT_ASKING = {
    "capsule_core.relics._delete: destroy": "of a tenant whose keys are destroyed: who did that asked",
    "capsule_core.restoring.revoke: destroy": "sign-ins end with a restore, whoever is held",
}
"""Every exception, and why it is one."""

PATHS = {**ASKS, **FENCED_BEFORE, **DESTROYS_NOTHING, **WITHOUT_ASKING}

ENDS_KEYS = {
    "capsule_core.vault.Vault._reseal: replace": "by shred alone, which is among the paths above",
    "capsule_core.vault.Vault.close: close": "of a tenant; whoever calls it asks protection.refuse_guarded first",
}


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            yield from ((f"{node.name}.{each.name}", each) for each in node.body if isinstance(each, ast.FunctionDef))


def calls(module: Module, told: set[str]) -> Iterator[tuple[str, ast.FunctionDef, ast.Call]]:
    """Find calls of methods by name, with the function they stand in: ``module.Class.function: method``."""
    for name, function in functions(module.tree):
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in told:
                yield f"{module.name}.{name}: {node.func.attr}", function, node


def is_told_by_act(call: ast.Call) -> bool:
    method = call.func.attr if isinstance(call.func, ast.Attribute) else ""
    return method == "shred" or any(keyword.arg in {"act", None} for keyword in call.keywords)


def ends_keys(call: ast.Call) -> bool:
    """Tell what ends keys from what closes a file or replaces a text: whose they are, and that it is not a path."""
    owner = ast.unparse(call.func).rpartition(".")[0]
    keystore = owner.endswith(("keystore", "vault"))
    return keystore and bool(call.args)


def ours() -> list[Module]:
    return [each for each in modules() if not each.name.startswith("capsule_core.testing")]


def found(told: set[str]) -> dict[str, ast.Call]:
    looked = {each: call for module in ours() for each, _, call in calls(module, told) if is_told_by_act(call)}
    return {each: call for each, call in looked.items() if not each.startswith("capsule_sql")}


def test_every_path_that_destroys_is_known_with_where_it_asks() -> None:
    """A new one fails here: let the store ask, and say so in the table."""
    assert set(found(DESTROYS)) == set(PATHS)


@pytest.mark.parametrize("path", sorted(ASKS))
def test_where_it_is_decided_nothing_that_guards_is_admitted(path: str) -> None:
    (admitted,) = [
        ast.unparse(keyword.value) for keyword in found(DESTROYS)[path].keywords if keyword.arg == "admits"
    ] or [""]
    assert admitted in {"", "_ADMITTED & ~GUARDED", "erasure.admits"}


def test_what_ends_keys_is_the_vault_alone_and_who_closes_one_asks() -> None:
    ending = {each for module in ours() for each, _, call in calls(module, KEYS) if ends_keys(call)}
    closing = {each for each in ending if each.endswith(": close") and not each.startswith("capsule_core.vault")}
    assert ending - closing == set(ENDS_KEYS)
    for module in ours():
        for each, function, _ in calls(module, {"close"}):
            if each in closing:
                assert "refuse_guarded" in ast.unparse(function), f"{each} does not ask whether the tenant is held"


@pytest.mark.parametrize(
    ("module", "function", "asks"),
    [
        ("capsule_core.memory.rules", "may_change", "guarded"),
        ("capsule_core.memory.rules", "_is_released", "guarded"),
        ("capsule_core.memory.rules", "protected", "guarded"),
        ("capsule_core.memory.rules", "fits", "protected"),
        ("capsule_core.memory.store", "MemoryStore._protected", "protected"),
        ("capsule_core.memory.store", "MemoryStore.destroy", "_protected"),
        ("capsule_sql.marking", "Marking.changing", "guarded"),
        ("capsule_sql.backlog", "releasing", "UNGUARDED"),
        ("capsule_sql.marking", "_expect_unguarded", "before_destroying"),
        ("capsule_sql.moving", "Meant.unguarded", "guarded"),
        ("capsule_sql.records", "SqlStore.destroy", "unguarded"),
        ("capsule_sql.records", "SqlStore.destroy", "before_destroying"),
        ("capsule_sql.records", "SqlStore.mark", "before_marking"),
        ("capsule_core.emptying", "emptied", "unguarded"),
        ("capsule_core.erasure", "Eraser.plan", "guarding"),
        ("capsule_core.sweeping", "Sweep.slices", "guarding"),
        ("capsule_core.retaining", "Retaining.slices", "guarding"),
    ],
)
def test_a_store_asks_what_else_guards(module: str, function: str, asks: str) -> None:
    (tree,) = [each.tree for each in modules() if each.name == module]
    (body,) = [node for name, node in functions(tree) if name == function] or ([] if function else [tree])
    assert asks in {
        named
        for node in ast.walk(body)
        for named in (getattr(node, "attr", None), getattr(node, "id", None), getattr(node, "arg", None))
    }
