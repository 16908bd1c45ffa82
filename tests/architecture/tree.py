"""The source tree as the architecture tests see it: every hand-written module, discovered and parsed."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

import attrs

T = TypeVar("T")

REPOSITORY = Path(__file__).parents[2]
ROOTS = ("src/capsule_core", "src/capsule_sql", "services/capsule_services")


@attrs.frozen
class Module:
    """One source file and the name it is imported by."""

    name: str
    path: Path

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def is_public(self) -> bool:
        return not any(part.startswith("_") for part in self.name.split("."))

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def tree(self) -> ast.Module:
        return _parsed(self.path)

    def __str__(self) -> str:
        return self.name


@cache
def _parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def modules(root: str | None = None) -> Sequence[Module]:
    """Every hand-written module, or those below one root (`capsule_core`)."""
    found = [
        Module(".".join(path.relative_to(base.parent).with_suffix("").parts).removesuffix(".__init__"), path)
        for base in (REPOSITORY / each for each in ROOTS)
        for path in sorted(base.rglob("*.py"))
        if "migrations" not in path.parts  # scripts that Alembic runs by path, not modules anyone imports
    ]
    return [module for module in found if root in {None, module.name.split(".")[0]}]


def imported(module: Module) -> Iterator[tuple[str, int]]:
    """Full names of what a module imports, at any depth, with their lines: `a.b.c` for `from a.b import c`."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def origins(module: Module) -> dict[str, str]:
    """What each imported name stands for: `{"dt": "datetime", "urandom": "os.urandom"}`."""
    found: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                found[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def dotted(node: ast.expr, names: dict[str, str]) -> str | None:
    """Full name of an expression such as `dt.datetime.now`, or nothing if it is not a plain name."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        owner = dotted(node.value, names)
        return owner and f"{owner}.{node.attr}"
    return None


def of_each(found: Callable[[], Iterable[T]]) -> Callable[[Callable[[T], None]], Callable[[], None]]:
    """Make one test of a check that is the same for many: it fails with what is wrong of each.

    A test for each of them would take longer to hand out to the workers than to run.
    """

    def whole(check: Callable[[T], None]) -> Callable[[], None]:
        def test() -> None:
            broken: dict[str, str] = {}
            for each in found():
                try:
                    check(each)
                except AssertionError as error:
                    broken[str(each)] = str(error)
            assert not broken, "\n".join(f"{name}: {why}" for name, why in broken.items())

        test.__name__, test.__doc__, test.__module__ = check.__name__, check.__doc__, check.__module__
        return test

    return whole
