"""The policy of every method, read from its descriptor: who may call it, with which permission, for which use.

What belongs to others (health, reflection) carries no policy and stands in one table here. A method that is in neither
does not exist for any caller, and one of ours without a policy keeps the service from starting.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

import attrs
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message

from capsule_api.policy.v1 import policy_pb2
from capsule_core.errors import InvalidField, PermissionDenied
from capsule_core.names import TenantId, tenant_id
from capsule_core.roles import require
from capsule_core.uses import Use
from capsule_services.runtime.callers import Caller, ServiceCaller, UserCaller
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.references import Plan, first, named, plan

__all__ = ["CONSTANT", "DEVELOPMENT", "HEALTH", "OPERATORS", "Callers", "Rule", "admit", "permit", "rules"]


class Callers(enum.Enum):
    """Who may call a method at all."""

    USERS = policy_pb2.USERS
    ANYONE = policy_pb2.ANYONE
    SERVICES = policy_pb2.SERVICES


@attrs.frozen(kw_only=True)
class Rule:
    """What one method demands: *method* is its name on the wire, *subject* the field that names what is meant."""

    method: str
    permission: str
    use: Use
    callers: Callers
    subject: str = ""
    names: Plan = ()
    ours: bool = True
    streams: bool = False


CONSTANT: Final = frozenset({"/capsule_api.identity.v1.IdentityService/GetSigningKeys"})
"""What services ask each other all the time: it waits for nobody, is counted, not traced, and logged if it fails."""

OPERATORS: Final = frozenset({"/capsule_api.identity.v1.IdentityService/CheckAddresses"})
"""What the operator's own services ask about no tenant: any other method of theirs begins with what it is about."""


def _foreign(method: str, permission: str) -> Rule:
    return Rule(method=method, permission=permission, use=Use.SECURITY, callers=Callers.ANYONE, ours=False)


HEALTH: Final = (
    _foreign("/grpc.health.v1.Health/Check", "health.read"),
    _foreign("/grpc.health.v1.Health/List", "health.read"),
    _foreign("/grpc.health.v1.Health/Watch", "health.read"),
)
"""Health, for anyone."""

DEVELOPMENT: Final = (_foreign("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "reflection.read"),)
"""Reflection, for anyone, with ``--dev`` only."""


def rules(services: Iterable[ServiceDescriptor], *others: Rule) -> Mapping[str, Rule]:
    """Read the rule of each method of *services*, and add *others*; the keys are names on the wire.

    Raises:
        StartRefused: a method declares no permission, use or callers, or what it is about cannot be told.
    """
    ours = [_rule(method) for service in services for method in service.methods]
    return MappingProxyType({rule.method: rule for rule in (*ours, *others)})


def permit(rule: Rule, caller: Caller) -> None:
    """Let *caller* call at all; before anything in the request is looked at (AIP-211).

    Raises:
        PermissionDenied: the caller lacks the permission.
    """
    match rule.callers, caller:
        case (Callers.ANYONE, _) | (Callers.SERVICES, ServiceCaller()):
            return
        case Callers.USERS, UserCaller():
            require(caller.authority, rule.permission)
        case _:
            raise PermissionDenied(rule.permission)


def admit(rule: Rule, caller: Caller, request: Message, *, opening: bool = True) -> TenantId | None:
    """Let *request* through if it names resources of one tenant, a user's own; return that tenant, or None.

    A tenant that is not the caller's, there or not, is refused exactly as a missing permission is (AIP-211). Only the
    *opening* message of a stream has to say what the call is about.

    Raises:
        PermissionDenied: a resource of another tenant is named.
        InvalidField: a name is none, or the one that the method is about is missing.
    """
    own = caller.tenant if isinstance(caller, UserCaller) else None
    names = dict(named(request, rule.names))
    for path, name in names.items():
        if own is None or not name.startswith(f"tenants/{own}/"):
            tenant = _tenant(path, name)
            own = own or tenant
            if tenant != own:
                raise PermissionDenied(rule.permission)
    if opening and rule.subject and rule.subject not in names:
        raise InvalidField(rule.subject, "is required")
    return own


def _tenant(path: str, name: str) -> TenantId:
    collection, _, rest = name.partition("/")
    if collection != "tenants" or not rest:
        raise InvalidField(path, "must be a resource name that begins with 'tenants/'")
    try:
        return tenant_id(rest.partition("/")[0])
    except InvalidField as error:
        raise InvalidField(path, f"must name a tenant whose id has {error.problem.removeprefix('must be ')}") from None


def _rule(method: MethodDescriptor) -> Rule:
    declared = method.GetOptions().Extensions[policy_pb2.policy]
    if not (declared.permission and declared.use and declared.callers):
        raise StartRefused(
            f"{method.full_name} declares no policy; say its permission, use and callers in the contract"
        )
    names = plan(method.input_type)
    subject = first(method.input_type)
    rule = Rule(
        method=f"/{method.containing_service.full_name}/{method.name}",
        permission=declared.permission,
        use=Use[policy_pb2.Use.Name(declared.use)],
        callers=Callers(declared.callers),
        subject=subject,
        names=names,
        streams=method.client_streaming or method.server_streaming,
    )
    about_none = rule.callers is Callers.ANYONE or (rule.callers is Callers.SERVICES and rule.method in OPERATORS)
    if not about_none and method.input_type.fields and not subject:
        raise StartRefused(f"{method.full_name} does not begin with the name of what it is about; make that field 1")
    return rule
