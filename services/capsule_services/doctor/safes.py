"""What a keystore in OpenBao says: it is reached, it opens, and it keeps one version of what is destroyed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from capsule_core.errors import CapsuleError
from capsule_core.wrapping import names_under
from capsule_services.doctor.findings import Finding, good, mend, note, unseen
from capsule_services.doctor.place import Premises
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.openbao.address import Address, address_from

__all__ = ["asked"]


def asked(what: str, premises: Premises, variables: Mapping[str, str]) -> Iterator[Finding]:
    """Page keys that are in OpenBao are reached, open, and are in one version."""
    try:
        address = address_from(variables)
        if address is None:
            raise StartRefused("CAPSULE_KEYSTORE is not set")
        yield from _looked(what, premises, address.below(premises.service))
    except (StartRefused, ModuleNotFoundError) as refused:
        do = "set CAPSULE_KEYSTORE and the variables beside it as the services have them, with the extra openbao"
        yield unseen(what, f"it cannot be asked: {refused}", do)


def _looked(what: str, premises: Premises, address: Address) -> Iterator[Finding]:
    from capsule_services.runtime.openbao.keystore import SEALS  # noqa: PLC0415  the extra may be missing
    from capsule_services.runtime.openbao.shards import decode_seals  # noqa: PLC0415
    from capsule_services.runtime.openbao.wire import Bao  # noqa: PLC0415

    bao = Bao(address)
    try:
        settings, seals = bao.settings(), bao.read(SEALS)
    except CapsuleError as error:
        yield mend(what, "it is not reached", str(error))
        return
    finally:
        bao.close()
    if settings.get("max_versions") != 1:
        do = f"bao write {address.mount}/config max_versions=1 cas_required=true"
        yield mend(what, f"max_versions is {settings.get('max_versions')}: destroyed keys would stay", do)
    elif not settings.get("cas_required"):
        yield note(what, "max_versions is 1", f"bao write {address.mount}/config max_versions=1 cas_required=true")
    try:
        names_under(decode_seals(seals.data if seals else {})[-1], roots=premises.roots)
    except CapsuleError:
        yield mend(what, "the root key does not open it", "put the two back that belong together")
    else:
        yield good(what, f"opens with its root key; max_versions is {settings.get('max_versions')}")
