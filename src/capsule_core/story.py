"""What the ledger tells of one erasure, and nothing else remembers: fence, suppressions, deletions, commit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

import attrs

from capsule_core import answers
from capsule_core.answers import Request
from capsule_core.errors import SubjectHeld
from capsule_core.grounds import policy_of, policy_text
from capsule_core.ledger import Leaf, LedgerStore
from capsule_core.names import ActorRef, SubjectKey, TenantId
from capsule_core.records import Act, Expected, Mark, Touched, Witness
from capsule_core.statements import Policy, Statement
from capsule_core.uses import Use
from capsule_core.vault import Vault
from capsule_core.witness import actor_commitment, notes, subject_commitments

__all__ = [
    "COMMIT",
    "DELETE",
    "FENCE",
    "KEPT",
    "REQUEST",
    "SUPPRESS",
    "Erasure",
    "backwards",
    "commit_act",
    "delete_act",
    "deleted",
    "fence_act",
    "kept",
    "receipt_request",
    "statement_request",
    "suppress_act",
    "suppresses",
]

FENCE: Final = "erasure.fence"
SUPPRESS: Final = "erasure.suppress"
DELETE: Final = "erasure.delete"
COMMIT: Final = "erasure.commit"
KEPT: Final = timedelta(days=3653)
"""How long statements and receipts can be asked for."""

_LONGEST: Final = 256
"""Characters of one entry of a leaf."""

REQUEST: Final = "request"
"""The ground of an erasure that the person asked for (GDPR Art. 17(1)): what they were known by is suppressed."""


@attrs.frozen(kw_only=True)
class Erasure:
    """One erasure: of whom, why, by whom, asked for when; *admits* says which guards it may pass.

    *policy* is the rule behind the *ground*; a ground of this software brings its own along. *suppresses* says that the
    people may not come back under what they were known by, *parts* that a guard on single records keeps those and not
    the whole person.
    """

    tenant: TenantId
    id: str
    subjects: tuple[SubjectKey, ...]
    ground: str
    by: ActorRef
    requested: datetime
    admits: Mark = Mark.NONE
    suppresses: bool = False
    parts: bool = False
    policy: Policy = attrs.field(default=attrs.Factory(lambda self: policy_of(self.ground), takes_self=True))


def fence_act(
    erasure: Erasure, vault: Vault, *, now: datetime, expects: tuple[Expected, ...], whole: int, kept: str = ""
) -> Act:
    """Make the act that begins an erasure; its leaf commits to whom it meant, under salts that will die.

    It refuses to be witnessed unless it fences the *whole* number of subjects: whether one is guarded is found out in
    the transaction that decides, and then nobody is fenced.
    """
    told = {"erasure": erasure.id, "ground": erasure.ground, "requested": erasure.requested.isoformat()}
    told |= {"policy": policy_text(erasure.policy)}
    told |= {"suppress": "yes"} if erasure.suppresses else {}
    told |= _portions(kept)

    def detail(touched: Sequence[Touched]) -> dict[str, str]:
        if len(touched) < whole:
            raise SubjectHeld
        return told

    # The journal is told it too: a restore that loses the leaf begins the erasure again, as it was.
    return attrs.evolve(_act(erasure, FENCE, vault, now=now, detail=detail, expects=expects), detail=told)


def suppresses(fence: Leaf) -> bool:
    """Tell from its fence's leaf whether an erasure suppresses."""
    return fence.detail.get("suppress") == "yes"


def suppress_act(erasure: Erasure, vault: Vault, *, identifiers: int, now: datetime) -> Act:
    """Make the act that suppresses; its leaf counts the identifiers, and says of none whose it was."""
    detail = {"erasure": erasure.id, "identifiers": str(identifiers)}
    act = Act(tenant=erasure.tenant, actor=erasure.by, verb=SUPPRESS, use=Use.ERASE.value, at=now, detail=detail)
    return attrs.evolve(act, witness=notes(vault, act))


def delete_act(erasure: Erasure, vault: Vault, *, now: datetime) -> Act:
    """Make the act that deletes rows; its leaf counts them by kind."""

    def detail(touched: Sequence[Touched]) -> dict[str, str]:
        kinds = Counter(entry.kind for entry in touched)
        return {"kinds": ",".join(f"{kind}:{count}" for kind, count in sorted(kinds.items()))}

    return _act(erasure, DELETE, vault, now=now, detail=detail)


def commit_act(erasure: Erasure, vault: Vault, statement: Statement, *, now: datetime) -> Act:
    """Make the act that says an erasure is done.

    The statement itself is kept with it, so that a receipt can always be made, of what was committed and of nothing
    else.
    """
    told = statement.encode()

    def detail(_: Sequence[Touched]) -> dict[str, str]:
        return {"statement": sha256(told).hexdigest()}

    kept = answers.seal(told, vault, erasure.tenant, statement_request(erasure.id, now=now))
    return attrs.evolve(_act(erasure, COMMIT, vault, now=now, detail=detail), answer=kept)


def statement_request(erasure: str, *, now: datetime) -> Request:
    """Name the answer under which an erasure's statement is kept."""
    return Request(caller="erasure", method="statement", id=erasure, digest=b"", until=now + KEPT)


def receipt_request(erasure: str, *, now: datetime) -> Request:
    """Name the answer under which an erasure's receipt is kept."""
    return Request(caller="erasure", method="receipt", id=erasure, digest=b"", until=now + KEPT)


def backwards(ledger: LedgerStore, tenant: TenantId, erasure: str) -> Iterator[tuple[int, bytes, Leaf]]:
    """Walk the leaves of an erasure from the newest back to its fence."""
    end, step, named = ledger.head().size, 4, erasure.encode()
    while end > 0:
        start, step = max(0, end - step), 64  # the newest are most likely its own
        for index, data in reversed(list(enumerate(ledger.read(start, end - start), start=start))):
            if named not in data:
                continue
            leaf = Leaf.decode(data)
            if leaf.tenant == tenant and leaf.detail.get("erasure") == erasure:
                yield index, data, leaf
                if leaf.act == FENCE:
                    return
        end = start


def deleted(ledger: LedgerStore, tenant: TenantId, erasure: str) -> dict[str, int]:
    """Add up what the leaves of an erasure say was deleted, however often it was interrupted."""
    kinds: Counter[str] = Counter()
    for _, _, leaf in backwards(ledger, tenant, erasure):
        if leaf.act == DELETE:
            for part in leaf.detail["kinds"].split(","):
                kind, _, count = part.partition(":")
                kinds[kind] += int(count)
    return dict(kinds)


def kept(ledger: LedgerStore, tenant: TenantId, erasure: str) -> str:
    """Return what the fence of an erasure says was left, and on which grounds."""
    fences = (leaf for _, _, leaf in backwards(ledger, tenant, erasure) if leaf.act == FENCE)
    detail = next((leaf.detail for leaf in fences), {})
    return ",".join(detail[name] for name in sorted(detail, key=_place) if name.partition(".")[0] == "kept")


def _portions(kept: str) -> dict[str, str]:
    """Divide what was left over as many entries of a leaf as it takes: ``kept``, ``kept.1``, ``kept.2``."""
    portions = [""]
    for item in filter(None, kept.split(",")):
        if len(portions[-1]) + len(item) >= _LONGEST:
            portions.append("")
        portions[-1] += f",{item}" if portions[-1] else item
    return {f"kept.{place}" if place else "kept": told for place, told in enumerate(portions) if told}


def _place(name: str) -> int:
    return int(name.partition(".")[2] or 0) if name.startswith("kept") else 0


def _act(
    erasure: Erasure,
    verb: str,
    vault: Vault,
    *,
    now: datetime,
    detail: Callable[[Sequence[Touched]], Mapping[str, str]],
    expects: tuple[Expected, ...] = (),
) -> Act:
    act = Act(tenant=erasure.tenant, actor=erasure.by, verb=verb, use=Use.ERASE.value, at=now, expects=expects)
    return attrs.evolve(act, witness=_witness(act, erasure, vault, detail))


def _witness(
    act: Act, erasure: Erasure, vault: Vault, detail: Callable[[Sequence[Touched]], Mapping[str, str]]
) -> Witness:
    def witness(touched: Sequence[Touched]) -> bytes | None:
        if not touched:
            return None
        # Only the fence can commit to its subjects: from then on the salts, which lie with the keys, are gone.
        slots = {entry.subject: entry.slot for entry in touched} if act.verb == FENCE else {}
        return Leaf(
            at=act.at,
            tenant=act.tenant,
            act=act.verb,
            use=act.use,
            actor=actor_commitment(vault, act.tenant, act.actor),
            subjects=subject_commitments(vault, act.tenant, slots),
            records=len(touched),
            detail={"erasure": erasure.id, **detail(touched)},
        ).encode()

    return witness
