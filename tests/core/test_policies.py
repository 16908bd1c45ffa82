"""A policy that cannot be carried out is refused with the path and the reason; a locked rule is never loosened."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsule_core.calendar import Period
from capsule_core.errors import InvalidField
from capsule_core.policies import amended, document, parse_policy, scope_of
from capsule_core.retaining import governed
from capsule_core.retention import Effect, Policy
from tests.core.desk import KINDS, NOON

NAMED = governed({declared.name: declared for declared in KINDS})
SOUND = {"id": "r", "effect": "destroy", "since": "created", "period": "P1Y", "kinds": ["person"]}


def parsed(*rules: Any, **more: Any) -> Policy:
    return parse_policy(json.dumps({"rules": list(rules), **more}), NAMED)


@pytest.mark.parametrize(
    ("rules", "path", "said"),
    [
        ([{**SOUND, "kinds": ["persona"]}], "rules[0].kinds[0]", "one of entry, invoice"),
        ([SOUND, {**SOUND, "id": "s", "period": "P0D"}], "rules[1].period", "longer than nothing"),
        ([{**SOUND, "period": "-P1Y"}], "rules[0].period", "P6Y"),
        ([{**SOUND, "period": 5}], "rules[0].period", "P90D"),
        ([{**SOUND, "effect": "burn"}], "rules[0].effect", "keep, ask, trash"),
        ([{**SOUND, "since": "monday"}], "rules[0].since", "created, updated"),
        ([{**SOUND, "since": None}], "rules[0].since", "or else after"),
        ([{**SOUND, "after": "r"}], "rules[0].after", "where since is"),
        ([SOUND, SOUND], "rules[1].id", "another rule"),
        ([{**SOUND, "id": "trash"}], "rules[0].id", "everybody has"),
        ([{**SOUND, "id": "a b"}], "rules[0].id", "letters"),
        ([{**SOUND, "purpose": "world domination"}], "rules[0].purpose", "declared by none"),
        ([{**SOUND, "since": None, "after": "x"}], "rules[0].after", "names no rule: x"),
        (
            [{**SOUND, "since": None, "after": "b"}, {**SOUND, "id": "b", "since": None, "after": "r"}],
            "rules[0].after",
            "circle",
        ),
        ([SOUND, {**SOUND, "id": "s", "effect": "trash"}], "rules[1].effect", "contradicts rules[0]"),
        ([{**SOUND, "since": "trashed"}], "rules[0].since", "may only keep"),
        ([{**SOUND, "field": "about", "effect": "trash"}], "rules[0].effect", "a field goes"),
        ([{**SOUND, "field": "about", "kinds": []}], "rules[0].kinds", "of which kinds"),
        ([{**SOUND, "field": "shoe_size"}], "rules[0].field", "a personal field of person"),
        ([{**SOUND, "field": "amount", "kinds": ["invoice"]}], "rules[0].field", "can be without"),
        ([{**SOUND, "effect": "depersonalise", "kinds": ["invoice"]}], "rules[0].effect", "cannot be without amount"),
        ([{**SOUND, "colour": "red"}], "rules[0].colour", "not known"),
        ([{**SOUND, "locked": "yes"}], "rules[0].locked", "true or false"),
        ([{**SOUND, "kinds": "person"}], "rules[0].kinds", "a list"),
        ([{**SOUND, "effect": ["trash"]}], "rules[0].effect", "keep, ask, trash"),
        ([{**SOUND, "effect": {"trash": []}}], "rules[0].effect", "keep, ask, trash"),
        (["rule"], "rules[0]", "an object with after, effect"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_with_its_path(rules: list[Any], path: str, said: str) -> None:
    with pytest.raises(InvalidField) as refused:
        parsed(*rules)
    assert refused.value.field == path
    assert said in refused.value.problem


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "{}", '{"rules": {}}', '{"zone": "UTC"}'])
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(InvalidField):
        parse_policy(text, NAMED)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", 5, None, {}])
def test_a_zone_that_is_none_is_refused(zone: object) -> None:
    with pytest.raises(InvalidField, match="zone must be the name of a time zone"):
        parsed(zone=zone)


@pytest.mark.parametrize(
    ("text", "path", "said"),
    [
        ('{"rulez": [], "rules": []}', "rulez", "not known; it may have rules, zone"),
        ('{"time_zone": "UTC", "rules": []}', "time_zone", "not known; it may have rules, zone"),
        ('{"rules": [], "rules": []}', "rules", "twice; it may have rules, zone"),
        ('{"rules": [{"id": "r", "effect": "keep", "effect": "ask"}]}', "rules[0].effect", "twice"),
    ],
)
def test_a_key_that_is_not_known_or_is_there_twice_is_refused(text: str, path: str, said: str) -> None:
    with pytest.raises(InvalidField) as refused:
        parse_policy(text, NAMED)
    assert refused.value.field == path
    assert said in refused.value.problem


@given(periods=st.lists(st.sampled_from(["P1Y", "P18M", "P90D", "PT720H"]), max_size=4), locked=st.booleans())
def test_a_policy_is_read_as_it_is_written(periods: list[str], *, locked: bool) -> None:
    rules = [
        {**SOUND, "id": f"r{n}", "effect": "keep", "period": each, "locked": locked} for n, each in enumerate(periods)
    ]
    policy = parsed(*rules, zone="Europe/Berlin")
    assert parse_policy(document(policy), NAMED) == policy
    assert all(rule.effect is Effect.KEEP for rule in policy.rules)


def test_a_locked_rule_can_be_made_longer_and_nothing_else() -> None:
    locked = {**SOUND, "locked": True}
    old = parsed(locked)
    longer = amended(old, parsed({**locked, "period": "P2Y"}), now=NOON)
    assert longer.rules[0].period == Period(years=2)
    for rules, path in (
        ([], "rules"),
        ([{**locked, "period": "P11M"}], "rules[0].period"),
        ([{**locked, "period": "PT9000H"}], "rules[0].period"),
        ([{**locked, "locked": False}], "rules[0].locked"),
        ([{**locked, "since": "updated"}], "rules[0]"),
        ([{**locked, "kinds": []}], "rules[0]"),
    ):
        with pytest.raises(InvalidField) as refused:
            amended(old, parsed(*rules), now=NOON)
        assert refused.value.field == path


def test_the_policies_before_it_count_until_their_grace_is_over_and_no_longer() -> None:
    one, two, three = (parsed({**SOUND, "period": period}) for period in ("P3Y", "P2Y", "P1Y"))
    second = amended(one, two, now=NOON)
    third = amended(second, three, now=NOON + timedelta(days=10))
    assert third.before is second
    late = amended(second, three, now=NOON + timedelta(days=31))
    assert late.before == two


def test_a_decision_on_a_record_is_about_all_the_purposes_of_its_fields() -> None:
    assert scope_of(NAMED["invoice"]).purposes == {"accounting"}
    assert scope_of(NAMED["invoice"], "amount").field == "amount"
