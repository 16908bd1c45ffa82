"""How an erasure is reported to the privacy service."""

from __future__ import annotations

from capsule_api.privacy.v1 import privacy_pb2, privacy_pb2_grpc
from capsule_core.receipts import Receipt
from capsule_services.runtime.channels import Peers
from capsule_services.runtime.faults import telling
from capsule_services.runtime.holders.convert import subject_name
from capsule_services.runtime.reporter import Report

__all__ = ["report_to_privacy"]


def report_to_privacy(peers: Peers) -> Report:
    """Make what reports one erasure; the privacy service then runs it over the other holders."""

    def report(receipt: Receipt) -> bool:
        statement = receipt.statement
        request = privacy_pb2.ReportErasureRequest(
            name=f"tenants/{statement.tenant}/erasures/{statement.erasure}",
            subjects=[subject_name(statement.tenant, subject) for subject in statement.subjects],
            receipt=receipt.document,
        )
        with telling():
            answer = privacy_pb2_grpc.PrivacyServiceStub(peers.channel("privacy")).ReportErasure(request)
        return answer.state == privacy_pb2.Erasure.DONE

    return report
