"""GetContact over mutual TLS against a bare echo of the same message, by the processor time of the server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from capsule_api.contacts.v1 import contacts_pb2 as pb
from capsule_api.contacts.v1.contacts_pb2_grpc import ContactsServiceStub
from capsule_services.runtime.certificates import Credential
from capsule_services.runtime.channels import open_channel
from tests.benchmarks.beside import Beside, beside
from tests.benchmarks.measuring import Goal, Result, Scale, Spent, interleaved, ratio
from tests.benchmarks.served import ECHO, serve

__all__ = ["serving"]


def serving(scale: Scale, folder: Path) -> Iterator[Result]:
    """Get contacts one after the other, and by many clients at once."""
    with beside(serve, folder, max(scale.clients, 50)) as process:
        for clients, least in ((1, 65), (scale.clients, 45)):
            taken = _taken(process, scale, clients)
            each = {name: min(side.cpu for side in found) * 1e6 for name, found in taken.items()}
            yield Result(
                name="get contact",
                against=f"a bare echo of the message by server CPU; {clients} client{'s' * (clients > 1)}, 8 threads",
                unit="%",
                figure=100 * ratio(taken["echo"], taken["ours"], "cpu"),
                goal=Goal(least),
                ours=f"{each['ours']:.0f} us",
                reference=f"{each['echo']:.0f} us",
            )


def _taken(process: Beside, scale: Scale, clients: int) -> dict[str, list[Spent]]:
    with contextlib.ExitStack() as stack:
        getters = {side: [_getter(process, side, stack) for _ in range(clients)] for side in ("echo", "service")}
        names = process.said["names"]
        sides = {
            "echo": lambda _: _called(process, getters["echo"], names, scale.calls),
            "ours": lambda _: _called(process, getters["service"], names, scale.calls),
        }
        for side in sides.values():
            side(0)
        return interleaved(sides, scale.rounds)


def _getter(process: Beside, side: str, stack: contextlib.ExitStack) -> Callable[[pb.GetContactRequest], Any]:
    channel = stack.enter_context(_channel(process.said, side))
    if side == "service":
        get: Callable[[pb.GetContactRequest], Any] = ContactsServiceStub(channel).GetContact
        return get
    return channel.unary_unary(
        ECHO, request_serializer=pb.GetContactRequest.SerializeToString, response_deserializer=pb.Contact.FromString
    )


def _called(process: Beside, getters: list[Callable[[Any], Any]], names: list[str], calls: int) -> Spent:
    def client(place: int) -> None:
        for number in range(calls):
            getters[place](pb.GetContactRequest(name=names[(number + place) % len(names)]))

    before = process.ask()["cpu"]
    with ThreadPoolExecutor(len(getters)) as pool:
        list(pool.map(client, range(len(getters))))
    return Spent(process.ask()["cpu"] - before, 1.0).each(calls * len(getters))


def _channel(said: dict[str, Any], side: str) -> grpc.Channel:
    credential = Credential(**{name: Path(path) for name, path in said["credential"].items()})
    return open_channel(said[side], service="contacts", credential=credential, token=said["token"])
