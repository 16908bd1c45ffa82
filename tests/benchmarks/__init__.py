"""Numbers that have goals: ``tox -e bench``, or ``python -m tests.benchmarks``."""
