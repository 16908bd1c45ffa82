"""After a restore: what the services do before anybody is served, and the file that tells them to.

Whoever puts data back leaves a file in the folder of each service. The service takes the file away when it has opened
the next epoch of its logs, has been told what the journal knows, and has ended what was good before, such as sessions.
Until then it starts again from the file, whatever ends it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import attrs
from structlog.typing import FilteringBoundLogger

from capsule_core.checkpoints import Signer, log_names
from capsule_core.epochs import open_epoch
from capsule_core.journal import Journal
from capsule_core.ledger import Leaf
from capsule_core.names import TenantId
from capsule_core.relics import bury
from capsule_core.restoring import replay, revoke
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.private import write_private

__all__ = ["RESTORED", "UNREPLAYED", "Restored", "put_right", "restored_in", "tell_restored"]

UNREPLAYED: Final = "restore.unreplayed"
"""The act of the leaf that says that nothing was replayed, because somebody said so."""

RESTORED: Final = "restored.json"
"""The file in a service's folder that tells it."""

_NO_TENANT: Final = TenantId("capsule.ledger")
_NOBODY: Final = "0" * 32


@attrs.frozen(kw_only=True)
class Restored:
    """What is known of a restore: its *id*, and the *backup*, empty if the data came back in another way.

    *placing*: files are still being put in their places. *unreplayed*: the journal is to be passed over. *opened*: the
    logs have begun their next epoch.
    """

    id: str = attrs.Factory(lambda: secrets.token_hex(8))
    backup: str = ""
    placing: bool = False
    unreplayed: bool = False
    opened: bool = False


def tell_restored(folder: Path, restored: Restored) -> None:
    """Tell the service of *folder* that its data was restored."""
    write_private(folder / RESTORED, json.dumps(attrs.asdict(restored)).encode())


def restored_in(folder: Path) -> Restored | None:
    """Return what the service of *folder* was told of a restore; None if it was told of none.

    Raises:
        StartRefused: the restore was interrupted, or the file is damaged.
    """
    try:
        told = (folder / RESTORED).read_bytes()
    except FileNotFoundError:
        return None
    try:
        restored = Restored(**json.loads(told))
    except (TypeError, ValueError, RecursionError):
        raise StartRefused(f"{folder / RESTORED} is damaged; run capsule backup restore again") from None
    if restored.placing:
        raise StartRefused(f"a restore of {folder} was interrupted; run capsule backup restore again")
    return restored


def put_right(
    folder: Path,
    restored: Restored,
    holding: Holding,
    journal: Journal,
    *,
    signer: Signer,
    revoked: Sequence[str],
    log: FilteringBoundLogger,
) -> None:
    """Bring restored data to what was acknowledged; *revoked* are the kinds of records that are good no more.

    Raises:
        CapsuleError: it is not this service's data, or cannot be written; nobody may be served.
    """
    store, now = holding.repository.store, holding.now()
    log.info("restored")
    if not restored.opened:
        _open_epochs(holding, journal, signer, now)
        restored = attrs.evolve(restored, opened=True)
        tell_restored(folder, restored)
    if restored.unreplayed:
        holding.ledger.append([_unreplayed(restored, now)])
    else:
        done = replay(store, holding.vault, journal, since=store.position(), now=now)
        log.info("replayed", count=sum(attrs.astuple(done)))
    log.info("buried", count=bury(store, holding.vault, now=now))
    revoke(store, holding.vault, revoked, now=now)
    (folder / "reported").unlink(missing_ok=True)  # it counts leaves of the log as it was
    (folder / RESTORED).unlink(missing_ok=True)


def _open_epochs(holding: Holding, journal: Journal, signer: Signer, now: datetime) -> None:
    changes, reads = log_names(holding.service)
    for name, ledger in ((changes, holding.ledger), (reads, holding.reads.ledger)):
        open_epoch(ledger, journal, log=name, signer=signer, now=now)


def _unreplayed(restored: Restored, now: datetime) -> bytes:
    detail = {"restore": restored.id, "backup": restored.backup}
    return Leaf(at=now, tenant=_NO_TENANT, act=UNREPLAYED, use="security", actor=_NOBODY, detail=detail).encode()
