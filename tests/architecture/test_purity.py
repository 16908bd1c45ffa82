"""The domain never looks at the world: time, ids and randomness are handed to it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.tree import Module, dotted, imported, modules, of_each, origins

WORLDLY = {
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "time.gmtime",
    "time.localtime",
    "time.monotonic",
    "time.perf_counter",
    "time.sleep",
    "time.time",
    "time.time_ns",
    "uuid.uuid1",
    "uuid.uuid4",
    "uuid.uuid6",
    "uuid.uuid7",
    "os.environ",
    "os.environb",
    "os.getenv",
    "os.urandom",
    "io.open",
    "open",
    "input",
    "print",
}
WORLDS = {
    "asyncio",
    "http",
    "logging",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "sqlite3",
    "subprocess",
    "tempfile",
    "urllib",
}
# (module, world) -> why it may look there. An entry that is not needed any more fails a test.
ALLOWED = {
    ("capsule_core.privacy", "secrets"): "the default of the front door; everything behind it is handed its randomness",
}
MAKES_A_KEY = re.compile(r"cryptography\..*\.generate(_key|_parameters|_private_key)?")


def worldly(module: Module) -> Iterator[str]:
    names = origins(module)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name | ast.Attribute):
            name = dotted(node, names) or ""
            if name in WORLDLY or MAKES_A_KEY.fullmatch(name):
                yield f"line {node.lineno}: {name}"
    for name, line in imported(module):
        world = name.split(".")[0]
        if world in WORLDS and (module.name, world) not in ALLOWED:
            yield f"line {line}: import of {name}"


@of_each(lambda: modules("capsule_core"))
def test_the_domain_is_handed_time_ids_and_randomness(module: Module) -> None:
    assert list(worldly(module)) == []


@pytest.mark.parametrize(("name", "world"), ALLOWED)
def test_no_exception_is_stale(name: str, world: str) -> None:
    (module,) = [each for each in modules("capsule_core") if each.name == name]
    assert world in {origin.split(".")[0] for origin, _ in imported(module)}


@pytest.mark.parametrize(
    "source",
    [
        "import datetime as dt\ndt.datetime.now(tz)",
        "from datetime import datetime\nf = datetime.utcnow",
        "from uuid import uuid4 as new\nnew()",
        "import os\nos.environ['A']",
        "from os import urandom\nurandom(3)",
        "import secrets",
        "from random import choice",
        "import time\ntime.time()",
        "from cryptography.hazmat.primitives.ciphers.aead import AESGCM\nAESGCM.generate_key(256)",
        "with open('x') as f: pass",
        "print(1)",
    ],
)
def test_a_look_at_the_world_is_found_however_it_is_spelt(source: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(source, encoding="utf-8")
    assert list(worldly(Module("module", path)))
