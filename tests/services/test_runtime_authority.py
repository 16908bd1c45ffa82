"""Another authority comes in three steps; at each of them everybody believes whoever is a step before or behind."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from capsule_services.runtime import authority
from capsule_services.runtime.authority import Step, load_authorities
from capsule_services.runtime.certificates import CLIENT, Credential, next_step, prepared, take_step
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.issuing import Pair
from tests.services.certified import put
from tests.services.chassis import wall

NOW = datetime(2027, 3, 1, tzinfo=UTC)
LIFE = 3650
DAY = timedelta(days=1)


def bundle(folder: Path) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates((folder / "authority.pem").read_bytes())


def signer(folder: Path, name: str = "contacts") -> x509.Certificate:
    """The authority in the bundle that signed the certificate of *name*."""
    found = x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes())
    return next(each for each in bundle(folder) if each.subject == found.issuer)


def stepped(folder: Path, step: Step, now: datetime = NOW) -> None:
    take_step(folder, step, now=now)
    prepared(folder, ["contacts"], now=now)


def files(folder: Path) -> Mapping[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_new_authority_is_trusted_then_signs_and_then_is_alone(tmp_path: Path) -> None:
    prepared(tmp_path, ["contacts"], now=NOW)
    (old,) = bundle(tmp_path)
    stepped(tmp_path, Step.ANNOUNCE)
    assert bundle(tmp_path)[0] == old
    _, new = bundle(tmp_path)
    assert {signer(tmp_path), signer(tmp_path, CLIENT)} == {old}
    stepped(tmp_path, Step.ADOPT)
    assert bundle(tmp_path) == [new, old]
    assert {signer(tmp_path), signer(tmp_path, CLIENT)} == {new}
    stepped(tmp_path, Step.RETIRE)
    assert bundle(tmp_path) == [new]
    assert {path.name for path in tmp_path.glob("*.key")} == {"authority.key", "contacts.key", "client.key"}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_what_signs_today_does_not_change_by_announcing_or_by_preparing_again(tmp_path: Path) -> None:
    prepared(tmp_path, ["contacts"], now=NOW)
    before = (tmp_path / "contacts.pem").read_bytes()
    stepped(tmp_path, Step.ANNOUNCE)
    prepared(tmp_path, ["contacts"], now=NOW + timedelta(days=20))
    assert (tmp_path / "contacts.pem").read_bytes() == before


@pytest.mark.parametrize("taken", [(), (Step.ANNOUNCE,), (Step.ANNOUNCE, Step.ADOPT), tuple(Step)])
def test_steps_are_taken_in_their_order_and_a_wrong_one_changes_nothing(
    tmp_path: Path, taken: tuple[Step, ...]
) -> None:
    prepared(tmp_path, ["contacts"], now=NOW)
    for step in taken:
        stepped(tmp_path, step)
    turn = next_step(tmp_path, now=NOW) or Step.ANNOUNCE
    assert turn is tuple(Step)[len(taken) % 3]
    before = files(tmp_path)
    for step in set(Step) - {turn}:
        with pytest.raises(StartRefused, match=f"next is {turn}"):
            take_step(tmp_path, step, now=NOW)
    assert files(tmp_path) == before


def plain(name: str, by: Pair | None = None) -> Pair:
    """A certificate as earlier versions made it: nothing in it but names tells whose key signed it."""
    key = ec.generate_private_key(ec.SECP256R1())
    called = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(called)
        .issuer_name(by.certificate.subject if by else called)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(wall() - DAY)
        .not_valid_after(wall() + 90 * DAY)
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    return Pair(builder.sign(by.key if by else key, hashes.SHA256()), key)


def made_before(folder: Path) -> None:
    """Put what an earlier version made in the place of authority and certificates."""
    first = plain("capsule local authority")
    pairs = {"authority": first, **{name: plain(name, first) for name in ("contacts", CLIENT)}}
    for name, pair in pairs.items():
        certificate, key = pair.pems()
        (folder / f"{name}.pem").write_bytes(certificate)
        (folder / f"{name}.key").write_bytes(key)


def nothing(_: Path) -> None:
    return


def states(folder: Path, before: Callable[[Path], None]) -> list[dict[str, Credential]]:
    """What contacts and clients have before the first step and after each, in a folder for each."""
    prepared(folder / "tls", ["contacts"], now=wall())
    before(folder / "tls")
    made = []
    for number, step in enumerate((None, *Step)):
        if step is not None:
            take_step(folder / "tls", step, now=wall())
        current = prepared(folder / "tls", ["contacts"], now=wall())
        copies = {name: _copied(each, folder / str(number) / name) for name, each in current.items()}
        made.append(copies)
    return made


def _copied(credential: Credential, folder: Path) -> Credential:
    folder.mkdir(parents=True)
    copy = Credential(certificate=folder / "c.pem", key=folder / "k.pem", authority=folder / "ca.pem")
    put(credential.read(), copy)
    return copy


def believe_each_other(server: Credential, client: Credential) -> bool:
    """Shake hands, both with a certificate, in memory."""
    here, there = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        _context(ssl.PROTOCOL_TLS_SERVER, server).wrap_bio(here, there, server_side=True),
        _context(ssl.PROTOCOL_TLS_CLIENT, client).wrap_bio(there, here, server_hostname="contacts"),
    ]
    try:
        for _ in range(4):
            for end in ends:
                with contextlib.suppress(ssl.SSLWantReadError):
                    end.do_handshake()
                    end.read()  # the server's verdict comes after the client's handshake is over
    except ssl.SSLError:
        return False
    return True


def _context(protocol: int, credential: Credential) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(credential.certificate, credential.key)
    context.load_verify_locations(credential.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


@pytest.mark.parametrize("before", [nothing, made_before])
def test_whoever_is_one_step_behind_is_believed_and_whoever_is_two_behind_is_not(
    tmp_path: Path, before: Callable[[Path], None]
) -> None:
    made = states(tmp_path, before)
    talk = {
        (ahead, behind)
        for ahead, server in enumerate(made)
        for behind, client in enumerate(made)
        if believe_each_other(server["contacts"], client["client"])
    }
    assert talk == {(one, other) for one in range(4) for other in range(4) if abs(one - other) <= 1}


def ages(folder: Path, *days: float) -> None:
    for day in days:
        prepared(folder, ["contacts"], now=NOW + timedelta(days=day))


def test_an_authority_near_its_end_is_followed_by_another_in_the_same_steps(tmp_path: Path) -> None:
    ages(tmp_path, 0, LIFE * 0.6)
    (old,) = bundle(tmp_path)
    ages(tmp_path, LIFE * 0.7)
    _, new = bundle(tmp_path)
    ages(tmp_path, LIFE * 0.8)
    assert (bundle(tmp_path), signer(tmp_path)) == ([old, new], old)
    ages(tmp_path, LIFE * 0.9)
    assert (bundle(tmp_path), signer(tmp_path)) == ([new, old], new)
    ages(tmp_path, LIFE + 1)
    assert (bundle(tmp_path), signer(tmp_path)) == ([new], new)


def test_nobody_adopts_the_same_day_whom_they_hear_of_for_the_first_time(tmp_path: Path) -> None:
    ages(tmp_path, 0, LIFE * 0.9)
    old, new = bundle(tmp_path)
    ages(tmp_path, LIFE * 0.9 + 0.5)
    assert signer(tmp_path) == old
    ages(tmp_path, LIFE * 0.9 + 1)
    assert signer(tmp_path) == new


def test_an_authority_that_has_ended_is_followed_at_once(tmp_path: Path) -> None:
    ages(tmp_path, 0)
    (old,) = bundle(tmp_path)
    ages(tmp_path, LIFE + 1)
    assert signer(tmp_path) != old
    assert signer(tmp_path).not_valid_after_utc > NOW + timedelta(days=2 * LIFE)


def interrupted(monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """Let the power fail after so many files."""
    left, write = [writes], authority.write_private

    def fail(path: Path, content: bytes) -> None:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        write(path, content)

    monkeypatch.setattr(authority, "write_private", fail)


@pytest.mark.parametrize("writes", range(8))
def test_following_an_authority_that_has_ended_may_be_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    ages(tmp_path, 0)
    (old,) = bundle(tmp_path)
    with monkeypatch.context() as patch:
        interrupted(patch, writes)
        with contextlib.suppress(KeyboardInterrupt):
            ages(tmp_path, LIFE + 1)
    ages(tmp_path, LIFE + 1)
    assert signer(tmp_path) != old
    assert bundle(tmp_path)[0] == signer(tmp_path)


@pytest.mark.parametrize("writes", range(3))
@pytest.mark.parametrize("before", [(), (Step.ANNOUNCE,), (Step.ANNOUNCE, Step.ADOPT)], ids=len)
def test_a_step_that_is_interrupted_was_taken_or_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: tuple[Step, ...], writes: int
) -> None:
    prepared(tmp_path, ["contacts"], now=NOW)
    for step in before:
        stepped(tmp_path, step)
    old, turn = bundle(tmp_path), tuple(Step)[len(before)]
    with monkeypatch.context() as patch:
        interrupted(patch, writes)
        with contextlib.suppress(KeyboardInterrupt):
            take_step(tmp_path, turn, now=NOW)
    found = load_authorities(tmp_path, NOW)
    assert found.signing.certificate in bundle(tmp_path)
    assert {*bundle(tmp_path)} >= {*old} or turn is Step.RETIRE
    if (next_step(tmp_path, now=NOW) or Step.ANNOUNCE) is turn:
        take_step(tmp_path, turn, now=NOW)
    assert (next_step(tmp_path, now=NOW) or Step.ANNOUNCE) is tuple(Step)[(len(before) + 1) % 3]
    made = prepared(tmp_path, ["contacts"], now=NOW)["contacts"]
    x509.load_pem_x509_certificate(made.certificate.read_bytes()).verify_directly_issued_by(bundle(tmp_path)[0])
