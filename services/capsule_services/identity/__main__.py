"""The identity service as a process: ``python -m capsule_services.identity``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from structlog.typing import FilteringBoundLogger

from capsule_api.holder.v1 import holder_pb2, holder_pb2_grpc
from capsule_api.identity.v1 import identity_pb2, identity_pb2_grpc
from capsule_core.closing import Closing, Term
from capsule_core.closure import Closure
from capsule_core.names import TenantId
from capsule_core.personal import kind_of
from capsule_core.tenancy import Credential, Document, Invitation, Roster, Session, TenantAccount, User
from capsule_services.identity.documents import DOCUMENTS
from capsule_services.identity.herald import Herald
from capsule_services.identity.issuer import Issuer
from capsule_services.identity.keychain import KEYS, Keychain, changing, fresh_key, load_or_create_keys
from capsule_services.identity.passwords import Passwords
from capsule_services.identity.servicer import IdentityServicer
from capsule_services.identity.sessions.handlers import is_open, prepare
from capsule_services.identity.signing import SigningKeys
from capsule_services.runtime.callers import Authenticator, UserCaller
from capsule_services.runtime.clock import wall_time
from capsule_services.runtime.doors import Doors
from capsule_services.runtime.holders.client import RemoteHolder
from capsule_services.runtime.holders.servicer import HolderServicer
from capsule_services.runtime.holding import Holding
from capsule_services.runtime.keys import SERVICES
from capsule_services.runtime.leading import Leading
from capsule_services.runtime.ledgers.servicer import served_ledgers
from capsule_services.runtime.mender import Mender
from capsule_services.runtime.opening import open_holding
from capsule_services.runtime.paging import Paging
from capsule_services.runtime.process import Host, Service, run
from capsule_services.runtime.reporter import Reporter
from capsule_services.runtime.reports import report_to_privacy
from capsule_services.runtime.server import Served
from capsule_services.runtime.sweepers import sweeper_of
from capsule_services.runtime.tokens import KeyRing

NAME = "identity"
KINDS = [kind_of(model) for model in (TenantAccount, Roster, User, Credential, Session, Invitation, Closing)]

HOLDERS: Final = ("contacts", "privacy")
"""Whoever keeps something of tenants, and is told when one is closed or reopened."""

_LOOKED: Final = timedelta(milliseconds=500)
"""How long identity itself believes a key before it looks into its file again."""


def servicers(
    holding: Holding,
    paging: Paging,
    issuer: Issuer,
    *,
    passwords: Passwords | None = None,
    documents: Sequence[Document] = DOCUMENTS,
    herald: Callable[[], object] = lambda: None,
) -> tuple[Served, ...]:
    """Return who answers the identity contract; *passwords* decides what hashing costs, *herald* tells of closings."""
    answering = IdentityServicer(
        holding=holding,
        paging=paging,
        issuer=issuer,
        passwords=passwords or Passwords(),
        documents=tuple(documents),
        herald=herald,
    )
    service = identity_pb2.DESCRIPTOR.services_by_name["IdentityService"]
    return (Served(service, identity_pb2_grpc.add_IdentityServiceServicer_to_server, answering),)


def authenticator(holding: Holding, issuer: Issuer) -> Authenticator:
    """Make what tells who calls: here alone a session that has ended counts at once."""

    def still_open(caller: UserCaller) -> bool:
        return is_open(holding, caller, now=issuer.wall())

    ring = KeyRing(issuer.jwks, issuer.wall, believed=_LOOKED)
    doors = Doors(Closure(holding.repository))
    return Authenticator(
        verify=ring.verify, peers=SERVICES, is_open=still_open, standing=ring.standing, bounded=doors.bounded
    )


def build(host: Host) -> Service:
    """Put the service together."""
    path = host.settings.data / KEYS
    opened = open_holding(host, NAME, KINDS, revoked=("session",), revoke=lambda: _withdraw_all(path))
    holding = opened.holding
    load_or_create_keys(path, wall_time())
    keychain = Keychain(path, _telling(host.log))
    issuer = Issuer(keychain.keys, wall_time)
    cursor = host.settings.data / "reported"
    reporter = Reporter(holding, report_to_privacy(host.peers), cursor, host.stopped, host.log)
    herald = _herald(host, holding)

    def all_is_told(tenant: TenantId) -> bool:
        return reporter.has_told(tenant) and herald.has_told(tenant)

    ending = holding.holder.dissolution(holding.random, term=Term.ACCOUNT, may_end=all_is_told)
    sweeper = sweeper_of(host, opened, reporter.wake, ending)
    holder = Served(
        holder_pb2.DESCRIPTOR.services_by_name["HolderService"],
        holder_pb2_grpc.add_HolderServiceServicer_to_server,
        HolderServicer(holding, opened.signer, opened.paging),
    )

    mender = Mender(holding, host.stopped, host.log)
    anchorer, compactor = opened.anchorer(host), opened.compactor(host)

    def resume() -> None:
        opened.resume()
        opened.keeping.patiently(lambda: prepare(holding))

    def lead() -> None:
        reporter.start()
        herald.start()
        sweeper.lead()
        mender.start()
        anchorer.start()
        compactor.start()

    leading = Leading(host.settings.data, resume, lead, host.stopped, host.log, opened.shared)

    def begin() -> None:
        leading.begin()
        sweeper.start()

    def close() -> None:
        sweeper.close()
        opened.close()

    return Service(
        served=(*servicers(holding, opened.paging, issuer, herald=herald.wake), holder, served_ledgers(opened)),
        authenticator=authenticator(holding, issuer),
        readings={
            **opened.readings,
            **sweeper.readings,
            "capsule_signing_keys_held_back": lambda: keychain.is_held_back,
        },
        looks=opened.watched(host.health),
        resume=begin,
        close=close,
    )


def _herald(host: Host, holding: Holding) -> Herald:
    holders = {name: RemoteHolder(name, partial(host.peers.channel, name)) for name in HOLDERS}
    return Herald(holding, holders, host.settings.data / "told", host.stopped, host.log)


def _withdraw_all(path: Path) -> None:
    """Believe no token that was made before now."""
    with changing(path) as (_, write):
        write(SigningKeys((fresh_key(wall_time()),)))


def _telling(log: FilteringBoundLogger) -> Callable[[bool], None]:
    def tell(taken: bool) -> None:
        (log.info if taken else log.error)("signing_keys_taken" if taken else "signing_keys_refused")

    return tell


if __name__ == "__main__":
    sys.exit(run(NAME, build))
