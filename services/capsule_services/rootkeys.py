"""``capsule keys rotate-root``: put another root key in the place of the one that wraps a service's page keys."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from capsule_core.errors import CapsuleError
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.layout import ORDER
from capsule_services.runtime.openbao.address import Address, address_from
from capsule_services.runtime.private import alone_in
from capsule_services.runtime.safekeeping import ELSEWHERE, ROOT_KEY, Kept, open_keystore
from capsule_services.speech import refuse
from capsule_sql.root_key import Stage, install_next, stage_next, stage_of

__all__ = ["replace_root", "rotate_root"]


_Told = Callable[[int], object]


def rotate_root(
    data: Annotated[Path, typer.Option("--data", metavar="DIR", help="Folder of the deployment.")],
    service: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this service: identity, contacts or privacy.")
    ] = None,
) -> None:
    """Put a new root key in the place of the one that wraps the page keys; the old one is written over.

    No page and no record is touched, and the services may run meanwhile. After an interruption, however it came, the
    same command goes on. Where the page keys are in OpenBao, the first call only makes root.key.next: copy it to every
    machine that runs the service, and call it again. Exit code 0: done. 2: refused; the old root key still is the one.
    """
    names = [service] if service is not None else [name for name in ORDER if (data / name).is_dir()]
    if not names or service not in {None, *ORDER}:
        refuse(f"{data} holds no such service; say --data DIR as for capsule up, and --service NAME")
    for name in names:
        folder = data / name
        try:
            with Console(stderr=True).status(name) as status:
                count = replace_root(folder, os.environ, lambda done, name=name: status.update(f"{name}: {done:,}"))  # type: ignore[misc]
        except (CapsuleError, StartRefused) as error:
            refuse(f"{name}: {error}")
        if count is None:
            typer.echo(f"{name}: copy {folder / ROOT_KEY}.next to every machine that runs it, then repeat this")
        else:
            typer.echo(f"{name}: {count:,} page keys wrapped anew; put {folder / ROOT_KEY} into your safe")


def replace_root(folder: Path, variables: Mapping[str, str], told: _Told = lambda _: None) -> int | None:
    """Replace the root key of the service in *folder*; go on if that was begun before.

    Args:
        folder: the service's folder.
        variables: the environment, for a keystore that is not in the folder.
        told: is given how many keys are wrapped anew so far.

    Returns:
        how many keys were wrapped anew; None if the next root key was made, and must be handed on first.

    Raises:
        StartRefused: there is nothing to be replaced, or what it needs is missing.
        CapsuleError: a file or the keystore cannot be used; both root keys are kept, and the next call goes on.
    """
    path, elsewhere = folder / ROOT_KEY, (folder / ELSEWHERE).exists()
    if not (elsewhere or (folder / "keystore.db").exists()):
        raise StartRefused(f"{folder} has no page keys yet; there is nothing to wrap anew")
    with alone_in(folder), ExitStack() as stack:
        stage = stage_of(path)
        if stage is Stage.ENDING:
            install_next(path)
            return 0
        keystore = open_keystore(folder, _address(folder, variables), stack)
        if elsewhere and stage is Stage.NONE:
            stage_next(path)
            return None
        return _replaced(path, keystore, told)


def _replaced(path: Path, keystore: Kept, told: _Told) -> int:
    keystore.adopt(stage_next(path))
    count = 0
    for some in keystore.rewrap():
        count += some
        told(count)
    keystore.let_go()
    install_next(path)
    return count


def _address(folder: Path, variables: Mapping[str, str]) -> Address | None:
    if not (folder / ELSEWHERE).exists():
        return None
    address = address_from(variables)
    return None if address is None else address.below(folder.name)
