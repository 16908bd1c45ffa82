"""Retention by rpc: who may set a policy, what it answers, what it refuses with the path, and why somebody stays."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import CapsuleError, InvalidField, PermissionDenied, ResourceMissing, VersionMismatch
from capsule_core.moments import Event
from capsule_core.names import SubjectKey, TenantId
from capsule_core.roles import Role
from tests.services.office import Desk, Office, deleted, fresh_id, listed, note, office, opened_on, person

DAY = timedelta(days=1)
Rule = pb.RetentionRule


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    opened = opened_on(request.param, folder)
    yield office(opened, folder)
    opened.close()


@pytest.fixture
def desk(here: Office) -> Desk:
    return here.desk()


def rule(**said: Any) -> Rule:
    plain = {"id": "leads", "effect": Rule.TRASH, "since": Rule.CREATED, "period": "P1Y", "kinds": ["person"]}
    return Rule(**(plain | said))


def policy(desk: Desk, *rules: Rule, **said: Any) -> pb.RetentionPolicy:
    return pb.RetentionPolicy(name=f"{desk.tenant}/retentionPolicy", rules=rules, **said)


def setting(desk: Desk, *rules: Rule, **said: Any) -> pb.SetRetentionPolicyRequest:
    of_request = {key: said.pop(key) for key in ("validate_only",) if key in said}
    return pb.SetRetentionPolicyRequest(policy=policy(desk, *rules, **said), request_id=fresh_id(), **of_request)


def got(desk: Desk) -> pb.RetentionPolicy:
    answer: pb.RetentionPolicy = desk.GetRetentionPolicy(
        pb.GetRetentionPolicyRequest(name=f"{desk.tenant}/retentionPolicy")
    )
    return answer


def explained(desk: Desk, contact: str) -> pb.ContactExplanation:
    answer: pb.ContactExplanation = desk.ExplainContact(pb.ExplainContactRequest(name=contact))
    return answer


def previewed(desk: Desk, **said: Any) -> list[pb.RetentionForecast]:
    return list(desk.PreviewRetention(pb.PreviewRetentionRequest(parent=desk.tenant, **said)).forecasts)


def test_a_tenant_that_never_set_a_policy_has_one_without_rules(desk: Desk) -> None:
    empty = got(desk)
    assert (list(empty.rules), empty.time_zone, empty.etag) == ([], "UTC", '"0"')
    assert not empty.HasField("update_time")


def test_a_policy_is_answered_as_it_was_set(desk: Desk) -> None:
    rules = [rule(), rule(id="tax", effect=Rule.KEEP, kinds=["entry"], locked=True), rule(id="x", since=0, after="tax")]
    answer = desk.SetRetentionPolicy(setting(desk, *rules, time_zone="Europe/Berlin"))
    assert list(answer.rules) == rules
    assert answer.time_zone == "Europe/Berlin"
    assert answer == got(desk)
    assert answer.HasField("grace_end_time")
    assert desk.SetRetentionPolicy(setting(desk, *rules, etag=answer.etag)).etag == '"2"'
    with pytest.raises(VersionMismatch):
        desk.SetRetentionPolicy(setting(desk, *rules, etag=answer.etag))


def test_the_same_request_sets_it_once(desk: Desk) -> None:
    request = setting(desk, rule())
    assert desk.SetRetentionPolicy(request).etag == desk.SetRetentionPolicy(request).etag == '"1"'


def test_what_is_only_checked_is_not_set(desk: Desk) -> None:
    assert len(desk.SetRetentionPolicy(setting(desk, rule(), validate_only=True)).rules) == 1
    assert not got(desk).rules


@pytest.mark.parametrize(
    ("wrong", "path"),
    [
        ({"kinds": ["invoice"]}, "policy.rules[1].kinds[0]"),
        ({"kinds": ["hold"]}, "policy.rules[1].kinds[0]"),
        ({"period": "P0D"}, "policy.rules[1].period"),
        ({"period": ""}, "policy.rules[1].period"),
        ({"effect": 0}, "policy.rules[1].effect"),
        ({"effect": 99}, "policy.rules[1].effect"),
        ({"since": 0}, "policy.rules[1].since"),
        ({"since": 99}, "policy.rules[1].since"),
        ({"purpose": "none"}, "policy.rules[1].purpose"),
        ({"since": 0, "after": "b"}, "policy.rules[1].after"),
        ({"id": ""}, "policy.rules[1].id"),
        ({"id": "leads"}, "policy.rules[1].id"),
        ({"effect": Rule.DESTROY}, "policy.rules[1].effect"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_with_its_path_and_the_old_one_stays(
    desk: Desk, wrong: dict[str, Any], path: str
) -> None:
    desk.SetRetentionPolicy(setting(desk, rule()))
    with pytest.raises(InvalidField) as refused:
        desk.SetRetentionPolicy(setting(desk, rule(), rule(**({"id": "b"} | wrong))))
    assert refused.value.field == path
    assert [each.id for each in got(desk).rules] == ["leads"]


@pytest.mark.parametrize(
    ("said", "path"), [({"time_zone": "Mars"}, "policy.time_zone"), ({"name": "tenants/x"}, "policy.name")]
)
def test_so_is_what_is_no_policy_at_all(desk: Desk, said: dict[str, str], path: str) -> None:
    request = setting(desk, rule())
    for field, value in said.items():
        setattr(request.policy, field, value)
    with pytest.raises(CapsuleError) as refused:
        desk.SetRetentionPolicy(request)
    assert getattr(refused.value, "field", "policy.name") == path


@pytest.mark.law("L13")
@pytest.mark.parametrize("role", Role)
def test_a_super_administrator_sets_it_and_administrators_see_what_it_does(here: Office, role: Role) -> None:
    desk = here.desk()
    other = here.desk(desk.tenant.removeprefix("tenants/"), role)
    contact = person(desk)
    looks = role in {Role.ADMINISTRATOR, Role.SUPER_ADMINISTRATOR}
    for may, call in (
        (role is Role.SUPER_ADMINISTRATOR, lambda: other.SetRetentionPolicy(setting(other, rule()))),
        (looks, lambda: got(other)),
        (looks, lambda: previewed(other)),
        (looks, lambda: explained(other, contact.name)),
        (role is not Role.RESTRICTED, lambda: other.EndRelationship(ending(contact))),
    ):
        if may:
            call()
            continue
        with pytest.raises(PermissionDenied):
            call()


def ending(contact: pb.Contact, at: Any = None) -> pb.EndRelationshipRequest:
    request = pb.EndRelationshipRequest(name=contact.name, request_id=fresh_id())
    if at is not None:
        request.end_time.FromDatetime(at)
    return request


@pytest.mark.law("L1")
def test_a_foreign_contact_and_an_unknown_one_are_explained_alike(here: Office, desk: Desk) -> None:
    foreign = person(here.desk()).name.rpartition("/")[2]
    errors = []
    for name in (foreign, "c0000"):
        with pytest.raises(ResourceMissing) as refused:
            explained(desk, f"{desk.tenant}/contacts/{name}")
        errors.append((type(refused.value), str(refused.value)))
    assert errors[0] == errors[1]


def test_what_goes_is_said_week_by_week_and_what_a_change_would_do(desk: Desk) -> None:
    person(desk, "Ada")
    person(desk, "Bob")
    deleted(desk, person(desk, "Cyd"))
    assert [(each.effect, list(each.because), each.records) for each in previewed(desk)] == [
        (Rule.DESTROY, ["trash"], 1)
    ]
    desk.SetRetentionPolicy(setting(desk, rule()))
    assert [(each.effect, list(each.because), each.records) for each in previewed(desk, weeks=60)] == [
        (Rule.DESTROY, ["trash"], 1),
        (Rule.TRASH, ["leads"], 2),
    ]
    request = pb.SimulateRetentionRequest(policy=policy(desk, rule(period="P2M")), weeks=60)
    (change,) = desk.SimulateRetention(request).changes
    assert (change.kind, change.sooner, list(change.because), change.records) == ("person", True, ["leads"], 2)
    assert change.HasField("first_time")
    for weeks in (-1, 105):
        with pytest.raises(InvalidField):
            previewed(desk, weeks=weeks)


def test_why_a_contact_is_still_here_is_said_with_rules_and_holds(here: Office, desk: Desk) -> None:
    contact = person(desk)
    unsaid = explained(desk, contact.name)
    assert (unsaid.effect, list(unsaid.because), unsaid.HasField("time")) == (Rule.KEEP, [], False)
    desk.SetRetentionPolicy(setting(desk, rule(), rule(id="left", since=Rule.RELATIONSHIP_ENDED, period="P1M")))
    told = explained(desk, contact.name)
    assert (told.effect, list(told.because)) == (Rule.KEEP, ["leads"])
    assert [(run.rule, run.HasField("end_time")) for run in told.runs] == [("leads", True), ("left", False)]
    desk.EndRelationship(ending(contact, here.holding.now()))
    assert list(explained(desk, contact.name).because) == ["left"]
    desk.EndRelationship(ending(contact))
    assert list(explained(desk, contact.name).because) == ["leads"]
    hold = pb.Hold(target=contact.name, ground=pb.Hold.LEGAL_CLAIMS, authority="county court")
    placed = desk.PlaceHold(pb.PlaceHoldRequest(parent=desk.tenant, hold=hold, request_id=fresh_id()))
    held = explained(desk, contact.name)
    assert list(held.because) == [placed.name.rpartition("/")[2]]
    assert [guard.mark for guard in held.guards] == ["held"]


def test_a_relationship_does_not_end_in_the_future_and_a_repeated_request_ends_it_once(
    here: Office, desk: Desk
) -> None:
    contact = person(desk)
    with pytest.raises(InvalidField) as refused:
        desk.EndRelationship(ending(contact, here.holding.now() + DAY))
    assert refused.value.field == "end_time"
    request = ending(contact, here.holding.now())
    for _ in range(2):
        desk.EndRelationship(request)
    assert desk.GetContact(pb.GetContactRequest(name=contact.name)).etag == '"2"'


def test_a_call_counts_as_contact_and_a_note_does_not(here: Office, desk: Desk) -> None:
    contact = person(desk)
    subject, tenant = SubjectKey(contact.name.rpartition("/")[2]), TenantId(desk.tenant.removeprefix("tenants/"))
    store = here.holding.repository.store

    def contacted() -> Any:
        return store.happened(tenant, [subject])[0][Event.CONTACTED]

    came = contacted()
    here.advance(DAY)
    note(desk, contact)
    assert contacted() == came
    here.advance(DAY)
    call = pb.Entry(kind=pb.Entry.CALL, body="Rang.", direction=pb.Entry.OUTGOING)
    desk.CreateEntry(pb.CreateEntryRequest(parent=contact.name, entry=call, request_id=fresh_id()))
    assert contacted() > came + DAY


def test_lists_and_exports_know_nothing_of_a_policy(desk: Desk) -> None:
    desk.SetRetentionPolicy(setting(desk, rule()))
    assert listed(desk) == []
    pieces = desk.ExportContacts(pb.ExportContactsRequest(parent=desk.tenant, format=pb.ExportContactsRequest.RECORDS))
    assert [len(piece.records) for piece in pieces] == [0]
