"""Every public name of the domain says what it is."""

from __future__ import annotations

import ast

from tests.architecture.tree import Module, modules, of_each

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def is_port(node: ast.ClassDef) -> bool:
    return any(isinstance(each, ast.Name) and each.id == "Protocol" for base in node.bases for each in ast.walk(base))


def undocumented(module: Module) -> list[str]:
    """Modules, functions and classes; of a port each method too. An adapter's methods are documented by their port."""
    named: list[tuple[str, Documented]] = [(module.name, module.tree)]
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            named.append((node.name, node))
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_") and is_port(node):
            named += [
                (f"{node.name}.{each.name}", each)
                for each in node.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and not each.name.startswith("_")
            ]
    return [name for name, node in named if not (ast.get_docstring(node) or "").strip()]


@of_each(lambda: [each for each in modules("capsule_core") if each.is_public])
def test_every_public_name_of_the_domain_has_a_docstring(module: Module) -> None:
    assert undocumented(module) == []


@of_each(modules)
def test_every_module_says_what_it_is_for(module: Module) -> None:
    assert (ast.get_docstring(module.tree) or "").strip()
