"""Who signs the receipts and checkpoints of a service: its key is made once, and never replaced in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from capsule_core.checkpoints import Signer
from capsule_services.runtime.begun import BEGUN
from capsule_services.runtime.faults import StartRefused
from capsule_sql.root_key import load_or_create_root_key

__all__ = ["PUBLIC", "SIGNING", "made_signer"]

SIGNING: Final = "receipts.key"
PUBLIC: Final = "receipts.pub"


def made_signer(folder: Path, service: str) -> Signer:
    """Make who signs for the *service* in *folder*, and write down the public key for everybody.

    Raises:
        StartRefused: it signed before, and its key is missing.
        CapsuleError: the key is damaged, or cannot be read.
    """
    file = folder / SIGNING
    if not file.exists() and any((folder / name).exists() for name in (PUBLIC, BEGUN)):
        raise StartRefused(
            f"{file} is missing, and receipts were signed with it: put it back from where you keep signing keys; if it "
            "is lost for good, keep receipts.pub, which checks them, and make another key as operate.md says"
        )
    signer = Signer.from_seed(service, load_or_create_root_key(file))
    (folder / PUBLIC).write_text(signer.verifier.text() + "\n", encoding="ascii")
    return signer
