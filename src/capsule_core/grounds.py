"""Why data is destroyed, and the policy behind each ground: what a receipt cites, by name, version and digest.

A changed rule is a new version beside the old: receipts that cite the old one must stay understandable.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Final

import attrs

from capsule_core.errors import InvalidField
from capsule_core.statements import Policy

__all__ = ["RULES", "Rule", "policy_of", "policy_text", "read_policy"]


@attrs.frozen
class Rule:
    """A rule of this software: its *version*, and what it says."""

    version: str
    says: str

    def policy(self, name: str) -> Policy:
        """Cite it."""
        return Policy(name=name, version=self.version, digest=sha256(self.says.encode()).hexdigest())


RULES: Final[Mapping[str, Rule]] = {
    "request": Rule("1", "The person asked for it: everything on them is destroyed that nothing obliges to keep."),
    "purge": Rule("1", "A user with the permission to purge destroyed what was in the trash, and confirmed it."),
    "trash_expired": Rule("1", "What was thrown away is destroyed when it has been in the trash for 30 x 24 hours."),
    "retention": Rule("1", "What a rule of the tenant's policy says is not to be kept any longer is destroyed."),
    "closure": Rule(
        "1", "The account was closed 14 x 24 hours ago or more: everything is destroyed that nothing obliges to keep."
    ),
    "obligation_ended": Rule("1", "What was kept of somebody erased is destroyed when its last ground has ended."),
    "erased_elsewhere": Rule("1", "Another holder destroyed what it had on the person; what is here goes with it."),
    "removal": Rule("1", "A user who was removed from their tenant is destroyed; what they wrote stays, pseudonymous."),
}
"""The rules of this software, by the ground they are."""


def policy_of(ground: str) -> Policy:
    """Return the policy that a *ground* of this software stands for.

    Raises:
        InvalidField: it is not one of them; then whoever destroys says which policy it was.
    """
    rule = RULES.get(ground)
    if rule is None:
        raise InvalidField("ground", f"must be one of {', '.join(sorted(RULES))}, or come with its policy")
    return rule.policy(ground)


def policy_text(policy: Policy) -> str:
    """Write a policy as a leaf holds it."""
    return f"{policy.name}/{policy.version}:{policy.digest}"


def read_policy(text: str) -> Policy:
    """Read what :func:`policy_text` wrote."""
    cited, _, digest = text.rpartition(":")
    name, _, version = cited.rpartition("/")
    return Policy(name=name, version=version, digest=digest)
