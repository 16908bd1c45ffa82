"""What the keys say: the root key opens the keystore, both copies are there and alike, receipts can be checked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Final

from capsule_core.checkpoints import Signer
from capsule_core.errors import CapsuleError
from capsule_core.sealing import KEY_BYTES
from capsule_core.wrapping import Roots, names_under
from capsule_services.doctor.findings import Finding, good, mend, note
from capsule_services.doctor.place import File, Place, Premises, Unreadable, looking
from capsule_services.doctor.safes import asked
from capsule_sql.migration import Role
from capsule_sql.root_key import Stage, stage_of

__all__ = ["keystores", "mirrors", "receipts"]

_CONTENTS: Final = {
    Role.KEYSTORE: ("SELECT tenant, page, id, wrapped FROM keys ORDER BY tenant, page", "SELECT sealed FROM seals"),
    Role.JOURNAL: ("SELECT no, key_id, line FROM entries ORDER BY no",),
}
_LOOKS: Final = 20
_BETWEEN: Final = 0.05


def keystores(place: Place) -> Iterator[Finding]:
    """The root key is there, and opens the keystore."""
    for premises in place.services:
        what, file = f"keystore of {premises.service}", premises.file(Role.KEYSTORE)
        key = premises.folder / "root.key"
        if not key.exists():
            yield mend(what, "root.key is missing", f"put the copy from your safe back as {key}")
        elif len(key.read_bytes()) != KEY_BYTES:
            yield mend(what, "root.key is damaged", f"put the copy from your safe back as {key}")
        elif file is not None and file.path.exists():
            yield _opened(what, file, premises.roots)
        elif premises.in_openbao:
            yield from asked(what, premises, place.variables)
        if stage_of(key) is not Stage.NONE:
            do = "run capsule keys rotate-root: it goes on where it stopped"
            yield note(what, "the root key is being replaced", do)


def _opened(what: str, file: File, roots: Roots) -> Finding:
    try:
        with looking(file) as look:
            seals = look.rows("SELECT sealed FROM seals ORDER BY no")
        for (sealed,) in seals[-1:]:
            names_under(sealed, roots=roots)
    except (CapsuleError, Unreadable):
        return mend(what, "the root key does not open it", "put the two back that belong together")
    if not seals:
        return mend(what, "it is empty", "start the service: it fills it from its mirror")
    return good(what, "opens with its root key")


def mirrors(place: Place) -> Iterator[Finding]:
    """Keystore and journal are on two media: losing the only copy of either loses all data."""
    for premises in place.services:
        for file, copy in premises.mirrored:
            if not file.path.exists():
                continue
            what = f"mirror of {file.name}"
            if not copy.path.exists():
                yield mend(what, "it is missing", "mount the other disk, or start the service: it makes a new one")
            else:
                yield _alike(what, premises, file, copy, runs=place.runs(premises.service))


def _alike(what: str, premises: Premises, file: File, copy: File, *, runs: bool) -> Finding:
    try:
        differ = _contents(file) != _contents(copy)
        for _ in range(_LOOKS if runs else 0):
            if not differ:
                break
            time.sleep(_BETWEEN)  # one is written after the other
            differ = _contents(file) != _contents(copy)
    except Unreadable:
        return mend(what, "it cannot be compared", "see what is said about the file and about its mirror")
    if differ:
        do = "start the service: it makes them alike, or says which one is foreign"
        return mend(what, "it is not like its file", do)
    if copy.path.stat().st_dev == file.path.stat().st_dev:
        return note(what, "alike, on the same disk", f"make {premises.folder / 'mirror'} a mount of another disk")
    return good(what, "alike, on another disk")


def _contents(file: File) -> list[list[tuple[object, ...]]]:
    with looking(file) as look:
        return [look.rows(select) for select in _CONTENTS[file.role]]


def receipts(place: Place) -> Iterator[Finding]:
    """The public key that people check receipts with is the one they are signed for."""
    for premises in place.services:
        what = f"receipts of {premises.service}"
        seed, public = premises.folder / "receipts.key", premises.folder / "receipts.pub"
        if not seed.exists():
            yield mend(what, "receipts.key is missing", "put it back from where you keep signing keys")
            continue
        try:
            signer = Signer.from_seed(premises.service, seed.read_bytes())
        except CapsuleError:
            yield mend(what, "receipts.key is damaged", "put it back from where you keep signing keys")
            continue
        published = public.read_text(encoding="utf-8", errors="replace").strip() if public.exists() else ""
        if published == signer.verifier.text():
            yield good(what, "the public key matches")
        else:
            yield mend(what, "receipts.pub is not its public key", "start the service: it writes it; then publish it")
