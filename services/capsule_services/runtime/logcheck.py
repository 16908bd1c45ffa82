"""Before anybody is served: the logs are still those that the newest checkpoints in the journal speak of."""

from __future__ import annotations

from capsule_core.anchors import check_anchored
from capsule_core.checkpoints import Signer, log_names
from capsule_core.errors import DataLoss, ReceiptInvalid
from capsule_core.journal import Journal
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.holding import Holding

__all__ = ["check_logs"]


def check_logs(holding: Holding, journal: Journal, signer: Signer) -> None:
    """Let pass logs that continue their newest checkpoints in the journal.

    Raises:
        StartRefused: one was cut off or altered since it was signed.
    """
    changes, reads = log_names(holding.service)
    for name, ledger in ((changes, holding.ledger), (reads, holding.reads.ledger)):
        try:
            check_anchored(ledger, journal, log=name, signer=signer)
        except (DataLoss, ReceiptInvalid):
            raise StartRefused(
                f"the log {name} is not the one that its newest checkpoint in the journal speaks of: it was cut off or "
                "altered (capsule ledger verify says where); keep a copy as evidence, and restore a backup; if it was "
                "recovered by other means, say so: capsule backup restored"
            ) from None
