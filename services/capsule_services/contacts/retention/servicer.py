"""Retention on the wire."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import attrs
import grpc

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import InvalidField
from capsule_services.contacts.names import parsed_contact, parsed_policy
from capsule_services.contacts.retention import handlers
from capsule_services.contacts.retention.convert import (
    changes_to,
    document_from,
    explanation_to,
    forecasts_to,
    moment_from,
    policy_to,
    weeks_from,
)
from capsule_services.runtime.calls import current_call
from capsule_services.runtime.etags import parsed_etag
from capsule_services.runtime.holding import Holding

__all__ = ["RetentionServicer"]


@attrs.define(slots=False)
class RetentionServicer:
    """Answers what concerns how long contacts are kept."""

    holding: Holding

    def GetRetentionPolicy(
        self, request: pb.GetRetentionPolicyRequest, context: grpc.ServicerContext
    ) -> pb.RetentionPolicy:
        call = current_call()
        parsed_policy(request.name)
        policy, kept = handlers.kept_policy(self.holding, call)
        return policy_to(call.within(), policy, kept, now=self.holding.now())

    def SetRetentionPolicy(
        self, request: pb.SetRetentionPolicyRequest, context: grpc.ServicerContext
    ) -> pb.RetentionPolicy:
        call, tag = current_call(), parsed_etag(request.policy.etag, field="policy.etag")
        parsed_policy(request.policy.name, field="policy.name")
        with _in_policy():
            document = document_from(request.policy)
            if request.validate_only:
                policy = handlers.check(self.holding, call, document)
                return policy_to(call.within(), policy, None, now=self.holding.now())
            known, version = self.holding.recognised(call, request), None if tag is None else tag.version
            policy, kept = handlers.set_policy(self.holding, call, document, version=version, request=known)
        return policy_to(call.within(), policy, kept, now=self.holding.now())

    def PreviewRetention(
        self, request: pb.PreviewRetentionRequest, context: grpc.ServicerContext
    ) -> pb.PreviewRetentionResponse:
        found = handlers.preview(self.holding, current_call(), weeks=weeks_from(request.weeks, usual=12))
        return pb.PreviewRetentionResponse(forecasts=forecasts_to(found))

    def SimulateRetention(
        self, request: pb.SimulateRetentionRequest, context: grpc.ServicerContext
    ) -> pb.SimulateRetentionResponse:
        parsed_policy(request.policy.name, field="policy.name")
        weeks = weeks_from(request.weeks, usual=52)
        with _in_policy():
            found = handlers.simulated(self.holding, current_call(), document_from(request.policy), weeks=weeks)
        return pb.SimulateRetentionResponse(changes=changes_to(found))

    def ExplainContact(self, request: pb.ExplainContactRequest, context: grpc.ServicerContext) -> pb.ContactExplanation:
        return explanation_to(handlers.explained(self.holding, current_call(), parsed_contact(request.name)))

    def EndRelationship(
        self, request: pb.EndRelationshipRequest, context: grpc.ServicerContext
    ) -> pb.EndRelationshipResponse:
        call, contact = current_call(), parsed_contact(request.name)
        at = moment_from(request.end_time, field="end_time") if request.HasField("end_time") else None
        known = self.holding.recognised(call, request)
        handlers.end_relationship(self.holding, call, contact, at=at, request=known)
        return pb.EndRelationshipResponse()


@contextmanager
def _in_policy() -> Generator[None]:
    """Let a path begin where the message does."""
    try:
        yield
    except InvalidField as error:
        field = "time_zone" if error.field == "zone" else error.field.removeprefix("policy.")
        raise InvalidField("policy" if field == "policy" else f"policy.{field}", error.problem) from None
