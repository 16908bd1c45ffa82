"""Permission decisions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from capsule_core.roles import Authority, Role, require
from tests.benchmarks import peers
from tests.benchmarks.measuring import Goal, Result, Scale, spent

__all__ = ["deciding"]


def deciding(scale: Scale, _: Path) -> Iterator[Result]:
    """Decide what every call has decided."""
    authority = Authority(Role.STANDARD)

    def decide() -> None:
        for _number in range(scale.decisions):
            require(authority, "contacts.edit")

    ours = min(spent(decide).cpu for _number in range(scale.rounds)) / scale.decisions
    theirs = peers.casbin(max(scale.decisions // 100, 1))
    yield Result(
        name="permission",
        against=f"casbin, the same roles: {theirs * 1e6:.0f} us" if theirs else "casbin: not installed",
        unit="us",
        figure=ours * 1e6,
        goal=Goal(2, at_most=True),
        ours=f"{ours * 1e6:.2f} us",
        reference=f"{theirs * 1e6:.0f} us" if theirs else "",
    )
