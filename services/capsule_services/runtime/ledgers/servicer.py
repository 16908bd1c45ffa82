"""A service tells of its ledgers, on the wire."""

from __future__ import annotations

import attrs
import grpc

from capsule_api.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from capsule_api.ledger.v1 import ledger_pb2 as pb
from capsule_core.checkpoints import Verifier, open_checkpoint
from capsule_core.errors import LedgerBroken, ReceiptInvalid, ResourceMissing
from capsule_core.ledger import LedgerStore
from capsule_core.proofs import prove_consistency, prove_inclusion
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.ledgers import convert
from capsule_services.runtime.opening import Opened
from capsule_services.runtime.server import Served

__all__ = ["LedgerServicer", "served_ledgers"]


@attrs.define(slots=False)
class LedgerServicer(ledger_pb2_grpc.LedgerServiceServicer):
    """Answers with numbers, hashes and signatures; a leaf is nobody's to see here, for a log is of all tenants."""

    holding: Holding
    verifier: Verifier

    def GetCheckpoint(self, request: pb.GetCheckpointRequest, context: grpc.ServicerContext) -> pb.Checkpoint:
        note = self._log(request.name).latest()
        if note is None:
            raise ResourceMissing("checkpoint")
        try:
            signed = open_checkpoint(note, self.verifier)
        except ReceiptInvalid:
            raise LedgerBroken(0, "its checkpoint was not signed by this service") from None
        return convert.checkpoint_to(note, signed.origin, signed.size, signed.root)

    def GetInclusionProof(self, request: pb.GetInclusionProofRequest, context: grpc.ServicerContext) -> pb.Proof:
        return convert.proof_to(prove_inclusion(self._log(request.name), request.index, request.size))

    def GetConsistencyProof(self, request: pb.GetConsistencyProofRequest, context: grpc.ServicerContext) -> pb.Proof:
        return convert.proof_to(prove_consistency(self._log(request.name), request.first, request.second))

    def _log(self, name: str) -> LedgerStore:
        return self.holding.ledger if convert.parsed_log(name) == "changes" else self.holding.reads.ledger


def served_ledgers(opened: Opened) -> Served:
    """Return who answers the ledger contract in any service."""
    service = ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"]
    answering = LedgerServicer(opened.holding, opened.signer.verifier)
    return Served(service, ledger_pb2_grpc.add_LedgerServiceServicer_to_server, answering)
