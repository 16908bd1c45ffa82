"""A reader beside a bulk importer: reads have a log of their own, so that whoever writes much does not delay them.

Service and importer are processes of their own.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Final

from capsule_api.contacts.v1 import contacts_pb2 as pb
from tests.benchmarks.beside import beside, say
from tests.benchmarks.measuring import Goal, Result, Scale
from tests.benchmarks.pacing import calling, paced, percentile, serve
from tests.postgres import Server

__all__ = ["reading"]

_DURABLE: Final = ("fsync=on", "full_page_writes=on")
_SHARES: Final = {"p50": 0.5, "p99": 0.99}
_GOALS: Final = {"p50": Goal(2, at_most=True), "p99": Goal(4, at_most=True)}
_CARD: Final = """BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Ada King {0}\r\nN:King {0};Ada;;;\r
EMAIL:ada{0}@example.org\r\nTEL:+44 20 7946 {0:04}\r\nORG:Works {0}\r\nEND:VCARD\r\n"""
_TOGETHER: Final = 200


def reading(scale: Scale, folder: Path) -> Iterator[Result]:
    """Get a contact at a steady pace: alone, and while another tenant's address book comes in, in turn."""
    yield from _measured("SQLite", scale, folder / "files", (None, None))
    with _server() as server:
        places = folder / "two.url", folder / "one.url"
        for place in places:
            place.write_text(server.fresh().url)
        yield from _measured("PostgreSQL", scale, folder / "server", places)


def _measured(where: str, scale: Scale, folder: Path, databases: tuple[Path | None, Path | None]) -> Iterator[Result]:
    alone, two_logs, one_log = (list[list[float]]() for _ in range(3))
    calls = max(scale.calls // 2, 2)
    with (
        beside(_serve, folder / "two", databases[0], False) as two,
        beside(_serve, folder / "one", databases[1], True) as one,
    ):
        for each in (two, one):
            _read(each.said, calls)
        for _ in range(scale.rounds):
            alone.append(_read(two.said, calls))
            for whose, taken in ((two, two_logs), (one, one_log)):
                with beside(_import, whose.said):
                    taken.append(_read(whose.said, calls))
    for name, share in _SHARES.items():
        against = f"itself alone: {name} of get contact while another tenant imports all it can"
        yield _ratio(where, against, _GOALS[name], share, ours=two_logs, theirs=alone)
    against = "the same if reads and changes shared one log: p99"
    yield _ratio(where, against, Goal(1, at_most=True), 0.99, ours=two_logs, theirs=one_log)


def _read(said: dict[str, Any], calls: int) -> list[float]:
    with calling(said, said["quiet"]) as stub:
        paced(stub, said["name"], 5)  # connected
        return paced(stub, said["name"], calls)


def _ratio(
    where: str, against: str, goal: Goal, share: float, *, ours: list[list[float]], theirs: list[list[float]]
) -> Result:
    ours_taken, theirs_taken = ([percentile(taken, share) for taken in side] for side in (ours, theirs))
    return Result(
        name=f"read beside an import, {where}",
        against=against,
        unit="x",
        figure=median(own / other for own, other in zip(ours_taken, theirs_taken, strict=True)),
        goal=goal,
        ours=f"{median(ours_taken) * 1e3:.1f} ms",
        reference=f"{median(theirs_taken) * 1e3:.1f} ms",
    )


@contextmanager
def _server() -> Iterator[Server]:
    """Run a server that keeps what it acknowledges."""
    server = Server.begin()
    try:
        server.stop()
        server.start(*_DURABLE)
        yield server
    finally:
        server.end()


def _import(said: dict[str, Any]) -> None:
    """Send one address book without end, until nobody listens any more."""
    ended = threading.Event()

    def messages() -> Iterator[pb.ImportContactsRequest]:
        header = pb.ImportContactsRequest.Header(parent=said["parent"], layout=pb.ImportContactsRequest.VCARD)
        yield pb.ImportContactsRequest(header=header)
        for start in range(0, sys.maxsize, _TOGETHER):
            cards = "".join(_CARD.format(number % 10_000) for number in range(start, start + _TOGETHER))
            yield pb.ImportContactsRequest(data=cards.encode())
            if start == 5 * _TOGETHER:
                say()  # it is under way
            if ended.is_set():
                return

    with calling(said, said["loud"]) as stub:
        sending = stub.ImportContacts.future(messages())
        sys.stdin.read()
        ended.set()
        sending.cancel()


def _serve(folder: Path, database: Path | None, one_log: bool) -> None:
    serve(folder, database=database, one_log=one_log)
