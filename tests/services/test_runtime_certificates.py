"""The local authority: private files, a name for each, renewed in time and not before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from capsule_services.runtime.certificates import CLIENT, Credential, prepared
from capsule_services.runtime.faults import StartRefused

NOW = datetime(2027, 3, 1, tzinfo=UTC)


def certificate(credential: Credential) -> x509.Certificate:
    return x509.load_pem_x509_certificate(credential.certificate.read_bytes())


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    prepared(folder, ["contacts"], now=NOW)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in folder.iterdir()} == {
        f"{name}.{kind}" for name in ("authority", "contacts", CLIENT) for kind in ("pem", "key")
    }
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_a_certificate_names_its_service_and_is_signed_by_the_authority(tmp_path: Path) -> None:
    made = prepared(tmp_path, ["contacts"], now=NOW)
    authority = x509.load_pem_x509_certificate(made[CLIENT].authority.read_bytes())
    for name, credential in made.items():
        found = certificate(credential)
        found.verify_directly_issued_by(authority)
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName)[0] == name


def test_the_certificate_of_clients_makes_no_server(tmp_path: Path) -> None:
    made = prepared(tmp_path, ["contacts"], now=NOW)
    usage = {
        name: certificate(each).extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        for name, each in made.items()
    }
    assert ExtendedKeyUsageOID.SERVER_AUTH in usage["contacts"]
    assert ExtendedKeyUsageOID.SERVER_AUTH not in usage[CLIENT]


@pytest.mark.parametrize(("later", "renewed"), [(0, False), (59, False), (61, True), (400, True)])
def test_what_is_near_its_end_is_made_anew_and_nothing_else(tmp_path: Path, later: int, renewed: bool) -> None:
    before = certificate(prepared(tmp_path, ["contacts"], now=NOW)["contacts"])
    then = NOW + timedelta(days=later)
    after = certificate(prepared(tmp_path, ["contacts"], now=then)["contacts"])
    assert (after != before) == renewed
    assert after.not_valid_before_utc <= then < after.not_valid_after_utc


def test_a_new_service_gets_its_own_and_the_others_keep_theirs(tmp_path: Path) -> None:
    before = certificate(prepared(tmp_path, ["contacts"], now=NOW)["contacts"])
    made = prepared(tmp_path, ["contacts", "privacy"], now=NOW)
    assert certificate(made["contacts"]) == before
    assert certificate(made["privacy"]).issuer == before.issuer


def test_half_a_pair_is_replaced(tmp_path: Path) -> None:
    made = prepared(tmp_path, ["contacts", "privacy"], now=NOW)
    made["contacts"].key.write_bytes(made["privacy"].key.read_bytes())
    before = certificate(made["contacts"])
    assert certificate(prepared(tmp_path, ["contacts", "privacy"], now=NOW)["contacts"]) != before


def test_a_damaged_authority_and_a_file_in_the_way_are_told_in_a_sentence(tmp_path: Path) -> None:
    prepared(tmp_path / "tls", [], now=NOW)
    (tmp_path / "tls" / "authority.pem").write_text("not a certificate")
    with pytest.raises(StartRefused, match="damaged"):
        prepared(tmp_path / "tls", [], now=NOW)
    (tmp_path / "tls" / "authority.pem").unlink()
    with pytest.raises(StartRefused, match="damaged"):
        prepared(tmp_path / "tls", [], now=NOW)
    (tmp_path / "file").touch()
    with pytest.raises(StartRefused, match="cannot write"):
        prepared(tmp_path / "file" / "tls", [], now=NOW)


def test_a_credential_that_is_not_there_is_told_in_a_sentence(tmp_path: Path) -> None:
    missing = Credential(certificate=tmp_path / "a.pem", key=tmp_path / "a.key", authority=tmp_path / "ca.pem")
    with pytest.raises(StartRefused, match=r"cannot read .*a\.pem"):
        missing.read()
