"""Certificates handed out: to each service, in a folder of its own, what it proves itself with and nothing else.

Where services run apart, the authority's key and everybody else's stay with whoever made them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from capsule_services.runtime.certificates import Credential
from capsule_services.runtime.private import write_private
from capsule_services.runtime.room import unwritten

__all__ = ["hand_out"]


def hand_out(credentials: Mapping[str, Credential], folder: Path) -> None:
    """Write ``NAME/key.pem``, ``authority.pem`` and ``certificate.pem`` below *folder*, each file at once.

    Raises:
        StartRefused: the folder cannot be written.
    """
    try:
        for name, credential in credentials.items():
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            proof = credential.read()
            # The certificate comes last: a service that sees a new one finds the key that belongs to it.
            write_private(folder / name / "authority.pem", proof.authority)
            write_private(folder / name / "key.pem", proof.key)
            write_private(folder / name / "certificate.pem", proof.certificate)
    except OSError as error:
        raise unwritten(error, folder) from None
