"""Keys of a running deployment: rotated while everybody calls, and withdrawn from everybody at once."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import attrs
import grpc
import pytest
from joserfc.jws import extract_compact

from capsule_api.contacts.v1 import contacts_pb2, contacts_pb2_grpc
from capsule_api.identity.v1 import identity_pb2, identity_pb2_grpc
from capsule_services.identity.keychain import KEYS, changing, fresh_key, load_keys, load_or_create_keys
from capsule_services.identity.signing import LEAD, SigningKey, SigningKeys
from capsule_services.runtime import keys
from capsule_services.runtime.certificates import Credential, prepared
from capsule_services.runtime.channels import open_channel
from capsule_services.runtime.deployment import Options, running
from capsule_services.runtime.layout import DATABASE
from capsule_services.runtime.private import write_private
from capsule_services.runtime.settings import environment
from tests.postgres import Database
from tests.services.chassis import bytes_of, refused, wall
from tests.services.forked import Forked
from tests.services.premises import PASSWORD, sign_up_request
from tests.services.test_commands import refused as refuses
from tests.services.test_commands import told
from tests.services.worker import kept_address

EMAIL = "anna@example.org"


@attrs.frozen
class Place:
    """A running deployment with one tenant, and how to call its services."""

    folder: Path
    addresses: dict[str, str]
    credential: Credential
    processes: dict[str, BaseProcess]
    tenant: list[str] = attrs.field(factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "identity" / KEYS

    @property
    def signing(self) -> str:
        return load_keys(self.file).signing(wall()).kid

    @contextmanager
    def channel(self, service: str, token: str = "") -> Iterator[grpc.Channel]:
        address = self.addresses[service]
        with open_channel(address, service=service, credential=self.credential, token=token) as channel:
            yield channel

    def sign_up(self) -> None:
        with self.channel("identity") as channel:
            made = identity_pb2_grpc.IdentityServiceStub(channel).SignUp(sign_up_request(EMAIL))
        self.tenant.append(made.tenant.name)

    def sign_in(self) -> str:
        request = identity_pb2.SignInRequest(tenant=self.tenant[0], email=EMAIL, password=PASSWORD)
        with self.channel("identity") as channel:
            return str(identity_pb2_grpc.IdentityServiceStub(channel).SignIn(request).token)

    def listed(self, channel: grpc.Channel) -> Any:
        request = contacts_pb2.ListContactsRequest(parent=self.tenant[0])
        return contacts_pb2_grpc.ContactsServiceStub(channel).ListContacts(request)

    def tenant_read(self, channel: grpc.Channel) -> Any:
        request = identity_pb2.GetTenantRequest(name=self.tenant[0])
        return identity_pb2_grpc.IdentityServiceStub(channel).GetTenant(request)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("keys") / "d"
    with pytest.MonkeyPatch.context() as patched, ExitStack() as stack:
        for name in ("CAPSULE_RATE", "CAPSULE_BURST"):  # here everybody calls as often as they can
            patched.setenv(name, "1000000")
        deployment = stack.enter_context(running(folder, Options()))
        made = Place(folder, dict(deployment.addresses), deployment.credential, dict(deployment.processes))
        made.sign_up()
        yield made


def capsule(place: Place, *words: str) -> str:
    code, out, err = told("keys", *words, "--data", str(place.folder))
    assert (code, err) == (0, "")
    return out


@contextmanager
def calling(call: Callable[[], object], threads: int = 3) -> Iterator[list[grpc.RpcError]]:
    """Call over and over on several threads; give the errors. At the end each has called after the block was over."""
    errors: list[grpc.RpcError] = []
    begun, over = threading.Barrier(threads + 1), threading.Event()

    def repeat() -> None:
        begun.wait()
        for _ in iter(over.is_set, True):
            _call(call, errors)
        _call(call, errors)

    started = [threading.Thread(target=repeat) for _ in range(threads)]
    for thread in started:
        thread.start()
    begun.wait()
    try:
        yield errors
    finally:
        over.set()
        for thread in started:
            thread.join()


def _call(call: Callable[[], object], errors: list[grpc.RpcError]) -> None:
    try:
        call()
    except grpc.RpcError as error:
        errors.append(error)


def kid(token: str) -> str:
    return str(extract_compact(token.encode()).headers()["kid"])


def signs_at_once(place: Place) -> str:
    """Rotate as if it had been a moment ago, so that the new key signs now; return its name."""
    with changing(place.file) as (known, store):
        store(known.rotated(fresh := fresh_key(wall()), wall() - LEAD))
    return fresh.kid


def test_a_new_key_signs_while_everybody_calls_and_no_call_fails(place: Place) -> None:
    old = place.sign_in()
    with place.channel("contacts", old) as contacts, place.channel("identity", old) as identity:
        with calling(lambda: (place.listed(contacts), place.tenant_read(identity))) as errors:
            for _ in range(3):
                fresh = signs_at_once(place)
                token = place.sign_in()
                assert kid(token) == fresh != kid(old)
                with place.channel("contacts", token) as anew:
                    place.listed(anew)
        assert errors == []


def test_a_withdrawn_key_is_believed_by_no_service_and_everybody_signs_in_again(place: Place) -> None:
    token, answers = place.sign_in(), set()
    with ExitStack() as stack:
        contacts = stack.enter_context(place.channel("contacts", token))
        identity = stack.enter_context(place.channel("identity", token))
        nobody = stack.enter_context(place.channel("contacts", "x.y.z"))
        calls = {"contacts": lambda: place.listed(contacts), "identity": lambda: place.tenant_read(identity)}
        for call in calls.values():
            call()
        errors = [stack.enter_context(calling(call, threads=1)) for call in calls.values()]
        assert "identity publishes them no more" in capsule(place, "withdraw", place.signing)
        for call in calls.values():
            until_refused(call)
            answers |= {bytes_of(refused(call))[:2] for _ in range(20)}
        again = place.sign_in()
        for service, call in (("contacts", place.listed), ("identity", place.tenant_read)):
            with place.channel(service, again) as channel:
                call(channel)
        assert bytes_of(refused(lambda: place.listed(nobody)))[:2] in answers
        assert bytes_of(refused(lambda: place.listed(nobody))) == bytes_of(refused(calls["contacts"]))
    assert {code for code, _ in answers} == {grpc.StatusCode.UNAUTHENTICATED}
    assert len(answers) == 1
    assert {each.code() for every in errors for each in every} == {grpc.StatusCode.UNAUTHENTICATED}


def until_refused(call: Callable[[], object]) -> None:
    """Return when a call is refused; each of those before was answered."""
    for _ in range(10_000):
        try:
            call()
        except grpc.RpcError:
            return
    raise AssertionError("the key is believed yet")


def test_services_ask_often_enough_to_know_within_a_second() -> None:
    assert 2 * keys.EVERY < 1


def test_a_key_that_was_announced_is_withdrawn_and_nobody_notices(place: Place) -> None:
    token, before = place.sign_in(), place.signing
    capsule(place, "rotate")
    (announced,) = {each["kid"] for each in listed(place)["keys"] if each["believed_until"] is None}
    assert before != announced
    capsule(place, "withdraw", announced)
    assert place.signing == before
    with place.channel("contacts", token) as contacts:
        place.listed(contacts)


def listed(place: Place) -> Any:
    return json.loads(capsule(place, "list", "--json"))


def test_what_is_listed_says_which_key_signs_which_will_and_which_did(place: Place) -> None:
    did = place.signing
    signing = signs_at_once(place)
    capsule(place, "rotate")
    (will,) = {each["kid"] for each in listed(place)["keys"] if each["believed_until"] is None}
    assert listed(place)["signing"] == signing
    lines = {line.split()[1]: line for line in capsule(place, "list").splitlines() if "20" in line}
    assert "is believed until" in lines[did]
    assert "signs until" in lines[signing]
    assert "signs from" in lines[will]


def test_while_identity_stands_still_its_tokens_are_believed(place: Place) -> None:
    token = place.sign_in()
    with place.channel("contacts", token) as contacts:
        place.listed(contacts)
        os.kill(place.processes["identity"].pid, signal.SIGSTOP)
        try:
            for _ in range(20):
                place.listed(contacts)
        finally:
            os.kill(place.processes["identity"].pid, signal.SIGCONT)


def test_a_damaged_file_is_said_and_changes_nothing_and_a_whole_one_ends_it(place: Place) -> None:
    token, whole = place.sign_in(), place.file.read_bytes()
    write_private(place.file, whole[:-40])
    try:
        assert kid(place.sign_in()) == kid(token)
        with place.channel("contacts", token) as contacts, place.channel("identity", token) as identity:
            place.listed(contacts)
            place.tenant_read(identity)
        for words in (["rotate"], ["withdraw", kid(token)], ["list"]):
            assert "is damaged" in refuses("keys", *words, "--data", str(place.folder))
        assert place.file.read_bytes() == whole[:-40]
    finally:
        write_private(place.file, whole)
    place.sign_in()
    log = (place.folder / "logs" / "identity.log").read_text().splitlines()
    said = [json.loads(line)["event"] for line in log if '"signing_keys_' in line]
    assert said[-2:] == ["signing_keys_refused", "signing_keys_taken"]


def test_what_is_no_key_and_no_deployment_is_refused_in_a_sentence(tmp_path: Path) -> None:
    assert "cannot read" in refuses("keys", "rotate", "--data", str(tmp_path))
    assert "cannot read" in refuses("keys", "list", "--data", str(tmp_path))
    (tmp_path / "identity").mkdir()
    load_or_create_keys(tmp_path / "identity" / KEYS, wall())
    assert "names no key" in refuses("keys", "withdraw", "-", "--data", str(tmp_path))
    assert "names no key" in refuses("keys", "withdraw", "--data", str(tmp_path), "nobody")


def test_a_key_whose_name_looks_like_an_option_is_withdrawn_like_any_other(tmp_path: Path) -> None:
    (tmp_path / "identity").mkdir()
    made = (SigningKey.from_seed(number.to_bytes(32, "big")) for number in range(10_000))
    odd = next(each for each in made if each.kid.startswith("-"))
    write_private(tmp_path / "identity" / KEYS, SigningKeys((odd,)).to_bytes())
    code, out, _ = told("keys", "withdraw", odd.kid, "--data", str(tmp_path))
    assert code == 0
    assert "identity cannot be asked" in out
    assert odd.kid not in {each.kid for each in load_keys(tmp_path / "identity" / KEYS).keys}


@contextmanager
def another(folder: Path, database: Database, listen: str) -> Iterator[Forked]:
    """One of several identity processes that share a folder and a database."""
    credential = prepared(folder / "tls", ["identity"], now=wall())["identity"]
    data = folder / "identity"
    data.mkdir(exist_ok=True)
    (data / DATABASE).write_text(database.url)
    told_ = {"data": data, "database": data / DATABASE, "addresses": folder / "addresses", "listen": listen}
    program = "import sys; from capsule_services.identity.__main__ import NAME, build, run; sys.exit(run(NAME, build))"
    child = Forked.begin(program, told=environment(credential, **told_, workers=2, drain=0))
    try:
        assert json.loads(child.stdout.readline())["address"] == listen
        yield child
    finally:
        child.leave()
        assert child.rest()[0] == 0


def test_every_identity_process_follows_and_none_believes_what_another_gave_up(
    tmp_path: Path, database: Database
) -> None:
    with ExitStack() as stack:
        places = []
        for _ in range(2):
            listen = stack.enter_context(kept_address())
            child = stack.enter_context(another(tmp_path, database, listen))
            client = prepared(tmp_path / "tls", ["identity"], now=wall())["client"]
            places.append(Place(tmp_path, {"identity": listen}, client, {"identity": child}))
        here, there = places
        here.sign_up()
        there.tenant.extend(here.tenant)
        fresh = signs_at_once(here)
        tokens = [each.sign_in() for each in places]
        assert {kid(token) for token in tokens} == {fresh}
        capsule(here, "withdraw", fresh)
        for token in tokens:
            for each in places:
                with each.channel("identity", token) as channel:
                    until_refused(lambda each=each, channel=channel: each.tenant_read(channel))
        assert {kid(each.sign_in()) for each in places} == {here.signing}
