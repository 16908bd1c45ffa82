"""The contract keeps its own rules; every check is shown, on a contract that breaks them all, to be able to fail."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs
import pytest
from google.api import field_behavior_pb2, field_info_pb2, resource_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, FileDescriptor, MethodDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

import capsule_api
from capsule_api.identity.v1 import identity_pb2
from capsule_api.policy.v1 import policy_pb2
from capsule_core import errors
from capsule_core.roles import EXPORT, Authority, Role, allows
from capsule_core.uses import Use

Check = Callable[[Iterable[FileDescriptor]], set[str]]

READERS = (
    *("Get", "List", "Search", "Export", "Print", "Preview", "Simulate", "Explain", "About", "Locate", "Collect"),
    "Check",
)
KEYED_OTHERWISE = {
    "SignIn": "every call opens a session of its own",
    "SignOut": "the session is the key",
    "Erase": "the erasure is the key",
}


def contract() -> list[FileDescriptor]:
    names = [module.name for module in pkgutil.walk_packages(capsule_api.__path__, "capsule_api.")]
    return [importlib.import_module(name).DESCRIPTOR for name in names if name.endswith("_pb2")]


def methods(files: Iterable[FileDescriptor]) -> list[MethodDescriptor]:
    return [method for file in files for service in file.services_by_name.values() for method in service.methods]


def policy(method: MethodDescriptor) -> policy_pb2.Policy:
    return method.GetOptions().Extensions[policy_pb2.policy]


def behaviour(field: FieldDescriptor) -> list[int]:
    return list(field.GetOptions().Extensions[field_behavior_pb2.field_behavior])


def resource(message: Descriptor) -> resource_pb2.ResourceDescriptor:
    return message.GetOptions().Extensions[resource_pb2.resource]


def reachable(roots: Iterable[Descriptor]) -> Iterator[Descriptor]:
    """Yield *roots* and all that they are made of, as far as it is ours."""
    seen: dict[str, Descriptor] = {}
    waiting = list(roots)
    while waiting:
        message = waiting.pop()
        if message.full_name not in seen and message.full_name.startswith("capsule_api."):
            seen[message.full_name] = message
            waiting += [field.message_type for field in message.fields if field.message_type]
    yield from seen.values()


def resources(files: Iterable[FileDescriptor]) -> list[Descriptor]:
    return [message for file in files for message in file.message_types_by_name.values() if resource(message).type]


def undeclared(files: Iterable[FileDescriptor]) -> set[str]:
    """Methods that say not all of: which permission, which use, which callers."""
    declared = ((method, policy(method)) for method in methods(files))
    return {method.full_name for method, says in declared if not (says.permission and says.use and says.callers)}


def unannotated(files: Iterable[FileDescriptor]) -> set[str]:
    """Fields of requests and resources that say nothing about how they behave (AIP-203)."""
    roots = [method.input_type for method in methods(files)] + resources(files)
    return {field.full_name for message in reachable(roots) for field in message.fields if not behaviour(field)}


def unpaged(files: Iterable[FileDescriptor]) -> set[str]:
    """Lists and searches that cannot be read page by page (AIP-158)."""
    lists = [method for method in methods(files) if method.name.startswith(("List", "Search"))]
    return {
        method.full_name
        for method in lists
        if not {"page_size", "page_token"} <= set(method.input_type.fields_by_name)
        or "next_page_token" not in method.output_type.fields_by_name
    }


def keyed(method: MethodDescriptor) -> bool:
    ids = [
        field for message in reachable([method.input_type]) for field in message.fields if field.name == "request_id"
    ]
    uuid4 = field_info_pb2.FieldInfo.UUID4
    return any(field.GetOptions().Extensions[field_info_pb2.field_info].format == uuid4 for field in ids)


def unkeyed(files: Iterable[FileDescriptor]) -> set[str]:
    """Methods that change something and cannot be retried without fear (AIP-155)."""
    mutators = [method for method in methods(files) if not method.name.startswith(READERS)]
    return {method.full_name for method in mutators if method.name not in KEYED_OTHERWISE and not keyed(method)}


def misnamed(files: Iterable[FileDescriptor]) -> set[str]:
    """Resources whose first field is not their name, or whose name does not start with its tenant (AIP-122, 148)."""
    identifier = field_behavior_pb2.IDENTIFIER
    return {
        message.full_name
        for message in resources(files)
        if message.fields[0].name != "name"
        or message.fields[0].number != 1
        or behaviour(message.fields[0]) != [identifier]
        or not all(pattern.startswith("tenants/{tenant}") for pattern in resource(message).pattern)
    }


def entangled(files: Iterable[FileDescriptor]) -> set[str]:
    """Files that import another service's messages (AIP-215)."""
    ours = {file: {name for name in imports(file) if name.startswith("capsule_api/")} for file in files}
    return {file.name for file, names in ours.items() if names - {policy_pb2.DESCRIPTOR.name}}


def imports(file: FileDescriptor) -> set[str]:
    return {dependency.name for dependency in file.dependencies}


CHECKS = [
    pytest.param(undeclared, marks=pytest.mark.law("L13")),
    unkeyed,
    unannotated,
    unpaged,
    misnamed,
    entangled,
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_contract_keeps_its_rules(check: Check) -> None:
    assert check(contract()) == set()


@pytest.mark.parametrize("check", CHECKS)
def test_a_contract_that_breaks_a_rule_is_found(check: Check) -> None:
    found = {name.removeprefix("capsule_api.broken.v1.") for name in check([broken()])}
    expected: dict[Check, set[str]] = {
        undeclared: {"BrokenService.ListThings", "BrokenService.CreateThing"},
        unkeyed: {"BrokenService.CreateThing"},
        unannotated: {"Request.parent", "Thing.id"},
        unpaged: {"BrokenService.ListThings"},
        misnamed: {"Thing"},
        entangled: {"broken.proto"},
    }
    assert found == expected[check]


def test_the_whole_contract_is_looked_at() -> None:
    services = {method.containing_service.name for method in methods(contract())}
    assert services == {"ContactsService", "IdentityService", "PrivacyService", "HolderService", "LedgerService"}


@pytest.mark.law("L13")
def test_contract_and_domain_know_the_same_uses() -> None:
    assert values(policy_pb2.DESCRIPTOR.enum_types_by_name["Use"]) == {use.name for use in Use}


@pytest.mark.law("L13")
def test_every_permission_of_a_method_for_users_can_be_had() -> None:
    everything = Authority(Role.SUPER_ADMINISTRATOR, frozenset({EXPORT}))
    wanted = permissions(policy_pb2.USERS)
    assert wanted
    assert {permission for permission in wanted if not allows(everything, permission)} == set()


@pytest.mark.law("L13")
def test_a_permission_belongs_to_one_kind_of_callers() -> None:
    users, anyone, services = map(permissions, (policy_pb2.USERS, policy_pb2.ANYONE, policy_pb2.SERVICES))
    assert users.isdisjoint(anyone | services)
    assert anyone.isdisjoint(services)


def test_contract_and_domain_know_the_same_roles() -> None:
    assert values(identity_pb2.DESCRIPTOR.enum_types_by_name["Role"]) == {role.name for role in Role}


def test_the_contract_documents_exactly_the_reasons_of_the_domain() -> None:
    enums = [file.enum_types_by_name["ErrorReason"] for file in contract() if file.services_by_name]
    assert set[str]().union(*map(values, enums)) == refusals().keys()


def test_the_examples_of_the_contract_show_the_metadata_that_is_sent() -> None:
    for file in contract():
        if file.services_by_name:
            shown = examples(file)
            assert shown.keys() == values(file.enum_types_by_name["ErrorReason"])
            assert shown == {reason: refusals()[reason] for reason in shown}


def values(enum: EnumDescriptor) -> set[str]:
    return {value.name for value in enum.values if value.number}


def permissions(callers: policy_pb2.Callers.ValueType) -> set[str]:
    policies = [policy(method) for method in methods(contract())]
    return {says.permission for says in policies if says.callers == callers}


def refusals() -> dict[str, set[str]]:
    """Every reason the domain gives, with the keys of its metadata."""
    classes = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, errors.CapsuleError)
    ]
    return {each.reason: {field.name for field in attrs.fields(each)} for each in classes}


def examples(file: FileDescriptor) -> dict[str, set[str]]:
    """The example of each reason in the comments of *file*, with the keys of its metadata."""
    text = (Path(__file__).parents[2] / "protos" / file.name).read_text("utf-8")
    prose = re.sub(r"^\s*//\s*", "", text, flags=re.MULTILINE)
    shown = [json.loads(found) for found in re.findall(r'\{"reason".*?\}\}', prose, flags=re.DOTALL)]
    return {example["reason"]: set(example["metadata"]) for example in shown}


def broken() -> FileDescriptor:
    """A contract that breaks every rule: no policy, half a policy, no paging, no key, no behaviour, no name."""
    file = descriptor_pb2.FileDescriptorProto(
        name="broken.proto", package="capsule_api.broken.v1", syntax="proto3", dependency=["capsule_api/other.proto"]
    )
    thing = file.message_type.add(name="Thing")
    thing.field.add(name="id", number=1, type=FieldDescriptor.TYPE_STRING, label=FieldDescriptor.LABEL_OPTIONAL)
    thing.options.Extensions[resource_pb2.resource].type = "broken.capsule/Thing"
    request = file.message_type.add(name="Request")
    request.field.add(name="parent", number=1, type=FieldDescriptor.TYPE_STRING, label=FieldDescriptor.LABEL_OPTIONAL)
    service = file.service.add(name="BrokenService")
    names = {"input_type": ".capsule_api.broken.v1.Request", "output_type": ".capsule_api.broken.v1.Thing"}
    service.method.add(name="ListThings", **names)
    half = service.method.add(name="CreateThing", **names)
    half.options.Extensions[policy_pb2.policy].permission = "things.create"
    pool = DescriptorPool()
    pool.Add(descriptor_pb2.FileDescriptorProto(name="capsule_api/other.proto"))
    pool.Add(file)
    return pool.FindFileByName(file.name)
