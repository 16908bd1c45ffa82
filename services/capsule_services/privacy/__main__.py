"""The privacy service as a process: ``python -m capsule_services.privacy``."""

from __future__ import annotations

import sys
from functools import cache, partial

from capsule_api.holder.v1 import holder_pb2, holder_pb2_grpc
from capsule_api.privacy.v1 import privacy_pb2, privacy_pb2_grpc
from capsule_core.cases import Case
from capsule_core.closing import Closing, Term
from capsule_core.closure import Closure
from capsule_core.errors import ReceiptInvalid
from capsule_core.personal import kind_of
from capsule_services.privacy.closings import Closings
from capsule_services.privacy.servicer import PrivacyServicer
from capsule_services.runtime.doors import Doors
from capsule_services.runtime.holders.client import RemoteHolder
from capsule_services.runtime.holders.servicer import HolderServicer
from capsule_services.runtime.keys import authenticator_of, readings_of_keys, ring_of
from capsule_services.runtime.leading import Leading
from capsule_services.runtime.ledgers.servicer import served_ledgers
from capsule_services.runtime.mender import Mender
from capsule_services.runtime.opening import open_holding
from capsule_services.runtime.permission import ended_at_identity
from capsule_services.runtime.process import Host, Service, run
from capsule_services.runtime.server import Served

NAME = "privacy"
HOLDERS = ("contacts", "identity")
KINDS = [kind_of(model) for model in (Case, Closing)]


def build(host: Host) -> Service:
    """Put the service together."""
    opened = open_holding(host, NAME, KINDS)
    holding = opened.holding
    holders = {name: RemoteHolder(name, partial(host.peers.channel, name)) for name in HOLDERS}

    @cache
    def key_of(holder: str) -> str:
        if holder not in holders:
            raise ReceiptInvalid("it is not the report of a holder that is known here")
        return holders[holder].public_key()

    servicer = PrivacyServicer(
        holding=holding,
        paging=opened.paging,
        holders=holders,
        key_of=key_of,
        signer=opened.signer,
    )
    ring, doors = ring_of(host), Doors(Closure(holding.repository))
    mender = Mender(holding, host.stopped, host.log)
    ending = holding.holder.dissolution(holding.random, term=Term.ACCOUNT, may_begin=ended_at_identity(host.peers))
    closings = Closings(holding, ending, host.stopped, host.log)
    anchorer, compactor = opened.anchorer(host), opened.compactor(host)

    def lead() -> None:
        closings.start()
        mender.start()
        anchorer.start()
        compactor.start()

    return Service(
        served=(
            Served(
                privacy_pb2.DESCRIPTOR.services_by_name["PrivacyService"],
                privacy_pb2_grpc.add_PrivacyServiceServicer_to_server,
                servicer,
            ),
            Served(
                holder_pb2.DESCRIPTOR.services_by_name["HolderService"],
                holder_pb2_grpc.add_HolderServiceServicer_to_server,
                HolderServicer(holding, opened.signer, opened.paging),
            ),
            served_ledgers(opened),
        ),
        authenticator=authenticator_of(ring, doors.bounded),
        readings={**opened.readings, **readings_of_keys(ring)},
        looks=opened.watched(host.health),
        resume=Leading(host.settings.data, opened.resume, lead, host.stopped, host.log, opened.shared).begin,
        close=opened.close,
    )


if __name__ == "__main__":
    sys.exit(run(NAME, build))
