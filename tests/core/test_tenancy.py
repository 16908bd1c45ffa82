"""Accounts, documents and membership: what is kept, and the rules of who may change what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from capsule_core import codec
from capsule_core.errors import (
    DocumentsOutdated,
    InvalidField,
    LastSuperAdministrator,
    PermissionDenied,
    Unauthenticated,
)
from capsule_core.personal import Personal, kind_of
from capsule_core.roles import EXPORT, Authority, Role, allows
from capsule_core.tenancy import (
    INVITATION_LIFE,
    MANAGE,
    MOST_FAILURES,
    Acceptance,
    Credential,
    Document,
    DocumentKind,
    Invitation,
    PaymentMethod,
    Roster,
    Session,
    TenantAccount,
    User,
    UserState,
    accept,
    agree,
    appoint,
    current,
    dismiss,
    fail,
    found,
    invite,
    may_try,
    to_accept,
    written,
)
from capsule_core.testing.strategies import email_addresses, lines

NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
TEXTS = lines(min_size=1).filter(lambda text: bool(text.strip()))
PERMISSIONS = ("contacts.export", "contacts.purge", "contacts.read", "users.manage", "users.read", "no.such")
GRANTS = st.sets(st.sampled_from(PERMISSIONS)).map(lambda chosen: tuple(sorted(chosen)))
ROLES = st.sampled_from(Role)


def user(name: str = "u1", role: Role = Role.SUPER_ADMINISTRATOR, granted: tuple[str, ...] = (EXPORT,)) -> User:
    return User(id=name, display_name="Anna", email="anna@example.org", role=role, granted=granted)


users = st.builds(
    User,
    id=st.just("u1"),
    display_name=TEXTS,
    email=email_addresses(),
    role=ROLES,
    granted=GRANTS,
    marketing_refused=st.booleans(),
    state=st.sampled_from(UserState),
)
acceptances = st.builds(
    Acceptance,
    kind=st.sampled_from(DocumentKind),
    version=st.text(max_size=5),
    sha256=st.just("0" * 64),
    user=st.just("u1"),
    accepted_at=MOMENTS.map(written),
)
payments = st.builds(
    PaymentMethod,
    gateway=TEXTS,
    token=TEXTS,
    brand=st.sampled_from(["", "Visa", "Carte Bancaire"]),
    last_four=st.from_regex(r"[0-9]{4}", fullmatch=True) | st.just(""),
)
records = st.one_of(
    users,
    st.builds(
        TenantAccount,
        id=st.just("t1"),
        display_name=TEXTS,
        acceptances=st.lists(acceptances, max_size=3).map(tuple),
        payment_method=st.none() | payments,
    ),
    st.builds(
        Roster, id=st.just("r1"), tenant=st.just("t1"), super_administrators=st.lists(st.text(max_size=5)).map(tuple)
    ),
    st.builds(Credential, id=st.just("k1"), user=st.just("u1"), password_hash=st.text(), failures=st.integers(0, 200)),
    st.builds(Session, id=st.just("s1"), user=st.just("u1"), expires_at=MOMENTS.map(written)),
    st.builds(
        Invitation,
        id=st.just("i1"),
        user=st.just("u1"),
        display_name=TEXTS,
        email=email_addresses(),
        role=ROLES,
        granted=GRANTS,
        expires_at=MOMENTS.map(written),
    ),
)


@given(records)
def test_a_record_comes_back_as_it_was_kept(record: object) -> None:
    kind = kind_of(type(record))
    assert codec.decode(codec.encode(record), kind, kind.schema) == record


def test_a_user_record_has_place_for_a_name_an_address_and_what_sign_in_needs() -> None:
    personal = {name for name, field in kind_of(User).fields.items() if isinstance(field, Personal)}
    assert personal == {"display_name", "email"}
    assert {field.name for field in attrs.fields(User)} - personal == {
        "id",
        "role",
        "granted",
        "marketing_refused",
        "state",
    }


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_payment_method_never_holds_more_of_a_card_than_four_digits(brand: str, last_four: str) -> None:
    try:
        payment = PaymentMethod(gateway="payments", token="tok_a", brand=brand, last_four=last_four)
    except InvalidField:
        return
    digits = [sign for sign in payment.brand + payment.last_four if sign.isdigit()]
    assert len(digits) in {0, 4}


@pytest.mark.parametrize("last_four", ["123", "12345", "４２４２", "42 2", "4242424242424242"])
def test_four_digits_are_four_digits(last_four: str) -> None:
    with pytest.raises(InvalidField) as refused:
        PaymentMethod(gateway="payments", token="tok_a", last_four=last_four)
    assert refused.value.field == "last_four"


@pytest.mark.parametrize(
    ("name", "email", "field"),
    [("", "a@example.org", "display_name"), ("A\n", "a@example.org", "display_name"), ("A", "nobody", "email")],
)
def test_a_malformed_user_is_refused_by_the_name_of_the_field(name: str, email: str, field: str) -> None:
    for make in (
        lambda: User(id="", display_name=name, email=email),
        lambda: Invitation(id="", user="", display_name=name, email=email),
    ):
        with pytest.raises(InvalidField) as refused:
            make()
        assert refused.value.field == field


# Documents


@st.composite
def histories(draw: st.DrawFn) -> tuple[Document, ...]:
    """Versions of documents, each in force from its own day on."""
    listed = []
    for kind in DocumentKind:
        material = draw(st.lists(st.booleans(), min_size=1, max_size=4))
        days = sorted(draw(st.sets(st.integers(1, 300), min_size=len(material), max_size=len(material))))
        for number, (day, is_material) in enumerate(zip(days, material, strict=True), start=1):
            listed.append(
                Document(
                    kind=kind,
                    version=str(number),
                    display_name=kind.value,
                    uri="https://example.org/",
                    sha256="0" * 64,
                    effective=NOW + timedelta(days=day),
                    material=is_material,
                )
            )
    return tuple(draw(st.permutations(listed)))


@given(histories(), st.integers(0, 310))
def test_who_accepts_the_current_versions_has_nothing_left_to_accept(documents: tuple[Document, ...], day: int) -> None:
    now = NOW + timedelta(days=day)
    said = [(document.kind, document.version) for document in current(documents, now=now)]
    agreed = agree(documents, said, user="u1", now=now)
    assert {(each.kind, each.version) for each in agreed} == set(said)
    assert to_accept(documents, agreed, now=now) == ()
    assert to_accept(documents, (), now=now) == current(documents, now=now)


@given(histories(), st.integers(300, 310), st.data())
def test_whoever_leaves_one_out_is_told_which(documents: tuple[Document, ...], day: int, data: st.DataObject) -> None:
    now = NOW + timedelta(days=day)
    in_force = current(documents, now=now)
    missing = data.draw(st.sampled_from(in_force))
    outdated = (missing.kind, f"{missing.version}x")
    said = [(each.kind, each.version) for each in in_force if each is not missing]
    with pytest.raises(DocumentsOutdated) as refused:
        agree(documents, [*said, outdated], user="u1", now=now)
    assert refused.value.document == missing.kind.value


@given(histories(), st.integers(1, 300), st.integers(0, 300))
def test_only_a_material_new_version_asks_again(documents: tuple[Document, ...], day: int, later: int) -> None:
    then, now = NOW + timedelta(days=day), NOW + timedelta(days=day + later)
    agreed = agree(documents, [(d.kind, d.version) for d in current(documents, now=then)], user="u1", now=then)
    known = {document.kind for document in current(documents, now=then)}
    asked = {document.kind for document in to_accept(documents, agreed, now=now)} & known
    assert asked == {d.kind for d in documents if d.material and then < d.effective <= now} & known


# Membership

steps = st.lists(
    st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd"), st.none() | ROLES), min_size=1, max_size=25
)


@given(steps)
def test_the_roster_is_never_empty_and_always_true(moves: list[tuple[str, str, Role | None]]) -> None:
    first, roster = found(user("a"), "r1", "t1")
    members = {"a": first} | {name: user(name, Role.STANDARD, ()) for name in "bcd"}
    for by, whom, role in moves:
        giver, kept = members[by], members[whom]
        if UserState.REMOVED in {giver.state, kept.state} or not allows(
            Authority(giver.role, frozenset(giver.granted)), MANAGE
        ):
            continue
        try:
            if role is None:
                roster, members[whom] = dismiss(roster, kept, by=giver)
            else:
                roster, members[whom] = appoint(roster, kept, role, (), by=giver)
        except LastSuperAdministrator:
            assert roster.super_administrators == (whom,)
        listed = {name for name, each in members.items() if each.role is Role.SUPER_ADMINISTRATOR}
        assert set(roster.super_administrators) == listed
        assert listed


@given(ROLES, GRANTS, ROLES, ROLES, GRANTS)
def test_nobody_hands_on_what_they_lack(
    own: Role, owned: tuple[str, ...], before: Role, after: Role, wanted: tuple[str, ...]
) -> None:
    giver, receiver = user("a", own, owned), user("b", before, ())
    roster = Roster(id="r1", tenant="t1", super_administrators=("a", "b", "c"))
    try:
        _, changed = appoint(roster, receiver, after, wanted, by=giver)
        invite(giver, Invitation(id="i", user="b", display_name="B", email="b@example.org", role=after, granted=wanted))
    except PermissionDenied:
        assume(own is Role.SUPER_ADMINISTRATOR)
        held = Authority(own, frozenset(owned))
        assert any(not allows(held, permission) for permission in wanted)
        return
    for permission in (*PERMISSIONS, "contacts.edit", "contacts.import"):
        if allows(Authority(changed.role, frozenset(changed.granted)), permission):
            assert allows(Authority(own, frozenset(owned)), permission)


def test_export_comes_with_no_role_but_with_the_first_super_administrator() -> None:
    first, _ = found(user("a", Role.RESTRICTED, ()), "r1", "t1")
    assert first.granted == (EXPORT,)
    other = user("b", Role.SUPER_ADMINISTRATOR, ())
    with pytest.raises(PermissionDenied) as refused:
        appoint(Roster(id="r", tenant="t", super_administrators=("a", "b")), first, Role.STANDARD, (EXPORT,), by=other)
    assert refused.value.permission == EXPORT


def test_nobody_dismisses_somebody_above_them() -> None:
    roster = Roster(id="r", tenant="t", super_administrators=("a", "c"))
    with pytest.raises(PermissionDenied):
        dismiss(roster, user("a"), by=user("b", Role.ADMINISTRATOR, (MANAGE,)))


def invitation(role: Role = Role.STANDARD) -> Invitation:
    return Invitation(
        id="i2",
        user="u2",
        display_name="Ben",
        email="ben@example.org",
        role=role,
        secret="x",
        expires_at=written(NOW + INVITATION_LIFE),
    )


def test_an_invitation_makes_the_invited_user_once_and_forgets_their_name() -> None:
    roster = Roster(id="r", tenant="t", super_administrators=("u1",))
    joined, used, _ = accept(invitation(), roster, by=user(), now=NOW)
    assert (joined.id, joined.display_name, joined.email, joined.role) == (
        "u2",
        "Ben",
        "ben@example.org",
        Role.STANDARD,
    )
    assert "Ben" not in codec.encode(used).decode()
    assert used.secret == ""
    with pytest.raises(Unauthenticated):
        accept(used, roster, by=user(), now=NOW)


@pytest.mark.parametrize("late", [timedelta(), timedelta(microseconds=1)])
def test_an_invitation_works_until_the_microsecond_it_expires(late: timedelta) -> None:
    roster = Roster(id="r", tenant="t", super_administrators=("u1",))
    accept(invitation(), roster, by=user(), now=NOW + INVITATION_LIFE - timedelta(microseconds=1))
    with pytest.raises(Unauthenticated):
        accept(invitation(), roster, by=user(), now=NOW + INVITATION_LIFE + late)


@pytest.mark.parametrize(
    "inviter",
    [user(role=Role.ADMINISTRATOR), attrs.evolve(user(), state=UserState.REMOVED)],
    ids=["demoted", "removed"],
)
def test_an_invitation_ends_with_the_right_to_make_it(inviter: User) -> None:
    roster = Roster(id="r", tenant="t", super_administrators=("u9",))
    with pytest.raises(Unauthenticated):
        accept(invitation(Role.SUPER_ADMINISTRATOR), roster, by=inviter, now=NOW)


# Attempts


@given(st.lists(st.integers(0, 4000), max_size=300))
def test_no_more_passwords_are_looked_at_than_may_be_wrong_in_a_row(pauses: list[int]) -> None:
    credential, now, looked_at = Credential(id="k", user="u", password_hash="h"), NOW, 0
    for pause in pauses:
        now += timedelta(seconds=pause)
        looked_at += may_try(credential, now=now)
        credential = fail(credential, now=now)
        assert credential.failures == looked_at <= MOST_FAILURES


def test_each_mistake_makes_the_next_wait_longer_up_to_an_hour() -> None:
    credential, now, waits = Credential(id="k", user="u", password_hash="h"), NOW, []
    while credential.failures < MOST_FAILURES - 1:
        credential = fail(credential, now=now)
        wait = next(each for each in _candidates() if may_try(credential, now=now + each))
        waits.append(wait)
        now += wait
    assert waits == sorted(waits)
    assert (waits[0], waits[3], waits[4], waits[-1]) == (
        timedelta(),
        timedelta(),
        timedelta(seconds=1),
        timedelta(hours=1),
    )
    credential = fail(credential, now=now)
    assert not may_try(credential, now=now + timedelta(days=3650))


def _candidates() -> list[timedelta]:
    return [timedelta(), *(timedelta(seconds=2**power) for power in range(12)), timedelta(hours=1)]
