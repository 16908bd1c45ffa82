"""A receipt is checked by the command, by the script and by a JOSE library; what was tampered with, by none of them."""

from __future__ import annotations

import base64
import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from typer.testing import CliRunner

from capsule_core.checkpoints import Signer, canonical
from capsule_core.contacts import Person
from capsule_core.jws import parts_of, sign_jws
from capsule_core.names import ActorRef, SubjectRef, TenantId
from capsule_core.privacy import Privacy
from capsule_core.receipts import KIND
from capsule_services.commands import app
from tests.architecture.tree import REPOSITORY

SCRIPT = REPOSITORY / "examples/verify/verify_receipt.py"
NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
BY = ActorRef("user", "u1")
SIGNER = Signer.from_seed("contacts", bytes(range(32)))
KEY = SIGNER.verifier.text()
SAMPLE = 12


def documents() -> list[bytes]:
    """Receipts of a few people erased one after the other, so that their paths differ."""
    privacy = Privacy.in_memory(kinds=[Person], service="contacts", random=seeded())
    made = []
    for number in range(5):
        privacy.save("acme", Person(id=f"c{number}", given_name="Ada"), by=BY, now=NOW)
        plan = privacy.erase.plan(SubjectRef(TenantId("acme"), "person", f"c{number}"), by=BY, now=NOW)
        made.append(privacy.erase.run(plan, now=NOW).document)
    return made


def seeded() -> Callable[[int], bytes]:
    """Give the seed of SIGNER first, and from then on the same bytes each time."""
    chance, first = random.Random(1), iter([bytes(range(32))])  # noqa: S311
    return lambda size: next(first, None) or chance.randbytes(size)


VALID = documents()
RECEIPT = VALID[-1]


def by_command(document: bytes, folder: Path, key: str = KEY) -> tuple[int, str]:
    (folder / "receipt.jws").write_bytes(document)
    result = CliRunner().invoke(app, ["verify", str(folder / "receipt.jws"), "--key", key])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stderr


def by_script(document: bytes, folder: Path, key: str = KEY) -> tuple[int, str]:
    (folder / "receipt.jws").write_bytes(document)
    (folder / "receipts.pub").write_text(key + "\n")
    command = [sys.executable, "-I", "-W", "error", str(SCRIPT), "receipt.jws", "receipts.pub"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def by_jose(document: bytes, signer: Signer = SIGNER) -> bytes | None:
    public = base64.urlsafe_b64encode(signer.verifier.public).decode().rstrip("=")
    key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": public})
    try:
        found = jws.deserialize_compact(document, key, algorithms=["Ed25519"])
    except (JoseError, ValueError):
        return None
    assert found.headers() == {"alg": "Ed25519", "kid": "contacts", "typ": KIND}
    return found.payload


def told(change: Callable[[dict], object]) -> bytes:
    """A receipt that says something else, by somebody who has the key."""
    value = json.loads(parts_of(RECEIPT)[1])
    change(value)
    return sign_jws(canonical(value), SIGNER, kind=KIND)


def flipped() -> Iterator[bytes]:
    for at in range(0, len(RECEIPT), len(RECEIPT) // SAMPLE):
        yield RECEIPT[:at] + bytes([RECEIPT[at] ^ 1 << at % 7]) + RECEIPT[at + 1 :]


TAMPERED = {
    **{f"bit {number}": document for number, document in enumerate(flipped())},
    "cut in the signature": RECEIPT[:-10],
    "cut in the payload": RECEIPT[: len(RECEIPT) // 2],
    "without its signature": RECEIPT.rpartition(b".")[0] + b".",
    "signature of another receipt": RECEIPT.rpartition(b".")[0] + b"." + VALID[0].rpartition(b".")[2],
    "unused bits of the last character": RECEIPT[:-1] + bytes([RECEIPT[-1] + 1]),
    "another statement": told(lambda it: it["statement"].update(ground="purge")),
    "another leaf": told(lambda it: it["leaf"].update(records=7)),
    "another place": told(lambda it: it.update(index=it["index"] - 1)),
    "a shorter path": told(lambda it: it.update(path=it["path"][1:])),
    "a longer path": told(lambda it: it.update(path=[*it["path"], "00" * 32])),
    "another's checkpoint": told(lambda it: it.update(checkpoint=it["checkpoint"].replace("contacts\n", "identity\n"))),
    "empty": b"",
}


@pytest.mark.parametrize("number", range(len(VALID)))
def test_the_command_the_script_and_a_jose_library_take_a_valid_receipt(number: int, tmp_path: Path) -> None:
    assert by_command(VALID[number], tmp_path) == (0, "")
    assert by_script(VALID[number], tmp_path) == (0, "")
    assert by_jose(VALID[number]) == parts_of(VALID[number])[1]


@pytest.mark.parametrize("what", TAMPERED)
def test_a_receipt_that_was_tampered_with_is_refused_in_one_sentence(what: str, tmp_path: Path) -> None:
    for code, said in (by_command(TAMPERED[what], tmp_path), by_script(TAMPERED[what], tmp_path)):
        assert code == 1
        assert len(said.strip().splitlines()) == 1, said


def test_the_key_of_another_deployment_refuses_it(tmp_path: Path) -> None:
    other = Signer.from_seed("contacts", bytes(32))
    assert by_command(RECEIPT, tmp_path, other.verifier.text())[0] == 1
    assert by_script(RECEIPT, tmp_path, other.verifier.text())[0] == 1
    assert by_jose(RECEIPT, other) is None
    namesake = Signer.from_seed("identity", bytes(range(32))).verifier.text()
    assert by_command(RECEIPT, tmp_path, namesake)[0] == by_script(RECEIPT, tmp_path, namesake)[0] == 1


def test_a_newer_format_is_refused_as_such(tmp_path: Path) -> None:
    newer = told(lambda it: it.update(v=2))
    for code, said in (by_command(newer, tmp_path), by_script(newer, tmp_path)):
        assert code == 1
        assert "newer version" in said
        assert len(said.strip().splitlines()) == 1


def test_a_jose_library_makes_the_same_bytes() -> None:
    seed, public = (
        base64.urlsafe_b64encode(it).decode().rstrip("=") for it in (bytes(range(32)), SIGNER.verifier.public)
    )
    key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "d": seed, "x": public})
    header = {"alg": "Ed25519", "kid": "contacts", "typ": KIND}
    assert jws.serialize_compact(header, parts_of(RECEIPT)[1], key, algorithms=["Ed25519"]).encode() == RECEIPT


def test_the_script_is_short_and_knows_nothing_of_ours() -> None:
    text = SCRIPT.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 40
    assert "import capsule" not in text
    assert "from capsule" not in text
