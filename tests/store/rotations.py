"""Die at every step of a replacement of the root key, and tell what is found: ``rotations.py FOLDER [VARIABLES]``.

A process of its own, because only one that never started a thread may fork. For step 1, 2, 3, ... a child keeps page
keys in a new folder, a second one replaces the root key and kills itself there, and a third one opens what is left, as
a service that starts; goes on; and says in one line of JSON what it found. VARIABLES, in JSON, say where an OpenBao is.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import Any

from capsule_core.names import TenantId
from capsule_core.pages import PageKey
from capsule_core.wrapping import RootKey
from capsule_services.rootkeys import replace_root
from capsule_services.runtime.openbao.address import address_from
from capsule_services.runtime.openbao.wire import Bao
from capsule_services.runtime.safekeeping import Kept, open_keystore
from capsule_sql import keystores
from capsule_sql.database import Database
from tests.store.crashes import Steps, forked

TENANTS = [TenantId("acme"), TenantId("zeta")]
PAGES = range(14)
WORLDLY = [(os, "fsync"), (os, "link"), (Path, "replace"), (Path, "unlink"), (Database, "write"), (Bao, "_once")]


def key(tenant: TenantId, page: int, *, name: bytes = b"original") -> PageKey:
    return PageKey(tenant=tenant, page=page, id=name, key=f"key of {tenant} {page}".encode().ljust(32))


def stepping(steps: Steps) -> None:
    """Step after everything that changes something; before it is after what came last."""
    for owner, name in WORLDLY:
        real = getattr(owner, name)

        def stepped(*args: Any, real: Callable[..., Any] = real, **kwargs: Any) -> Any:
            result = real(*args, **kwargs)
            steps.step()
            return result

        setattr(owner, name, stepped)


def opened(folder: Path, variables: Mapping[str, str], stack: ExitStack) -> Kept:
    address = address_from(variables)
    return open_keystore(folder, address and address.below(folder.name), stack)


def prepare(folder: Path, variables: Mapping[str, str]) -> None:
    folder.mkdir()
    with ExitStack() as stack:
        keystore = opened(folder, variables, stack)
        for tenant in TENANTS:
            keystore.put([key(tenant, page) for page in PAGES])
    shutil.copyfile(folder / "root.key", folder / "first")


def work(folder: Path, variables: Mapping[str, str], last: int) -> None:
    keystores._AT_ONCE = 12  # type: ignore[misc]
    stepping(Steps(last))
    while replace_root(folder, variables) is None:
        continue


def tell(folder: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """Use the keystore as it is, end the replacement, and use it again."""
    first = RootKey((folder / "first").read_bytes())
    (folder / "first").unlink()
    before = sorted(path.name for path in folder.iterdir() if path.name.startswith("root"))
    with ExitStack() as stack:
        keystore = opened(folder, variables, stack)
        whole = all(keystore.get(tenant, PAGES) == [key(tenant, page) for page in PAGES] for tenant in TENANTS)
        keystore.replace([(b"original", key(TENANTS[0], 1, name=b"replaced"))])
        keystore.put([key(TENANTS[0], 99)])
    again = 0
    while (folder / "root.key").read_bytes() == first.key or len(before) > 1:
        again, before = again + (replace_root(folder, variables) or 0), before[:1]
    with ExitStack() as stack:
        keystore = opened(folder, variables, stack)
        pages = [1, *PAGES[2:], 99]
        kept = keystore.get(TENANTS[0], pages) == [
            key(TENANTS[0], page, name=b"replaced" if page == 1 else b"original") for page in pages
        ]
        others = keystore.get(TENANTS[1], PAGES) == [key(TENANTS[1], page) for page in PAGES]
    files = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    return {
        "readable after the crash": whole,
        "wrapped anew afterwards": again,
        "readable at the end": kept and others,
        "root files": sorted(path.name for path in folder.iterdir() if path.name.startswith("root")),
        "old root key left": first.key in files,
        "under the old root key": files.count(first.id),
    }


def main(folder: Path, variables: Mapping[str, str]) -> None:
    original = folder / "original"
    if not variables:
        assert forked(lambda: prepare(original, variables)) == 0
    for last in count(1):
        here = folder / f"step{last}"
        if variables:
            assert forked(lambda here=here: prepare(here, variables)) == 0
        else:
            shutil.copytree(original, here)
        ended = forked(lambda here=here, last=last: work(here, variables, last))

        def told(here: Path = here, last: int = last, ended: int = ended) -> None:
            print(json.dumps({"step": last, "killed": ended, **tell(here, variables)}))

        assert forked(told) == 0
        if ended == 0:
            return


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]) if sys.argv[2:] else {})
