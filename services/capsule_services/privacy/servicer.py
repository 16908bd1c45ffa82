"""Everything the privacy service answers."""

from __future__ import annotations

import attrs

from capsule_api.privacy.v1 import privacy_pb2_grpc
from capsule_services.privacy.erasures.servicer import ErasuresServicer

__all__ = ["PrivacyServicer"]


@attrs.define(slots=False)
class PrivacyServicer(ErasuresServicer, privacy_pb2_grpc.PrivacyServiceServicer):
    """One servicer of its capabilities."""
