"""Executes the examples of README, docs and docstrings (Sybil). It stays at the root, where it sees all three."""

from __future__ import annotations

from doctest import ELLIPSIS, NORMALIZE_WHITESPACE

from sybil import Sybil
from sybil.parsers import myst, rest

FLAGS = ELLIPSIS | NORMALIZE_WHITESPACE

markdown = Sybil(
    parsers=[myst.PythonCodeBlockParser(doctest_optionflags=FLAGS), myst.SkipParser()],
    patterns=["README.md", "docs/*.md", "docs/**/*.md"],
)
docstrings = Sybil(
    parsers=[rest.DocTestParser(optionflags=FLAGS), rest.PythonCodeBlockParser()],
    patterns=["src/**/*.py", "services/**/*.py"],
    excludes=["src/capsule_api/**"],
)

pytest_collect_file = (markdown + docstrings).pytest()
