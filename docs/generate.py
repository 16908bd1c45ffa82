"""Write the tables of docs/reference that the sources already know.

``python docs/generate.py`` writes them between their marks; ``--check`` writes nothing, and fails if a table is not the
one that the sources make. It needs ``pip install '.[services]'``.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from google.protobuf.descriptor import FileDescriptor

from capsule_api.contacts.v1 import contacts_pb2
from capsule_api.holder.v1 import holder_pb2
from capsule_api.identity.v1 import identity_pb2
from capsule_api.ledger.v1 import ledger_pb2
from capsule_api.privacy.v1 import privacy_pb2
from capsule_core import errors
from capsule_core.errors import CapsuleError
from capsule_core.grounds import RULES
from capsule_core.records import Mark
from capsule_core.roles import EXPORT, Authority, Role, allows
from capsule_core.uses import Use, admits
from capsule_services.commands import COMMANDS, loaded
from capsule_services.runtime.faults import code_of
from capsule_services.runtime.policy import DEVELOPMENT, HEALTH, Callers, Rule, rules
from capsule_services.runtime.settings import Settings
from capsule_sql import failures

DOCS = Path(__file__).resolve().parent
FILES = tuple(each.DESCRIPTOR for each in (contacts_pb2, identity_pb2, privacy_pb2, holder_pb2, ledger_pb2))
MARKS = r"(<!-- generated: {} -->\n).*?(<!-- end -->)"


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table in Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def reasons(module: Any) -> Iterator[type[CapsuleError]]:
    """Give the errors of a module that name a reason of their own."""
    for name in module.__all__:
        kind = getattr(module, name)
        if isinstance(kind, type) and issubclass(kind, CapsuleError) and "reason" in vars(kind):
            yield kind


def reason_table(module: Any) -> str:
    def row(kind: type[CapsuleError]) -> Sequence[str]:
        data = ", ".join(code(field.name) for field in attrs.fields(kind))
        status = code_of(kind.__new__(kind)).name  # its family decides, whatever it carries
        return code(kind.reason), status, kind.sentence, data, code(kind.__name__)

    found = sorted(reasons(module), key=lambda kind: kind.reason)
    return table(("reason", "code", "sentence", "data", "class"), map(row, found))


def methods(file: FileDescriptor) -> Mapping[str, Rule]:
    return rules(file.services_by_name.values())


def method_table() -> str:
    def row(rule: Rule) -> Sequence[str]:
        service, _, method = rule.method.rpartition("/")
        return code(service.rpartition(".")[2]), code(method), code(rule.permission), rule.use.name, rule.callers.name

    found = [rule for file in FILES for rule in methods(file).values()]
    foreign = [attrs.evolve(rule, permission="") for rule in (*HEALTH, *DEVELOPMENT)]
    return table(("service", "method", "permission", "use", "callers"), map(row, [*found, *foreign]))


def role_table() -> str:
    asked = {rule.permission for file in FILES for rule in methods(file).values() if rule.callers is Callers.USERS}
    roles = list(Role)

    def row(permission: str) -> Sequence[str]:
        held = ["yes" if allows(Authority(role), permission) else "" for role in roles]
        return code(permission), *(["granted apart"] * len(roles) if permission == EXPORT else held)

    return table(("permission", *(role.value.replace("_", " ") for role in roles)), map(row, sorted(asked)))


def use_table() -> str:
    marks = (Mark.HELD, Mark.OBLIGED, Mark.OBJECTED, Mark.RESTRICTED, Mark.FENCED, Mark.ERASED)

    def row(use: Use) -> Sequence[str]:
        return use.name, *("yes" if admits(use) & mark else "" for mark in marks)

    return table(("use", *(str(mark.name).lower() for mark in marks)), map(row, Use))


def setting_table() -> str:
    def row(field: attrs.Attribute[Any]) -> Sequence[str]:
        entry = field.metadata["environ_config"]
        needed = type(entry.default).__name__ == "Raise" or entry.default.__class__ is type
        default = "required" if needed else code("" if entry.default is None else str(entry.default).lower())
        if isinstance(entry.default, str):
            default = code(entry.default)
        return code(f"CAPSULE_{field.name.upper()}"), default, entry.help

    return table(("variable", "default", "what it is"), map(row, attrs.fields(Settings)))


def command_list() -> str:
    return "\n".join(
        told(each, f"capsule {words}") for name in COMMANDS for words, each in commands(name, loaded(name))
    )


def commands(words: str, found: Any) -> Iterator[tuple[str, Any]]:
    """Give a command, or every command of a group, by the words one types."""
    if not hasattr(found, "commands"):
        yield words, found
        return
    for name, command in found.commands.items():
        yield from commands(f"{words} {name}", command)


def told(command: Any, typed: str) -> str:
    """Write what the help of one command says."""
    parameters = [each for each in command.params if each.name != "help"]
    words = " ".join(shown(each) for each in parameters)
    rows = [(code(signature(each)), each.help or "") for each in parameters]
    return f"## `{typed}`\n```\n{typed} {words}\n```\n{command.help}\n\n{table(('parameter', 'what it is'), rows)}"


def signature(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper())
    return f"{parameter.opts[0]} {'' if parameter.is_flag else parameter.metavar or 'NUMBER'}".strip()


def shown(parameter: Any) -> str:
    return signature(parameter) if parameter.required else f"[{signature(parameter)}]"


def policy_table() -> str:
    def row(found: tuple[str, Any]) -> Sequence[str]:
        ground, rule = found
        return code(ground), rule.version, rule.says, code(rule.policy(ground).digest)

    return table(("ground", "version", "what it says", "digest"), map(row, sorted(RULES.items())))


WAITING = {
    "L7": "no test yet; comes with backup and restore",
    "L10": "no test yet; comes with retention policies",
    "L11": "no test yet; comes with consent",
    "L15": "no test yet; comes with requests that take days",
}


def law_table() -> str:
    """Write which tests hold which law, as tests/README.md has it and a test compares with the tests themselves."""
    text = (DOCS.parent / "tests/README.md").read_text(encoding="utf-8")

    def row(found: tuple[str, str, str]) -> Sequence[str]:
        law, meaning, files = found
        links = ", ".join(f"[{file}](../../tests/{file})" for file in re.findall(r"`([^`]+)`", files))
        return law, meaning.strip(), links or WAITING.get(law, "no test yet")

    return table(
        ("law", "in short", "held by"), map(row, re.findall(r"^\| (L\d+) \|([^|]*)\|([^|]*)\|$", text, re.MULTILINE))
    )


TABLES: Mapping[str, tuple[str, Callable[[], str]]] = {
    "reasons": ("reference/errors.md", lambda: reason_table(errors)),
    "reasons of files": ("reference/errors.md", lambda: reason_table(failures)),
    "methods": ("reference/permissions-and-uses.md", method_table),
    "roles": ("reference/permissions-and-uses.md", role_table),
    "uses": ("reference/permissions-and-uses.md", use_table),
    "laws": ("reference/laws.md", law_table),
    "settings": ("reference/settings.md", setting_table),
    "commands": ("reference/cli.md", command_list),
    "policies": ("reference/formats.md", policy_table),
}


def written(name: str, page: str, content: str) -> str:
    """Put a table between its marks in a page."""
    fresh, found = re.subn(MARKS.format(name), lambda marks: marks[1] + content + marks[2], page, flags=re.DOTALL)
    if found != 1:
        raise LookupError(f"a page must have the marks '<!-- generated: {name} -->' and '<!-- end -->', once")
    return fresh


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or compare; 0 when all is well, 1 with a sentence when not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    check, differing = parser.parse_args(arguments).check, []
    for name, (place, made) in TABLES.items():
        path = DOCS / place
        page = path.read_text(encoding="utf-8")
        fresh = written(name, page, made())
        if fresh != page and check:
            differing.append(f"docs/{place} ({name})")
        elif fresh != page:
            path.write_text(fresh, encoding="utf-8")
    if differing:
        print(f"Run `python docs/generate.py` and commit the result; these differ: {', '.join(differing)}.")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
