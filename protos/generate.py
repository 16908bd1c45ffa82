"""Make src/capsule_api from the contract, and hold the contract against its rules and its past.

``python protos/generate.py`` writes the generated modules; ``--check`` writes nothing, and fails if they are not those
that the contract makes; ``--baseline`` lets the present contract be what later ones must not break. All three lint.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

PROTOS = Path(__file__).resolve().parent
SOURCES = PROTOS.parent / "src"
BASELINE = PROTOS / "baseline.binpb"
CONFIG = PROTOS / "buf.yaml"
GOOGLE_API = Path(sysconfig.get_path("purelib"))
GOOGLE_PROTOBUF = Path(sysconfig.get_path("platlib"), "grpc_tools", "_proto")


class Refused(Exception):
    """The contract, or what was generated from it, is not in order."""


def run(arguments: Sequence[str | Path], otherwise: str) -> None:
    """Run a program, and refuse with its output and the sentence *otherwise* if it fails."""
    done = subprocess.run(arguments, capture_output=True, text=True, cwd=PROTOS, check=False)
    if done.returncode:
        raise Refused(f"{done.stdout}{done.stderr}{otherwise}")


def protoc(files: Iterable[Path], *outputs: str) -> None:
    """Compile *files*; the plugins are those that stand beside the running Python."""
    plugins = [f"--plugin={path}" for path in beside("protoc-gen-mypy", "protoc-gen-mypy_grpc")]
    includes = [f"-I{path}" for path in (PROTOS, GOOGLE_API, GOOGLE_PROTOBUF)]
    program = (sys.executable, "-m", "grpc_tools.protoc")
    run([*program, *includes, *plugins, *outputs, *map(str, files)], "The contract does not compile; see above.")


def beside(*programs: str) -> list[Path]:
    """Return where *programs* stand, next to the running Python."""
    return [Path(sys.executable).with_name(f"{name}{Path(sys.executable).suffix}") for name in programs]


def contract() -> list[Path]:
    """Return the files of the contract."""
    return sorted(PROTOS.glob("capsule_api/**/*.proto"))


def generate(target: Path) -> None:
    """Write the modules of the whole contract below *target*; stubs only for files that have a service."""
    files = contract()
    serving = [path for path in files if "\nservice " in path.read_text("utf-8")]
    protoc(files, f"--python_out={target}", f"--mypy_out=quiet:{target}")
    protoc(serving, f"--grpc_python_out={target}", f"--mypy_grpc_out=quiet,sync_only:{target}")


def generated(root: Path) -> dict[Path, bytes]:
    """Read the generated modules below *root*."""
    return {path.relative_to(root): path.read_bytes() for path in root.glob("capsule_api/**/*_pb2*.py*")}


def write(scratch: Path) -> None:
    """Replace the generated modules by fresh ones."""
    generate(scratch)
    fresh = generated(scratch)
    for stale in generated(SOURCES).keys() - fresh.keys():
        (SOURCES / stale).unlink()
    for path, content in fresh.items():
        (SOURCES / path).parent.mkdir(parents=True, exist_ok=True)
        (SOURCES / path).write_bytes(content)


def compare(scratch: Path) -> None:
    """Refuse if the committed modules are not the fresh ones."""
    generate(scratch)
    fresh, committed = generated(scratch), generated(SOURCES)
    differing = sorted(str(path) for path in fresh.keys() | committed if fresh.get(path) != committed.get(path))
    if differing:
        raise Refused(f"Run `python protos/generate.py` and commit the result; these differ: {', '.join(differing)}.")


def judge(scratch: Path, *, against: Path | None) -> None:
    """Refuse if the contract breaks a rule of buf.yaml, or a program that was built on the one it is held *against*."""
    image, (buf,) = scratch / "contract.binpb", beside("buf")
    describe(image, "--include_source_info")
    run([buf, "lint", image, "--config", CONFIG], "The contract breaks the rules of protos/buf.yaml; see above.")
    if against:
        pair: list[str | Path] = [image, "--against", against]
        run(
            [buf, "breaking", *pair, "--config", CONFIG],
            "The contract breaks its older clients, or has no baseline; see above.",
        )


def describe(image: Path, *options: str) -> None:
    """Write the descriptors of the whole contract to *image*."""
    protoc(contract(), "--include_imports", f"--descriptor_set_out={image}", *options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what *arguments* say; 0 when all is well, 1 with a sentence when not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--check", action="store_true", help="compare with what is committed instead of writing")
    choice.add_argument("--baseline", action="store_true", help="rewrite the baseline instead of the modules")
    chosen = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as folder:
            scratch = Path(folder)
            judge(scratch, against=None if chosen.baseline else BASELINE)
            if chosen.baseline:
                describe(BASELINE)
            else:
                (compare if chosen.check else write)(scratch)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
