"""The command line: it explains itself, refuses in one sentence, and its exit code says which."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capsule_core.contacts import Person
from capsule_core.names import ActorRef, SubjectRef, TenantId
from capsule_core.privacy import Privacy
from capsule_services.commands import COMMANDS, app, loaded
from capsule_services.paragraphs import joined
from capsule_services.release import release
from capsule_services.runtime.layout import ORDER
from capsule_services.runtime.metrics import made_metrics, serve_metrics

NOW = datetime(2026, 5, 4, 9, 30, tzinfo=UTC)
BY = ActorRef("user", "u1")
RUN = "import sys; from capsule_services.cli import main; sys.exit(main())"


@pytest.fixture(scope="module")
def proof(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A receipt and the key it is checked with."""
    folder = tmp_path_factory.mktemp("proof")
    privacy = Privacy.in_memory(kinds=[Person], service="contacts")
    privacy.save("acme", Person(id="c1", given_name="Ada"), by=BY, now=NOW)
    plan = privacy.erase.plan(SubjectRef(TenantId("acme"), "person", "c1"), by=BY, now=NOW)
    (folder / "receipt.jws").write_bytes(privacy.erase.run(plan, now=NOW).document)
    (folder / "receipts.pub").write_text(privacy.public_key + "\n")
    return folder / "receipt.jws", folder / "receipts.pub"


def told(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "120", "NO_COLOR": "1"})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def refused(*arguments: str, code: int = 2) -> str:
    given, out, err = told(*arguments)
    assert (given, out) == (code, "")
    assert err.startswith("capsule: ")
    assert len(err.strip().splitlines()) == 1
    return err


def test_help_names_every_command_and_where_to_begin() -> None:
    code, out, _ = told("--help")
    assert code == 0
    assert all(word in out for word in ("demo", "up", "verify", "clock", "Begin here", "capsule demo"))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_is_told_in_the_list_as_it_tells_of_itself(name: str) -> None:
    assert loaded(name).help.split("\n\n")[0] == COMMANDS[name].told


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["probe", "1"]])
def test_what_needs_nothing_of_the_services_waits_for_none_of_it(arguments: list[str]) -> None:
    heavy = "{'cryptography', 'grpc', 'sqlalchemy', 'dbos', 'capsule_core'}"
    look = (
        f"import atexit, sys; atexit.register(lambda: print(*(sys.modules.keys() & {heavy}), file=sys.stderr)); {RUN}"
    )
    done = subprocess.run([sys.executable, "-c", look, *arguments], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["demo"], ["--data", "--json", "Exit code 0"]),
        (["up"], ["--data", "--dev", "--contacts-port", "--identity-port", "--privacy-port", "Ctrl-C"]),
        (["up"], ["--workers", "PostgreSQL", "--metrics-port"]),
        (["verify"], ["RECEIPT", "--key", "offline", "Exit code 0"]),
        (["doctor"], ["--data", "--json", "Exit code 0", "Nothing is changed"]),
        (["probe"], ["PORT", "--live", "Exit code 0"]),
        (["certificates"], ["--data", "--to", "renew", "--authority", "announce", "adopt", "retire"]),
        (["keys"], ["list", "rotate", "withdraw"]),
        (["keys", "withdraw"], ["KID", "--data", "Exit code 0", "nothing is changed"]),
        (["clock"], ["advance"]),
        (["clock", "advance"], ["SPAN", "30d", "--data"]),
    ],
)
def test_every_command_explains_its_arguments_and_its_exit_codes(command: list[str], words: list[str]) -> None:
    code, out, _ = told(*command, "--help")
    assert code == 0
    assert [word for word in words if word not in out] == []


def test_a_valid_receipt_is_told_in_words_and_as_json(proof: tuple[Path, Path]) -> None:
    receipt, key = map(str, proof)
    code, out, _ = told("verify", receipt, "--key", key)
    assert code == 0
    assert "The receipt is valid" in out
    code, out, _ = told("verify", receipt, "--key", Path(key).read_text().strip(), "--json")
    assert code == 0
    assert json.loads(out)["valid"] is True
    assert json.loads(out)["receipt"]["subjects"] == ["c1"]


def test_an_altered_receipt_fails_wherever_it_was_altered(proof: tuple[Path, Path], tmp_path: Path) -> None:
    receipt, key = proof
    document = receipt.read_bytes()
    altered = tmp_path / "altered.json"
    for place in range(0, len(document), max(1, len(document) // 40)):
        flipped = bytearray(document)
        flipped[place] ^= 1
        altered.write_bytes(flipped)
        refused("verify", str(altered), "--key", str(key), code=1)


@pytest.mark.parametrize(
    "document", [b"", b"nonsense", b"{}", b"[]", b"null", b"\xff\xfe\x00", b"[" * 200_000, b'{"statement": 1}']
)
def test_what_is_no_receipt_fails_in_one_sentence(proof: tuple[Path, Path], tmp_path: Path, document: bytes) -> None:
    path = tmp_path / "receipt.jws"
    path.write_bytes(document)
    refused("verify", str(path), "--key", str(proof[1]), code=1)


def test_what_is_not_valid_is_told_to_programs(proof: tuple[Path, Path], tmp_path: Path) -> None:
    path = tmp_path / "receipt.jws"
    path.write_bytes(b"nonsense")
    code, out, err = told("verify", str(path), "--key", str(proof[1]), "--json")
    assert (code, err) == (1, "")
    assert json.loads(out)["valid"] is False
    assert json.loads(out)["reason"]


def test_files_that_cannot_be_read_and_keys_that_are_none_are_refused_as_such(
    proof: tuple[Path, Path], tmp_path: Path
) -> None:
    receipt, key = map(str, proof)
    (tmp_path / "latin").write_bytes(b"\xe9\xff")
    assert f"cannot read {tmp_path / 'missing'}: No such file" in refused(
        "verify", str(tmp_path / "missing"), "--key", key
    )
    refused("verify", str(tmp_path), "--key", key)
    refused("verify", receipt, "--key", str(tmp_path / "latin"))
    for nonsense in ("nonsense", "", "x" * 10_000, "contacts+00000000+AAAA", "contacts.pub"):
        refused("verify", receipt, "--key", nonsense)


@pytest.mark.parametrize(
    ("span", "says"),
    [("999999999w", "out of the calendar"), ("30y", "a year is 365d"), ("-30d", "goes forward only")],
)
def test_a_span_that_cannot_be_is_told_why(tmp_path: Path, span: str, says: str) -> None:
    (tmp_path / "tls").mkdir()
    assert says in refused("clock", "advance", span, "--data", str(tmp_path))


@pytest.mark.parametrize("span", ["30", "d", "30 days", "1.5d", "30x", "٣٠d", "", "30d12h", "9999999999d"])
def test_a_mistyped_span_moves_nothing(tmp_path: Path, span: str) -> None:
    (tmp_path / "tls").mkdir()
    assert "30d" in refused("clock", "advance", span, "--data", str(tmp_path))
    assert not (tmp_path / "clock").exists()


def test_a_clock_moves_forward_by_what_is_said_and_not_out_of_the_calendar(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    assert "--dev" in refused("clock", "advance", "30d", "--data", str(tmp_path))
    (tmp_path / "clock").write_text("0\n")
    for span, ahead in (("90s", "0:01:30"), ("15m", "0:16:30"), ("2w", "14 days, 0:16:30"), ("0d", "14 days, 0:16:30")):
        code, out, _ = told("clock", "advance", span, "--data", str(tmp_path))
        assert (code, out) == (0, f"the clock is {ahead} ahead\n")
    before = (tmp_path / "clock").read_bytes()
    refused("clock", "advance", "999999w", "--data", str(tmp_path))
    assert (tmp_path / "clock").read_bytes() == before


def test_a_clock_whose_file_is_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tls").mkdir()
    (tmp_path / "clock").write_text("nonsense")
    refused("clock", "advance", "1d", "--data", str(tmp_path))
    assert (tmp_path / "clock").read_text() == "nonsense"


def test_a_folder_without_a_deployment_has_no_clock(tmp_path: Path) -> None:
    refused("clock", "advance", "1d", "--data", str(tmp_path))
    refused("clock", "advance", "1d", "--data", str(tmp_path / "missing"))
    assert list(tmp_path.iterdir()) == []


def test_the_demo_takes_no_folder_that_holds_something_of_somebody(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    refused("demo", "--data", str(tmp_path))
    refused("demo", "--data", str(tmp_path / "mine"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.parametrize(
    ("missing", "command"), [("typer", ""), ("rich", "demo"), ("grpc", "demo"), ("sqlalchemy", "doctor")]
)
def test_without_the_extra_one_sentence_says_what_to_install(missing: str, command: str) -> None:
    blocked = f"import sys; sys.modules[{missing!r}] = None; {RUN}"
    done = subprocess.run(
        [sys.executable, "-c", blocked, *command.split(), "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"capsule: {missing} is not installed; run: pip install 'capsule-core[services]'\n"


def test_the_release_is_told() -> None:
    assert told("--version") == (0, f"capsule {release()}\n", "")


@pytest.mark.parametrize("region", ["XX", "ZZ", "", "deu", "D", "49", "001", "DE\n"])
def test_a_region_that_is_none_is_refused_and_nothing_is_started(tmp_path: Path, region: str) -> None:
    assert "--region" in refused("up", "--data", str(tmp_path / "d"), "--region", region)
    assert not (tmp_path / "d").exists()


def test_certificates_are_made_once_and_handed_out_each_to_its_own(tmp_path: Path) -> None:
    folder, handed = tmp_path / "d", tmp_path / "handed"
    assert told("certificates", "--data", str(folder), "--to", str(handed))[0] == 0
    before = {path: path.read_bytes() for path in sorted(handed.rglob("*.pem"))}
    assert told("certificates", "--data", str(folder), "--to", str(handed))[0] == 0
    assert {path: path.read_bytes() for path in sorted(handed.rglob("*")) if path.is_file()} == before
    assert {path.name for path in handed.iterdir()} == {*ORDER, "client"}
    authority = (folder / "tls" / "authority.key").read_bytes()
    for name in ORDER:
        files = {path.name: path for path in (handed / name).iterdir()}
        assert set(files) == {"authority.pem", "certificate.pem", "key.pem"}
        assert all(path.stat().st_mode & 0o777 == 0o600 for path in files.values())
        assert files["key.pem"].read_bytes() == (folder / "tls" / f"{name}.key").read_bytes() != authority
        assert files["certificate.pem"].read_bytes() == (folder / "tls" / f"{name}.pem").read_bytes()
    (tmp_path / "file").touch()
    refused("certificates", "--data", str(folder), "--to", str(tmp_path / "file"))


def test_another_authority_comes_step_by_step_and_each_says_what_is_next(tmp_path: Path) -> None:
    data, handed = str(tmp_path / "d"), tmp_path / "handed"
    certified = ("certificates", "--data", data, "--to", str(handed))
    assert "next is announce" in refused("certificates", "--data", data, "--authority", "adopt")
    for step, following in (("announce", "adopt"), ("adopt", "retire"), ("retire", "")):
        code, out, _ = told(*certified, "--authority", step)
        assert code == 0
        assert (f"--authority {following}" in out) == bool(following)
        assert (f"--authority {following}" in told(*certified)[1]) == bool(following)
        bundle = (handed / "contacts" / "authority.pem").read_bytes()
        assert bundle.count(b"BEGIN CERTIFICATE") == (2 if following else 1)
    assert told("certificates", "--data", data, "--authority", "nonsense")[0] == 2


def test_a_probe_says_what_the_service_says() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert told("probe", str(port))[0] == 1
    stop = serve_metrics(made_metrics(()), port, ready=lambda: False)
    try:
        assert [told("probe", str(port), *more)[0] for more in ((), ("--live",))] == [1, 0]
    finally:
        stop()


def test_help_is_wrapped_once_at_the_width_there_is() -> None:
    out = CliRunner().invoke(app, ["up", "--help"], env={"COLUMNS": "80", "NO_COLOR": "1"}).stdout
    lines = [line.strip() for line in out.partition("Options")[0].splitlines()]
    assert "and how to connect." in " ".join(lines)
    paragraph = lines[next(at for at, line in enumerate(lines) if line.startswith("Prints one line")) :]
    assert [line for line in paragraph[: paragraph.index("") - 1] if len(line) < 60] == []


def test_only_lines_of_one_paragraph_are_joined() -> None:
    text = "One.\n\nTwo goes\non here.\n  an example\n* a point\n* another"
    assert joined(text) == "One.\n\nTwo goes on here.\n  an example\n* a point\n* another"
