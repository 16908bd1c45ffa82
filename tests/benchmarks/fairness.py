"""A quiet tenant beside one that asks ten times what it may: what the one does to the slowest answers of the other.

The service and the loud tenant are processes of their own.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, Final

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_services.runtime.fairness import Rate
from tests.benchmarks.beside import beside, say
from tests.benchmarks.measuring import Goal, Result, Scale
from tests.benchmarks.pacing import calling, paced, percentile, serve

__all__ = ["fairness"]

_RATE: Final = Rate(100, 200)
_TIMES: Final = 10
_PACE: Final = 0.01


def fairness(scale: Scale, folder: Path) -> Iterator[Result]:
    """Get a contact at a steady pace: alone, and beside the other tenant, in turn."""
    alone, together = list[float](), list[float]()  # the slowest answers of each round
    with beside(_serve, folder) as service, calling(said := service.said, said["quiet"]) as stub:
        paced(stub, said["name"], scale.calls // 3)
        for _ in range(scale.rounds):
            alone.append(percentile(paced(stub, said["name"], scale.calls), 0.99))
            with beside(_shout, said):
                together.append(percentile(paced(stub, said["name"], scale.calls), 0.99))
    yield Result(
        name="quiet tenant",
        against=f"itself alone: p99 of get contact beside a tenant that asks {_TIMES} times what it may",
        unit="x",
        figure=median(loud / quiet for loud, quiet in zip(together, alone, strict=True)),
        goal=Goal(2, at_most=True),
        ours=f"{median(together) * 1e3:.1f} ms",
        reference=f"{median(alone) * 1e3:.1f} ms",
    )


def _shout(said: dict[str, Any]) -> None:
    """Keep contacts, ten times as often as one may, until nobody listens any more."""
    contact = pb.Contact(person=pb.Person(given_name="Ada", family_name="King"), tags=["friends"])
    request = pb.CreateContactRequest(parent=said["parent"], contact=contact)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    with calling(said, said["loud"]) as stub:
        due = time.perf_counter()
        for number in itertools.count():
            for _ in range(int(_RATE.calls * _TIMES * _PACE)):
                stub.CreateContact.future(request)
            if number == 50:
                say()  # what it saved up is spent
            due += _PACE
            if ended.wait(max(due - time.perf_counter(), 0)):
                break


def _serve(folder: Path) -> None:
    serve(folder, rate=_RATE)
