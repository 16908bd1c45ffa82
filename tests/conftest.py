"""How hard Hypothesis tries (HYPOTHESIS_PROFILE is dev, ci or deep), and a database server for who asks for one."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.postgres import Database, Server

# Programs are started as another user, for which a process must be forked: gRPC's threads do not survive that.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"

# No deadline: a property is about what is true, not about how busy the machine is.
settings.register_profile(
    "dev", deadline=None, max_examples=30, stateful_step_count=20, suppress_health_check=[HealthCheck.too_slow]
)
# The same examples on every run: what fails in CI fails at the desk, and never in somebody else's change.
settings.register_profile("ci", settings.get_profile("dev"), max_examples=60, derandomize=True, print_blob=True)
settings.register_profile(
    "deep", settings.get_profile("dev"), max_examples=2_000, stateful_step_count=60, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server of this test process's own."""
    from tests.postgres import Server  # the domain alone is tested without a driver

    server = Server.begin()
    try:
        yield server
    finally:
        server.end()


@pytest.fixture
def database(postgres: Server) -> Iterator[Database]:
    """An empty database with all schemas."""
    made = postgres.fresh()
    try:
        yield made
    finally:
        made.drop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long, so that no worker ends with it while the others have nothing to do."""

    def urgency(item: pytest.Item) -> tuple[float, bool]:
        longest = max((mark.args[0] for mark in item.iter_markers("timeout") if mark.args), default=0)
        return -longest, not _shares(item.path)

    items.sort(key=urgency)


def pytest_collection_finish() -> None:
    """Let no collection of garbage look again at what stays until the end: a million objects for each worker."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give all tests of a module that makes something once to one worker, and every other test to whoever is free."""
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.partition("::")[0]
            return module if _shares(config.rootpath / module) else nodeid

    return ByModule(config, log)


@cache
def _shares(module: Path) -> bool:
    return 'scope="module"' in module.read_text(encoding="utf-8")
