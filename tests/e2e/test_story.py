"""The story as a newcomer plays it, once, whole; and that a promise which is broken is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from typer.testing import CliRunner

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_core.errors import ReceiptInvalid
from capsule_core.receipts import verify
from capsule_services import sample
from capsule_services.commands import app
from capsule_services.demo import proof, show, story
from capsule_services.demo.company import CheckFailed
from capsule_services.demo.story import Memory

CAPSULE = [sys.executable, "-c", "import sys; from capsule_services.cli import main; sys.exit(main())"]
STEPS = [
    "start three services over mutual TLS",
    "sign up a company, accept its documents, invite colleagues",
    "sign in",
    "import four address books",
    "import them again",
    "find people",
    "list people",
    "edit somebody",
    "write their history",
    "refuse a card number",
    "delete somebody",
    "take them back",
    "refuse to purge",
    "purge, with the confirmation",
    "refuse whoever comes late",
    "close another account, and reopen it",
    "let 30 days pass",
    "print and export the rest",
    "verify the receipts offline",
    "see the account go that was closed again",
    "look for the erased in every file",
]


@attrs.frozen
class Played:
    code: int
    told: dict[str, Any]
    err: str
    folder: Path

    @property
    def artefacts(self) -> Path:
        return Path(self.told["artefacts"])


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    folder = tmp_path_factory.mktemp("story") / "demo"
    done = subprocess.run(
        [*CAPSULE, "demo", "--json", "--data", str(folder)], capture_output=True, text=True, timeout=110, check=False
    )
    return Played(done.returncode, json.loads(done.stdout), done.stderr, folder)


def test_every_step_holds_and_the_exit_code_says_so(played: Played) -> None:
    failed = [(step["step"], step["told"]) for step in played.told["steps"] if not step["held"]]
    assert failed == []
    assert (played.code, played.told["held"]) == (0, True)
    assert "Traceback" not in played.err


@pytest.mark.parametrize("step", STEPS)
def test_the_story_has_the_step_and_says_what_it_checked(played: Played, step: str) -> None:
    told = {each["step"]: each for each in played.told["steps"]}
    assert told[step]["held"] is True
    assert told[step]["told"]
    assert told[step]["seconds"] >= 0


def test_the_story_has_no_other_step(played: Played) -> None:
    assert [each["step"] for each in played.told["steps"]] == STEPS


def test_the_story_ends_within_a_minute(played: Played) -> None:
    assert sum(step["seconds"] for step in played.told["steps"]) < 60


def left_processes(folder: Path) -> Iterator[str]:
    """Yield the processes that were started for *folder*."""
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and int(process.name) != os.getpid():
            try:
                environment = (process / "environ").read_bytes()
            except OSError:
                continue
            if f"CAPSULE_DATA={folder}".encode() in environment:
                yield process.name


def test_no_process_outlives_it(played: Played) -> None:
    assert list(left_processes(played.folder)) == []


def test_its_artefacts_lie_where_it_says_and_its_receipts_are_checked_by_the_command(played: Played) -> None:
    names = {path.name for path in played.artefacts.iterdir()}
    assert {"summary.html", "contacts.json", "contacts.csv", "contacts.vcf"} <= names
    for receipt, key in (
        ("receipt-purged.jws", "contacts.pub"),
        ("receipt-swept.jws", "privacy.pub"),
        ("receipt-purged-everywhere.jws", "privacy.pub"),
    ):
        assert verify((played.artefacts / receipt).read_bytes(), (played.artefacts / key).read_text()).subjects
        arguments = ["verify", str(played.artefacts / receipt), "--key", str(played.artefacts / key)]
        assert CliRunner().invoke(app, arguments).exit_code == 0


def test_no_log_of_it_holds_a_traceback_or_a_name(played: Played) -> None:
    words = [word.encode() for member in sample.CAST for word in member.tokens]
    logs = list((played.folder / "deployment" / "logs").iterdir())
    assert len(logs) == 3
    for log in logs:
        content = log.read_bytes()
        assert b"Traceback" not in content
        assert not any(word in content for word in words)


@attrs.frozen
class Wrapped:
    """A stub that answers one method itself."""

    stub: Any
    method: str
    answer: Any

    def __getattr__(self, name: str) -> Any:
        return (lambda *_: self.answer) if name == self.method else getattr(self.stub, name)


def _breaking(act: Any, method: str, answer: Any) -> Any:
    """Play a step of the story against a service that breaks one promise."""

    def play(memory: Memory) -> str:
        contact = pb.Contact(person=pb.Person(given_name="Ada"))
        made = memory.standard.contacts.CreateContact(
            pb.CreateContactRequest(parent=memory.chief.tenant, contact=contact)
        )
        memory.people = dict.fromkeys(("purged", "living", "swept", "kept"), made)
        memory.standard = attrs.evolve(memory.standard, contacts=Wrapped(memory.standard.contacts, method, answer))
        return str(act(memory))

    return play


def test_a_promise_that_is_broken_is_named_and_the_exit_code_is_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = ("refuse a card number", _breaking(story.refuse_card, "CreateEntry", pb.Entry()))
    monkeypatch.setattr(show, "WORK", (*story.WORK[:2], broken))
    monkeypatch.setattr(show, "PROOF", proof.PROOF)
    result = CliRunner().invoke(app, ["demo", "--json", "--data", str(tmp_path / "demo")])
    assert result.exit_code == 1
    told = json.loads(result.stdout)
    assert told["held"] is False
    assert [step["step"] for step in told["steps"]] == [STEPS[0], *STEPS[1:3], "refuse a card number"]
    assert told["steps"][-1]["told"] == "a card number in a note: it was not refused"
    assert list(left_processes(tmp_path)) == []


def test_a_receipt_that_does_not_hold_fails_its_step_and_not_the_command() -> None:
    def act(_: Memory) -> str:
        raise ReceiptInvalid("it was altered")

    told = show._play(("verify the receipts offline", act), Memory.__new__(Memory))
    assert (told.held, told.step) == (False, "verify the receipts offline")
    assert "altered" in told.told


SHORT = pb.Contact(state=pb.Contact.DELETED)
SHORT.purge_time.FromJsonString("2026-05-04T09:30:00Z")
SHORT.delete_time.FromJsonString("2026-05-03T09:30:00Z")


@pytest.mark.parametrize(
    ("act", "method", "answer", "promise"),
    [
        (story.edit, "UpdateContact", pb.Contact(), "an edit is kept under a new etag"),
        (story.delete, "DeleteContact", pb.Contact(state=pb.Contact.ACTIVE), "in the trash"),
        (story.delete, "DeleteContact", SHORT, "30 x 24 hours"),
        (story.restore, "UndeleteContact", pb.Contact(name="other"), "field for field"),
        (story.list_people, "ListContacts", pb.ListContactsResponse(), "listed by owner"),
        (story.find_people, "SearchContacts", pb.SearchContactsResponse(), "exactly one contact"),
    ],
)
def test_each_step_fails_by_the_promise_that_was_broken(act: Any, method: str, answer: Any, promise: str) -> None:
    memory = Memory.__new__(Memory)
    seen = pb.Contact(name="tenants/a/contacts/c1", etag='"1"')
    desk = story.Desk(
        tenant="tenants/a",
        user="tenants/a/users/u1",
        contacts=Wrapped(None, method, answer),
        identity=None,  # type: ignore[arg-type]
        privacy=None,  # type: ignore[arg-type]
        ledger=None,  # type: ignore[arg-type]
    )
    for name, value in (
        ("standard", desk),
        ("administrator", desk),
        ("chief", desk),
        ("people", dict.fromkeys(("purged", "living", "swept", "kept"), seen)),
        ("notes", ()),
    ):
        setattr(memory, name, value)
    with pytest.raises(CheckFailed) as failed:
        act(memory)
    assert promise in str(failed.value)
