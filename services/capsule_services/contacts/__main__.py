"""The contacts service as a process: ``python -m capsule_services.contacts``."""

from __future__ import annotations

import sys

from capsule_api.contacts.v1 import contacts_pb2, contacts_pb2_grpc
from capsule_api.holder.v1 import holder_pb2, holder_pb2_grpc
from capsule_core.closure import Closure
from capsule_services.contacts.kinds import KINDS
from capsule_services.contacts.servicer import ContactsServicer
from capsule_services.runtime.doors import Doors
from capsule_services.runtime.holders.servicer import HolderServicer
from capsule_services.runtime.keys import authenticator_of, readings_of_keys, ring_of
from capsule_services.runtime.leading import Leading
from capsule_services.runtime.ledgers.servicer import served_ledgers
from capsule_services.runtime.mender import Mender
from capsule_services.runtime.opening import open_holding
from capsule_services.runtime.permission import permitted_by_identity
from capsule_services.runtime.process import Host, Service, run
from capsule_services.runtime.reporter import Reporter
from capsule_services.runtime.reports import report_to_privacy
from capsule_services.runtime.server import Served
from capsule_services.runtime.sweepers import sweeper_of

NAME = "contacts"


def build(host: Host) -> Service:
    """Put the service together."""
    opened = open_holding(host, NAME, KINDS)
    holding = opened.holding
    cursor = host.settings.data / "reported"
    reporter = Reporter(holding, report_to_privacy(host.peers), cursor, host.stopped, host.log)
    ending = holding.holder.dissolution(
        holding.random, may_begin=permitted_by_identity(host.peers), may_end=reporter.has_told
    )
    sweeper = sweeper_of(host, opened, reporter.wake, ending)

    mender = Mender(holding, host.stopped, host.log)
    anchorer, compactor = opened.anchorer(host), opened.compactor(host)

    def lead() -> None:
        reporter.start()
        sweeper.lead()
        mender.start()
        anchorer.start()
        compactor.start()

    leading = Leading(host.settings.data, opened.resume, lead, host.stopped, host.log, opened.shared)

    def begin() -> None:
        leading.begin()
        sweeper.start()

    def close() -> None:
        sweeper.close()
        opened.close()

    ring, doors = ring_of(host), Doors(Closure(holding.repository))
    return Service(
        served=(
            Served(
                contacts_pb2.DESCRIPTOR.services_by_name["ContactsService"],
                contacts_pb2_grpc.add_ContactsServiceServicer_to_server,
                ContactsServicer(holding=holding, paging=opened.paging, reporter=reporter),
            ),
            Served(
                holder_pb2.DESCRIPTOR.services_by_name["HolderService"],
                holder_pb2_grpc.add_HolderServiceServicer_to_server,
                HolderServicer(holding, opened.signer, opened.paging),
            ),
            served_ledgers(opened),
        ),
        authenticator=authenticator_of(ring, doors.bounded),
        readings={**opened.readings, **sweeper.readings, **readings_of_keys(ring)},
        looks=opened.watched(host.health),
        resume=begin,
        close=close,
    )


if __name__ == "__main__":
    sys.exit(run(NAME, build))
