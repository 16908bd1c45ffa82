"""Play the story and show it: a line a step while it runs, a table or JSON at the end."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import attrs
import grpc
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from capsule_core.errors import CapsuleError
from capsule_services.databases import check_free, clear, places, prepare
from capsule_services.demo.company import CheckFailed
from capsule_services.demo.proof import PROOF
from capsule_services.demo.story import WORK, Memory, Step
from capsule_services.runtime.deployment import Options, running
from capsule_services.runtime.faults import understood
from capsule_sql.remains import Copied, copy_out, written_so_far

__all__ = ["Played", "show"]


@attrs.frozen(kw_only=True)
class Played:
    """One step as it was played: whether its checks held, what they were, and how long it took."""

    step: str
    held: bool
    told: str
    seconds: float


def show(folder: Path, artefacts: Path, *, as_json: bool, database_url: str | None = None) -> bool:
    """Play the story on a deployment in *folder*, put summary, exports and receipts into *artefacts*.

    With the *database_url* of an administrator records and logs are on that server.

    Return whether every check held.
    """
    console = Console(stderr=as_json)
    steps = [("start three services over mutual TLS", None), *WORK, *PROOF]
    played: list[Played] = []
    with _progress(console) as progress:
        bar = progress.add_task(steps[0][0], total=len(steps))
        began = time.perf_counter()
        with _databases(folder, database_url) as copied, running(folder, Options(dev=True, region="GB")) as deployment:
            artefacts.mkdir(parents=True, exist_ok=True)
            memory = Memory(deployment, artefacts, copied)
            told = ", ".join(f"{name} at {address}" for name, address in deployment.addresses.items())
            played.append(Played(step=steps[0][0], held=True, told=told, seconds=time.perf_counter() - began))
            for step in (*WORK, *PROOF):
                progress.update(bar, advance=1, description=step[0])
                played.append(_play(step, memory))
                if not played[-1].held:
                    break
            progress.update(bar, completed=len(played), description="done")
    _tell(console, played, artefacts, as_json=as_json)
    return all(each.held for each in played)


@contextmanager
def _databases(folder: Path, admin_url: str | None) -> Generator[Callable[[Path], Copied]]:
    """Give the deployment databases of its own on the server, if one is named, and take them away at the end.

    What is given copies out whatever the server holds of them.
    """
    if admin_url is None:
        yield lambda _: Copied()
        return
    name = f"capsule_demo_{secrets.token_hex(4)}"
    check_free(admin_url, name)  # or what is taken away at the end might be somebody's
    ours = list(places(name))
    try:
        prepare(folder, admin_url, name)
        begun = written_so_far(admin_url)
        yield lambda to: copy_out(admin_url, ours, to, since=begun)
    finally:
        clear(admin_url, name)


def _play(step: Step, memory: Memory) -> Played:
    name, act = step
    began = time.perf_counter()
    try:
        held, told = True, act(memory)
    except CheckFailed as failed:
        held, told = False, str(failed)
    except grpc.RpcError as error:
        held, told = False, f"unexpectedly refused: {understood(error)}"
    except CapsuleError as error:
        held, told = False, f"unexpectedly: {error}"
    return Played(step=name, held=held, told=told, seconds=time.perf_counter() - began)


def _progress(console: Console) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _tell(console: Console, played: list[Played], artefacts: Path, *, as_json: bool) -> None:
    held = all(each.held for each in played)
    seconds = sum(each.seconds for each in played)
    if as_json:
        steps = [attrs.asdict(each) for each in played]
        print(json.dumps({"held": held, "seconds": seconds, "artefacts": str(artefacts), "steps": steps}, indent=2))
        return
    table = Table("", "step", "what was checked", "seconds", title="The story", title_style="bold")
    for each in played:
        mark = "[green]held[/green]" if each.held else "[bold red]FAILED[/bold red]"
        table.add_row(mark, each.step, each.told, f"{each.seconds:.2f}")
    console.print(table)
    if held:
        console.print(f"[bold green]All {len(played)} steps held[/bold green] in {seconds:.1f} seconds.")
    else:
        console.print(f"[bold red]Failed:[/bold red] {played[-1].step}: {played[-1].told}")
    console.print(f"Summary, exports and receipts: {artefacts}", soft_wrap=True)
    console.print(
        f"Check one yourself: capsule verify {artefacts}/receipt-purged.jws --key {artefacts}/contacts.pub",
        soft_wrap=True,
    )
