"""`__all__` is exact: what a module defines in public, no more and no less."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.architecture.tree import Module, modules, of_each, origins

TYPE_VARIABLES = {"TypeVar", "TypeVarTuple", "ParamSpec"}


def defined(module: Module) -> set[str]:
    return {name for name in _bound(module.tree.body) if not name.startswith("_")}


def _bound(body: list[ast.stmt]) -> Iterator[str]:
    for node in body:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.AnnAssign(target=ast.Name(id=name)):
                yield name
            case ast.Assign(targets=targets, value=value) if not _is_type_variable(value):
                yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
            case ast.If(body=then, orelse=otherwise):
                yield from _bound(then + otherwise)
            case _:
                pass


def _is_type_variable(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in TYPE_VARIABLES


def declared(module: Module) -> list[str] | None:
    for node in module.tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            names = ast.literal_eval(node.value)
            assert isinstance(names, list), f"{module}: __all__ is a list"
            return names
    return None


PUBLIC = [module for module in modules() if module.is_public]


@of_each(lambda: [module for module in PUBLIC if not module.is_package])
def test_a_module_exports_exactly_what_it_defines(module: Module) -> None:
    names = declared(module)
    assert names is not None, f"{module} has no __all__"
    assert len(names) == len(set(names)), f"{module}: __all__ repeats a name"
    assert set(names) == defined(module)


@of_each(lambda: [module for module in PUBLIC if module.is_package])
def test_a_package_exports_what_it_defines_and_may_gather_from_its_own_root(module: Module) -> None:
    gathered = {name for name, origin in origins(module).items() if origin.startswith(f"{module.name.split('.')[0]}.")}
    names = declared(module) or []
    assert len(names) == len(set(names)), f"{module}: __all__ repeats a name"
    assert defined(module) <= set(names) <= defined(module) | gathered


@of_each(lambda: [module for module in modules() if len(module.tree.body) > 1])
def test_annotations_are_never_evaluated_at_import(module: Module) -> None:
    assert any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__" and node.names[0].name == "annotations"
        for node in module.tree.body
    ), f"{module} lacks `from __future__ import annotations`"
