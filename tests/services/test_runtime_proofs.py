"""Judging a certificate before it is used: everything that would break a handshake is found without one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import attrs
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st

from capsule_services.runtime.issuing import Pair, made_authority
from capsule_services.runtime.proofs import Flaw, Proof, flaw_of
from tests.services.certified import BAD, Maker
from tests.services.chassis import wall

GOOD = Maker().proof()


def judged(proof: Proof) -> Flaw | None:
    return flaw_of(proof, name="contacts", now=wall())


def test_a_certificate_that_was_made_for_a_service_has_no_flaw() -> None:
    assert judged(GOOD) is None


@pytest.mark.parametrize(("made", "flaw"), BAD.values(), ids=BAD)
def test_every_way_of_being_bad_is_told_apart(made: Callable[[Maker], Proof], flaw: Flaw) -> None:
    assert judged(made(Maker())) is flaw


def test_each_flaw_can_be_found() -> None:
    assert {flaw for _, flaw in BAD.values()} == set(Flaw)


@given(part=st.sampled_from(("certificate", "key", "authority")), data=st.data())
def test_no_bytes_whatsoever_keep_it_from_being_judged(part: str, data: st.DataObject) -> None:
    whole: bytes = getattr(GOOD, part)
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:place] + data.draw(st.binary(max_size=3)) + whole[place + data.draw(st.integers(0, 3)) :]
    proof = attrs.evolve(GOOD, **{part: damaged})
    assert judged(proof) in {None, *Flaw}


def test_whoever_trusts_several_authorities_believes_each_of_them() -> None:
    others = [made_authority(wall()).pems()[0] for _ in range(2)]
    for bundle in ([GOOD.authority, *others], [*others, GOOD.authority]):
        assert judged(attrs.evolve(GOOD, authority=b"".join(bundle))) is None
    assert judged(attrs.evolve(GOOD, authority=b"".join(others))) is Flaw.AUTHORITY


def vouched(subject: Pair, by: Pair, *, until: datetime) -> Pair:
    """The same authority, vouched for by another, or by itself, until some day."""
    theirs = subject.certificate
    builder = (
        x509.CertificateBuilder()
        .subject_name(theirs.subject)
        .issuer_name(by.certificate.subject)
        .public_key(theirs.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(wall() - timedelta(days=30))
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    return Pair(builder.sign(by.key, hashes.SHA256()), subject.key)


@pytest.mark.parametrize(("days", "flaw"), [(1, None), (-1, Flaw.AUTHORITY)])
def test_an_authority_that_has_ended_vouches_for_nobody(days: int, flaw: Flaw | None) -> None:
    maker = Maker()
    again = vouched(maker.authority, maker.authority, until=wall() + timedelta(days=days))
    assert judged(attrs.evolve(maker.proof(), authority=again.pems()[0])) is flaw


@pytest.mark.parametrize(("days", "flaw"), [(1, None), (-1, Flaw.AUTHORITY)])
def test_a_chain_is_followed_as_far_as_it_is_valid(days: int, flaw: Flaw | None) -> None:
    root, inner = made_authority(wall()), Maker()
    between = vouched(inner.authority, root, until=wall() + timedelta(days=days))
    alone = attrs.evolve(inner.proof(), authority=root.pems()[0])
    assert judged(alone) is Flaw.AUTHORITY
    assert judged(attrs.evolve(alone, certificate=alone.certificate + between.pems()[0])) is flaw
    assert judged(attrs.evolve(alone, certificate=alone.certificate + root.pems()[0])) is Flaw.AUTHORITY


def test_a_certificate_may_have_more_names_than_the_one_it_is_asked_for_and_must_have_that() -> None:
    assert flaw_of(GOOD, name="localhost", now=wall()) is None
    assert flaw_of(GOOD, name="contact", now=wall()) is Flaw.NAME
