"""The policy of the contract: nothing runs without one, and it says what the interceptor enforces."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

import capsule_api
from capsule_api.contacts.v1 import contacts_pb2
from capsule_api.holder.v1 import holder_pb2
from capsule_api.policy.v1 import policy_pb2
from capsule_core.errors import InvalidField, PermissionDenied
from capsule_core.uses import Use
from capsule_services.runtime.callers import Anonymous, ServiceCaller
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.policy import DEVELOPMENT, HEALTH, OPERATORS, Callers, admit, permit, rules
from tests.services.chassis import anna

CONTACTS = contacts_pb2.DESCRIPTOR.services_by_name["ContactsService"]
HOLDER = holder_pb2.DESCRIPTOR.services_by_name["HolderService"]


def contract() -> list[ServiceDescriptor]:
    names = [module.name for module in pkgutil.walk_packages(capsule_api.__path__, "capsule_api.")]
    files = [importlib.import_module(name).DESCRIPTOR for name in names if name.endswith("_pb2")]
    return [service for file in files for service in file.services_by_name.values()]


@pytest.mark.law("L13")
def test_every_method_of_the_contract_has_a_rule() -> None:
    table = rules(contract(), *HEALTH, *DEVELOPMENT)
    assert len(table) == sum(len(service.methods) for service in contract()) + len(HEALTH) + len(DEVELOPMENT)
    purge = table["/capsule_api.contacts.v1.ContactsService/PurgeContact"]
    assert (purge.permission, purge.use, purge.callers) == ("contacts.purge", Use.ERASE, Callers.USERS)


def test_only_what_the_operator_asks_about_no_tenant_names_none() -> None:
    asking = {f"/{each.full_name}/{method.name}" for each in contract() for method in each.methods if asks(method)}
    table = rules(contract())
    named = {method for method in asking if table[method].callers is not Callers.ANYONE and not table[method].subject}
    assert named == OPERATORS
    assert all(table[method].callers is Callers.SERVICES for method in OPERATORS)


def asks(method: MethodDescriptor) -> bool:
    return bool(method.input_type.fields)


def test_every_method_for_users_and_services_says_what_it_is_about() -> None:
    about = {rule.subject for rule in rules(contract()).values() if rule.callers is not Callers.ANYONE}
    assert about == {
        "",
        "name",
        "parent",
        "contact.name",
        "entry.name",
        "user.name",
        "erasure",
        "header.parent",
        "policy.name",
    }


def test_the_names_in_a_request_are_found_at_any_depth() -> None:
    rule = rules([CONTACTS])["/capsule_api.contacts.v1.ContactsService/UpdateContact"]
    contact = contacts_pb2.Contact(name="tenants/acme/contacts/c", owner="tenants/acme/users/u")
    assert admit(rule, anna(), contacts_pb2.UpdateContactRequest(contact=contact)) == "acme"
    for other in ("tenants/rival/users/u", "tenants/acme2/users/u", "tenants/-/users/u"):
        contact.owner = other
        with pytest.raises((PermissionDenied, InvalidField)):
            admit(rule, anna(), contacts_pb2.UpdateContactRequest(contact=contact))


def test_a_service_stays_within_one_tenant_in_one_call() -> None:
    rule = rules([HOLDER])["/capsule_api.holder.v1.HolderService/Collect"]
    request = holder_pb2.CollectRequest(parent="tenants/acme", subjects=["tenants/acme/contacts/c"])
    assert admit(rule, ServiceCaller("privacy"), request) == "acme"
    request.subjects.append("tenants/rival/contacts/c")
    with pytest.raises(PermissionDenied):
        admit(rule, ServiceCaller("privacy"), request)


@pytest.mark.parametrize("name", ["", "contacts/c", "tenants", "tenants/", "tenants/ /x", "tenants/" + "x" * 65])
def test_a_name_that_is_none_is_malformed_and_its_field_is_named(name: str) -> None:
    rule = rules([CONTACTS])["/capsule_api.contacts.v1.ContactsService/GetContact"]
    with pytest.raises(InvalidField) as caught:
        admit(rule, anna(), contacts_pb2.GetContactRequest(name=name))
    assert caught.value.field == "name"


def test_each_kind_of_callers_gets_what_is_for_it() -> None:
    table = rules(contract())
    sign_in = table["/capsule_api.identity.v1.IdentityService/SignIn"]
    about = table["/capsule_api.holder.v1.HolderService/About"]
    read = table["/capsule_api.contacts.v1.ContactsService/GetContact"]
    admitted = [(sign_in, Anonymous()), (sign_in, anna()), (about, ServiceCaller("privacy")), (read, anna())]
    for rule, caller in admitted:
        permit(rule, caller)
    refused = [(about, Anonymous()), (about, anna()), (read, Anonymous()), (read, ServiceCaller("privacy"))]
    for rule, caller in refused:
        with pytest.raises(PermissionDenied) as caught:
            permit(rule, caller)
        assert caught.value.permission == rule.permission


def broken(**declared: object) -> ServiceDescriptor:
    """A service with one method that declares *declared*, on a request that names nothing."""
    pool = DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name="broken.proto", package="broken.v1", syntax="proto3")
    thing = file.message_type.add(name="Thing")
    thing.field.add(name="id", number=1, type=FieldDescriptor.TYPE_STRING, label=FieldDescriptor.LABEL_OPTIONAL)
    method = file.service.add(name="Broken").method.add(
        name="DoThing", input_type=".broken.v1.Thing", output_type=".broken.v1.Thing"
    )
    method.options.Extensions[policy_pb2.policy].CopyFrom(policy_pb2.Policy(**declared))  # type: ignore[arg-type]
    pool.Add(file)
    return pool.FindServiceByName("broken.v1.Broken")


@pytest.mark.law("L13")
@pytest.mark.parametrize(
    "declared",
    [
        {},
        {"permission": "things.do", "use": "EDIT"},
        {"permission": "things.do", "callers": "USERS"},
        {"use": "EDIT", "callers": "USERS"},
        {"permission": "things.do", "use": "EDIT", "callers": "USERS"},
    ],
    ids=["nothing", "no callers", "no use", "no permission", "no subject"],
)
def test_a_method_that_does_not_say_everything_keeps_the_service_from_starting(declared: dict[str, str]) -> None:
    with pytest.raises(StartRefused, match=r"broken\.v1\.Broken\.DoThing"):
        rules([broken(**declared)])


def test_what_anyone_may_call_need_not_be_about_anything() -> None:
    assert rules([broken(permission="things.do", use="EDIT", callers="ANYONE")])
