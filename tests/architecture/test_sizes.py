"""Small: what fits on a screen is read; what does not, is not."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache

from tests.architecture.tree import Module, modules, of_each

MODULE_LINES = 400
BODY_P90 = 20
BODY_P99 = 40

# name -> why it may be longer than BODY_P99. An entry that is not needed any more fails the last test.
LONG_FUNCTIONS: dict[str, str] = {}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, ast.ClassDef | Function)
        name = f"{prefix}.{child.name}" if isinstance(child, ast.ClassDef | Function) else prefix
        if isinstance(child, Function):
            yield name, child
        yield from functions(child, name if named else prefix)


def body_lines(function: Function) -> int:
    """Lines from the first statement to the last, less the docstring and what nested definitions account for."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return 0
    nested = [node for each in body for node in _outermost(each)]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 - sum((n.end_lineno or 0) - n.lineno + 1 for n in nested)


def _outermost(node: ast.AST) -> Iterator[ast.ClassDef | Function]:
    if isinstance(node, ast.ClassDef | Function):
        yield node
        return
    for child in ast.iter_child_nodes(node):
        yield from _outermost(child)


@cache
def bodies() -> dict[str, int]:
    return {
        name: body_lines(function) for module in modules() for name, function in functions(module.tree, module.name)
    }


def percentile(share: float) -> int:
    lines = sorted(bodies().values()) or [0]
    return lines[min(len(lines) - 1, int(share * len(lines)))]


@of_each(modules)
def test_a_module_has_at_most_400_lines(module: Module) -> None:
    assert len(module.text.splitlines()) <= MODULE_LINES


def test_nine_functions_in_ten_have_at_most_20_lines() -> None:
    assert percentile(0.90) <= BODY_P90


def test_ninety_nine_functions_in_a_hundred_have_at_most_40_lines() -> None:
    assert percentile(0.99) <= BODY_P99


def test_each_longer_function_has_a_written_reason_and_no_reason_is_stale() -> None:
    assert {name for name, lines in bodies().items() if lines > BODY_P99} == set(LONG_FUNCTIONS)
