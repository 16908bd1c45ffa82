"""The manifests of examples/deployment fit together, fit the software, and give nothing away; told offline."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import kubernetes_validate
import pytest
import yaml
from yamllint import linter
from yamllint.config import YamlLintConfig

from capsule_services.commands import COMMANDS, loaded
from capsule_services.runtime.layout import ORDER
from capsule_services.runtime.settings import Settings
from tests.architecture.tree import REPOSITORY

FOLDER = REPOSITORY / "examples/deployment"
MANIFESTS = sorted(FOLDER.rglob("*.yaml"))
STYLE = YamlLintConfig(
    "{extends: default, rules: {line-length: {max: 120}, document-start: disable, octal-values: enable}}"
)
VARIABLES = {f"CAPSULE_{field.name.upper()}" for field in attrs.fields(Settings)}
REQUIRED = {f"CAPSULE_{field.name.upper()}" for field in attrs.fields(Settings) if field.default is attrs.NOTHING}
JOBS = {"certificates", "databases"}
NOT_OURS = {"postgres"}


def parsed(path: Path) -> list[Any]:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


COMPOSE = parsed(FOLDER / "compose.yaml")[0]
SERVICES: dict[str, Any] = COMPOSE["services"]
OBJECTS = [each for path in MANIFESTS if path.parent.name == "kubernetes" for each in parsed(path)]
PODS = {each["metadata"]["name"]: each["spec"]["template"]["spec"] for each in OBJECTS if each["kind"] == "StatefulSet"}
CONTAINERFILE = (FOLDER / "Containerfile").read_text(encoding="utf-8")
INSTRUCTIONS = [
    line for line in re.sub(r"\\\n\s*", "", CONTAINERFILE).splitlines() if line and not line.startswith("#")
]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Give every command that a manifest runs, with where it stands; what health checks run is one too."""
    for name, service in SERVICES.items():
        if name not in NOT_OURS:
            yield f"compose {name}", service["command"]
            yield from (
                (f"compose {name} health", probe[1:]) for probe in [service.get("healthcheck", {}).get("test")] if probe
            )
    for name, pod in PODS.items():
        (container,) = pod["containers"]
        yield f"kubernetes {name}", container["command"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            yield f"kubernetes {name} {probe}", container[probe]["exec"]["command"]
    yield "image", yaml.safe_load(INSTRUCTIONS[-1].removeprefix("CMD "))


def understood(command: list[str]) -> bool:
    """Tell whether a command is a module of ours, or one that ``capsule`` takes with these options."""
    if command[:2] == ["python", "-m"]:
        return importlib.util.find_spec(command[2]) is not None and len(command) == 3
    if command[0] != "capsule":
        return False
    if command[1] not in COMMANDS:
        return command[1:] == ["--help"]
    found, rest = loaded(command[1]), command[2:]
    while rest and hasattr(found, "commands"):
        if rest[0] == "--help":
            return True
        if rest[0] not in found.commands:
            return False
        found, rest = found.commands[rest[0]], rest[1:]
    options = {option for parameter in found.params for option in parameter.opts}
    return all(word in options for word in rest if word.startswith("--"))


PAGES = ("monitor", "deploy-with-containers", "trace", "diagnose-a-deployment", "operate")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_in_a_page_for_operators_is_one_that_there_is(page: str) -> None:
    text = (REPOSITORY / f"docs/how-to/{page}.md").read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```\n.*?^```$", text, re.DOTALL | re.MULTILINE))
    written = re.findall(r"^(?:.*exec \w+ )?(capsule .+)$", blocks, re.MULTILINE)
    quoted = re.findall(r"`(capsule [a-z][^`]*)`", text)
    assert [said for said in (*written, *quoted) if not understood(said.split())] == []
    assert page == "trace" or written or quoted


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_is_strict_yaml_with_no_key_twice(path: Path) -> None:
    assert [str(problem) for problem in linter.run(path.read_text(encoding="utf-8"), STYLE)] == []


@pytest.mark.parametrize(("where", "command"), list(commands()))
def test_every_command_is_one_that_there_is(where: str, command: list[str]) -> None:
    assert understood(command), where


def test_every_variable_is_a_setting_and_none_that_is_required_is_missing() -> None:
    told = {f"compose {name}": set(SERVICES[name].get("environment", {})) for name in ORDER}
    told |= {f"kubernetes {name}": {each["name"] for each in pod["containers"][0]["env"]} for name, pod in PODS.items()}
    assert {where: names - VARIABLES for where, names in told.items() if names - VARIABLES} == {}
    assert {where: REQUIRED - names for where, names in told.items() if REQUIRED - names} == {}


def mounted(service: dict[str, Any], key: str) -> list[str]:
    return [each["source"] if isinstance(each, dict) else each.partition(":")[0] for each in service.get(key, [])]


@pytest.mark.parametrize("key", ["volumes", "secrets", "configs", "networks"])
def test_everything_that_a_service_of_compose_names_is_declared_and_everything_declared_is_used(key: str) -> None:
    used = {name for service in SERVICES.values() for name in mounted(service, key)}
    assert used == set(COMPOSE[key])
    waits = {name for service in SERVICES.values() for name in service.get("depends_on", {})}
    assert waits <= SERVICES.keys()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_of_compose_can_do_nothing_that_it_need_not(name: str) -> None:
    service = SERVICES[name]
    uid = int(service["user"].partition(":")[0])
    assert uid > 0
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & service.keys()
    assert re.fullmatch(r"[a-z0-9./-]+:[0-9]+(\.[0-9]+)+(@sha256:[0-9a-f]{64})?", service["image"])
    assert bool(service.get("ports")) == (name in ORDER)
    assert not any("docker.sock" in volume or volume.startswith(("/", ".")) for volume in service.get("volumes", []))
    if name in JOBS:
        assert service["restart"] == "no"
    else:
        assert service["healthcheck"]["test"][0] == "CMD", "no shell"


def test_no_secret_stands_in_an_environment_or_a_command() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in MANIFESTS)
    assert re.findall(r"://[^/\s]*:[^/\s]*@", text) == []
    for service in SERVICES.values():
        told = service.get("environment", {})
        assert [name for name in told if re.search("PASS|SECRET|TOKEN", name) and not name.endswith("FILE")] == []
    assert {each["kind"] for each in OBJECTS} & {"Secret"} == set()


@pytest.mark.parametrize("name", ORDER)
def test_keys_their_mirror_and_the_data_are_on_volumes_of_their_own(name: str) -> None:
    volumes = dict(each.split(":")[1::-1] for each in SERVICES[name]["volumes"])
    assert volumes.pop("/run/postgresql") == "postgres-socket"
    folder = SERVICES[name]["environment"]["CAPSULE_DATA"]
    assert volumes == {folder: f"{name}-keys", f"{folder}/mirror": f"{name}-mirror", "/run/capsule/tls": f"{name}-tls"}
    sharing = {
        other
        for other, each in SERVICES.items()
        if any(f"{name}-mirror" in volume for volume in each.get("volumes", []))
    }
    assert sharing == {name}
    claims = {
        each["metadata"]["name"]: each["spec"]["storageClassName"] for each in stateful(name)["volumeClaimTemplates"]
    }
    assert claims["keys"] != claims["mirror"]


def stateful(name: str) -> Any:
    return next(each for each in OBJECTS if each["kind"] == "StatefulSet" and each["metadata"]["name"] == name)["spec"]


@pytest.mark.parametrize("name", ORDER)
def test_a_service_sees_its_own_key_alone_and_is_told_where_the_others_are(name: str) -> None:
    assert "authority" not in {volume.partition(":")[0] for volume in SERVICES[name]["volumes"]}
    others = {each for each in ORDER if each != name}
    ports = {each: SERVICES[each]["environment"]["CAPSULE_LISTEN"].partition(":")[2] for each in ORDER}
    for config in SERVICES[name]["configs"]:
        other = config["target"].rpartition("/")[2]
        assert config["target"] == f"/run/capsule/addresses/{other}"
        assert COMPOSE["configs"][config["source"]]["content"] == f"{other}:{ports[other]}"
        others.remove(other)
    assert others == set()
    assert SERVICES[name]["ports"] == [f"{ports[name]}:{ports[name]}"]


@pytest.mark.parametrize("manifest", OBJECTS, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_an_object_of_kubernetes_is_valid_against_its_schema(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, "1.34", strict=True)
    assert manifest["kind"] == "Namespace" or manifest["metadata"]["namespace"] == "capsule"


@pytest.mark.parametrize("name", ORDER)
def test_a_pod_can_do_nothing_that_it_need_not(name: str) -> None:
    pod = PODS[name]
    (container,) = pod["containers"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    mounts = {each["name"] for each in container["volumeMounts"]}
    claimed = {each["metadata"]["name"] for each in stateful(name)["volumeClaimTemplates"]}
    assert mounts == {each["name"] for each in pod["volumes"]} | claimed


def test_the_three_services_of_kubernetes_differ_in_nothing_but_their_names() -> None:
    def anonymous(name: str) -> list[str]:
        text = (FOLDER / f"kubernetes/{name}.yaml").read_text(encoding="utf-8").replace(name, "NAME")
        return [re.sub("|".join(ORDER), "OTHER", line) for line in text.splitlines()]

    assert anonymous("contacts") == anonymous("identity") == anonymous("privacy")
    assert {each["kind"] for each in OBJECTS} == {
        *("ConfigMap", "Namespace", "NetworkPolicy", "PodDisruptionBudget", "Service", "StatefulSet")
    }


def test_nothing_reaches_a_pod_that_no_policy_names() -> None:
    policies = {each["metadata"]["name"]: each["spec"] for each in OBJECTS if each["kind"] == "NetworkPolicy"}
    assert policies["nothing"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    (way_in,) = policies["calls"]["ingress"]
    assert way_in["ports"] == [{"protocol": "TCP", "port": 8443}]
    assert all("podSelector" in each for each in way_in["from"])
    assert all(each.get("to") for each in policies["calls"]["egress"]), "nothing may go out to everywhere"


def test_the_image_is_pinned_small_and_not_root() -> None:
    images = [line.split()[1] for line in INSTRUCTIONS if line.startswith("FROM ")]
    assert len(images) == 2
    assert len(set(images)) == 1
    assert re.fullmatch(r"docker\.io/library/python:3\.[0-9]+\.[0-9]+-slim-[a-z]+", images[0])
    assert [line for line in INSTRUCTIONS if line.startswith("USER ")] == ["USER 10001:10001"]
    assert INSTRUCTIONS.index("USER 10001:10001") > max(
        number for number, line in enumerate(INSTRUCTIONS) if line.startswith(("RUN", "COPY"))
    )
    assert [
        line for line in INSTRUCTIONS if line.startswith(("RUN", "CMD")) and not line.partition(" ")[2].startswith("[")
    ] == []
    assert not any(line.startswith(("ADD", "ARG")) for line in INSTRUCTIONS)
    pip = next(line for line in INSTRUCTIONS if "pip" in line)
    assert '"--constraint", "constraints.txt"' in pip
    copied = [
        word
        for line in INSTRUCTIONS
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]
    assert [path for path in copied if not (REPOSITORY / path).exists()] == []
    assert {"src", "services", "pyproject.toml", "constraints.txt", "LICENSE", "NOTICE"} <= set(copied)


def test_every_folder_that_a_service_writes_is_made_in_the_image() -> None:
    made = set(re.findall(r'"(/[^"]+)"', next(line for line in INSTRUCTIONS if '"install", "--directory"' in line)))
    every = [volume for name in (*ORDER, *JOBS) for volume in SERVICES[name].get("volumes", [])]
    named = {volume.split(":")[1] for volume in every if not volume.startswith("postgres-socket:")}
    assert named <= made


def test_the_image_passes_its_linter() -> None:
    done = subprocess.run(
        ["hadolint", "--no-color", str(FOLDER / "Containerfile")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
