"""Putting a backup back: whole or not at all, over nothing that is running, and never over what is there.

Everything is unpacked and checked beside its place first. Then each service is told that a restore is under way, what
is there is moved aside, and the files take its place. A service that finds an interrupted restore does not start;
restoring again goes on from there.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Final

import attrs

from capsule_core.errors import CapsuleError, NewerSchema
from capsule_services.backup.chunks import BackupKey
from capsule_services.backup.faults import RestoreRefused
from capsule_services.backup.fetching import Fetching, known_of
from capsule_services.backup.making import FILES, Progress
from capsule_services.backup.manifest import Manifest, Stored, newest
from capsule_services.backup.unpacking import unpack
from capsule_services.places.place import Place
from capsule_services.runtime.begun import FILES as KEPT_IN_FILES
from capsule_services.runtime.begun import begun_in, tell_begun
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.layout import DATABASE
from capsule_services.runtime.locks import holder_of
from capsule_services.runtime.restored import Restored, tell_restored
from capsule_sql.migration import Role, is_known_in_file
from capsule_sql.snapshots import journal_at, made_whole

__all__ = ["ASIDE", "Placed", "put_back", "stopped"]

ASIDE: Final = "aside"
"""The folder of a deployment to which a restore moves what was there."""

_DRAFT: Final = ".restored"
_BESIDE: Final = ("", "-wal", "-shm")


@attrs.frozen
class Placed:
    """What a restore did: where it moved *aside* what was there, and where it had the *journals* from, by service."""

    aside: Path | None
    journals: Mapping[str, str]


def put_back(
    place: Place,
    manifest: Manifest,
    key: BackupKey,
    folder: Path,
    *,
    replace: bool,
    unreplayed: bool,
    journals: str = "",
    now: datetime,
    progress: Progress,
) -> Placed:
    """Restore a backup to the deployment in *folder*.

    *replace* allows that there is data; *unreplayed* that a service has not the journal for it, and is told nothing.
    *journals* is the place that a journal is fetched from of which there is no copy.

    Raises:
        CapsuleError: it cannot be restored there, or is not whole; nothing was changed.
    """
    with stopped(folder):
        _check(manifest, folder, replace=replace)
        services = sorted({_service(name) for name in manifest.files})
        fetching = Fetching(journals, folder, known_of(manifest, newest(place, key) if journals else None))
        lacking = _lacking(manifest, folder, fetching, unreplayed=unreplayed)
        drafts = _unpacked(place, manifest, key, fetching, progress)
        told = {each: Restored(backup=manifest.name, unreplayed=each in lacking) for each in services}
        for service in services:
            tell_restored(folder / service, attrs.evolve(told[service], placing=True))
        aside = _moved_aside(folder, services, folder / ASIDE / f"{now:%Y%m%d-%H%M%S}")
        for name, draft in drafts.items():
            draft.replace(folder / name)
        for service in services:
            _sync(folder / service)
            tell_restored(folder / service, told[service])
            _tell_begun(folder, service)
        return Placed(aside, {each: fetching.told(each) or _beside(each in lacking) for each in services})


def _beside(lacking: bool) -> str:
    return "passed over" if lacking else "the one beside the data"


def _tell_begun(folder: Path, service: str) -> None:
    """Correct what was written down of a service that kept its records elsewhere before."""
    for told in (folder / service, folder):
        if begun_in(told):
            tell_begun(told, {service: KEPT_IN_FILES})


@contextmanager
def stopped(folder: Path) -> Generator[None]:
    """Keep the deployment in *folder* from running as long as the block; if that fails, a folder that was new is gone.

    Raises:
        RestoreRefused: it runs.
    """
    made = [folder / "lock", *takewhile(lambda path: not path.exists(), (folder, *folder.parents))]
    made = [path for path in made if not path.exists()]
    with ExitStack() as stack:
        stack.push(lambda kind, _, __: _unmade(made) if kind else None)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        leaders = (path / "leader.lock" for path in sorted(folder.iterdir()) if path.is_dir())
        for path in (folder / "lock", *(leader for leader in leaders if leader.exists())):
            lock = stack.enter_context(path.open("a+b"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                what = f"the deployment in {folder} is running{holder_of(lock)}"
                raise RestoreRefused(what, "stop it first") from None
        yield


def _unmade(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):  # somebody has put something there
            path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)


def _check(manifest: Manifest, folder: Path, *, replace: bool) -> None:
    for name, file in manifest.files.items():
        service, path = folder / _service(name), folder / name
        if not is_known_in_file(_role(name), file.revision):
            raise NewerSchema(f"{name} in the backup {manifest.name}")
        if (service / DATABASE).exists():
            what = f"{_service(name)} keeps its records in PostgreSQL"
            raise RestoreRefused(what, f"move {service / DATABASE} away, or restore the server's own backup")
        if path.exists() and not replace:
            raise RestoreRefused(f"there is data in {folder}", "say --replace to move it aside")


def _lacking(manifest: Manifest, folder: Path, fetching: Fetching, *, unreplayed: bool) -> frozenset[str]:
    """Return the services without the journal that belongs to the backup, if one may do *unreplayed*."""
    lacking: set[str] = set()
    for name, file in manifest.files.items():
        service = _service(name)
        if file.journal:
            try:
                if not fetching.finds(service, file):
                    _check_journal(folder / service, file)
            except (CapsuleError, StartRefused):
                if not unreplayed:
                    raise
                lacking.add(service)
    return frozenset(lacking)


def _check_journal(service: Path, file: Stored) -> None:
    """Let pass a service whose journal, or its mirror, is that of the backup, and not older."""
    copies = (service / "journal.db", service / "mirror" / "journal.db")
    found = [copy for copy in map(journal_at, copies) if copy is not None]
    ours = [copy for copy in found if copy.journal == file.journal]
    if any(copy.position >= file.position for copy in ours):
        return
    what = f"the journal of {service.name} is missing"
    if ours:
        what = f"the journal of {service.name} is older than the backup"
    elif found:
        what = f"the journal of {service.name} is of another deployment"
    remedy = (
        f"put {copies[0].name} or its mirror back into {service}, or name its place with --journal: only it "
        "knows who was erased since"
    )
    raise RestoreRefused(what, remedy)


def _unpacked(
    place: Place, manifest: Manifest, key: BackupKey, fetching: Fetching, progress: Progress
) -> dict[str, Path]:
    """Unpack every file beside its place, and make each whole, and fetch journals there; or none."""
    folder = fetching.folder
    drafts: dict[str, Path] = {}
    fresh = [path for path in {folder / _service(name) for name in manifest.files} if not path.exists()]
    done = 0
    try:
        for name, file in manifest.files.items():
            draft = drafts[name] = folder / f"{name}{_DRAFT}"
            draft.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _remove([draft])
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as written:
                unpack(file, place, key, written, partial(_further, progress, done, manifest.size))
                written.flush()
                os.fsync(written.fileno())
            made_whole(draft, _role(name), file.revision)
            done += file.page_size * file.pages
        for name in fetching.found:
            drafts[name] = folder / f"{name}{_DRAFT}"
            fetching.fetch(name, drafts[name])
    except BaseException:
        _remove(drafts.values())
        _unmade(fresh)
        raise
    return drafts


def _moved_aside(folder: Path, services: Iterable[str], aside: Path) -> Path | None:
    """Move what the backup replaces, and what only counted in it, to the folder *aside*."""
    names = (*(f"{file}{more}" for file in FILES for more in _BESIDE), "reported")
    moved = False
    for service in services:
        for path in _present(folder / service, names):
            (aside / service).mkdir(mode=0o700, parents=True, exist_ok=True)
            path.rename(aside / service / path.name)
            moved = True
        _sync(folder / service)
    return aside if moved else None


def _present(folder: Path, names: Iterable[str]) -> Iterator[Path]:
    return (folder / name for name in names if (folder / name).exists())


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        for more in _BESIDE:
            path.with_name(f"{path.name}{more}").unlink(missing_ok=True)


def _further(progress: Progress, done: int, total: int, so_far: int, _: int) -> None:
    progress(done + so_far, total)


def _role(name: str) -> Role:
    return FILES[name.rpartition("/")[2]]


def _service(name: str) -> str:
    return name.partition("/")[0]


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
