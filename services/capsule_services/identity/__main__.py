"""The identity service as a process: ``python -m capsule_services.identity``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from capsule_api.holder.v1 import holder_pb2, holder_pb2_grpc
from capsule_api.identity.v1 import identity_pb2, identity_pb2_grpc
from capsule_core.personal import kind_of
from capsule_core.tenancy import Credential, Document, Invitation, Roster, Session, TenantAccount, User
from capsule_services.identity.documents import DOCUMENTS
from capsule_services.identity.issuer import Issuer, key_from_seed
from capsule_services.identity.passwords import Passwords
from capsule_services.identity.servicer import IdentityServicer
from capsule_services.identity.sessions.handlers import is_open, prepare
from capsule_services.runtime.callers import Authenticator, UserCaller
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.holders.servicer import HolderServicer
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.keys import SERVICES
from capsule_services.runtime.leading import Leading
from capsule_services.runtime.mender import Mender
from capsule_services.runtime.opening import open_holding
from capsule_services.runtime.paging import Paging
from capsule_services.runtime.process import Host, Service, run
from capsule_services.runtime.reporter import Reporter
from capsule_services.runtime.reports import report_to_privacy
from capsule_services.runtime.server import Served
from capsule_services.runtime.sweeper import Sweeper
from capsule_services.runtime.tokens import KeyRing
from capsule_sql.root_key import load_or_create_root_key

NAME = "identity"
KINDS = [kind_of(model) for model in (TenantAccount, Roster, User, Credential, Session, Invitation)]


def servicers(
    holding: Holding,
    paging: Paging,
    issuer: Issuer,
    *,
    passwords: Passwords | None = None,
    documents: Sequence[Document] = DOCUMENTS,
) -> tuple[Served, ...]:
    """Return who answers the identity contract; *passwords* decides what hashing costs."""
    answering = IdentityServicer(
        holding=holding,
        paging=paging,
        issuer=issuer,
        passwords=passwords or Passwords(),
        documents=tuple(documents),
    )
    service = identity_pb2.DESCRIPTOR.services_by_name["IdentityService"]
    return (Served(service, identity_pb2_grpc.add_IdentityServiceServicer_to_server, answering),)


def authenticator(holding: Holding, issuer: Issuer) -> Authenticator:
    """Make what tells who calls: here alone a session that has ended counts at once."""

    def still_open(caller: UserCaller) -> bool:
        return is_open(holding, caller, now=issuer.wall())

    ring = KeyRing(issuer.jwks, issuer.wall)
    return Authenticator(verify=ring.verify, peers=SERVICES, is_open=still_open)


def build(host: Host) -> Service:
    """Put the service together."""
    opened = open_holding(host, NAME, KINDS)
    holding = opened.holding
    issuer = Issuer(key_from_seed(load_or_create_root_key(host.settings.data / "tokens.key")), wall_time)
    cursor = host.settings.data / "reported"
    reporter = Reporter(holding, report_to_privacy(host.peers), cursor, host.stopped, host.log)
    sweeper = Sweeper(holding, reporter.wake, host.stopped, host.log)
    holder = Served(
        holder_pb2.DESCRIPTOR.services_by_name["HolderService"],
        holder_pb2_grpc.add_HolderServiceServicer_to_server,
        HolderServicer(holding, opened.signer, opened.paging),
    )

    mender = Mender(holding, host.stopped, host.log)

    def lead() -> None:
        opened.resume()
        prepare(holding)
        reporter.start()
        sweeper.start()
        mender.start()

    return Service(
        served=(*servicers(holding, opened.paging, issuer), holder),
        authenticator=authenticator(holding, issuer),
        readings=opened.readings,
        looks=holding.watched(host.health),
        resume=Leading(host.settings.data, lead, host.stopped, host.log).begin,
        close=opened.close,
    )


if __name__ == "__main__":
    sys.exit(run(NAME, build))
