"""Certificates handed out: to each service, in a folder of its own, what it proves itself with and nothing else.

Where services run apart, the authority's key and everybody else's stay with whoever made them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from capsule_services.runtime.certificates import Credential
from capsule_services.runtime.faults import StartRefused

__all__ = ["hand_out"]


def hand_out(credentials: Mapping[str, Credential], folder: Path) -> None:
    """Write ``NAME/key.pem``, ``authority.pem`` and ``certificate.pem`` below *folder*, each file at once.

    Raises:
        StartRefused: the folder cannot be written.
    """
    try:
        for name, credential in credentials.items():
            (folder / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            certificate, key, authority = credential.read()
            # The certificate comes last: a service that sees a new one finds the key that belongs to it.
            for file, content in (("authority.pem", authority), ("key.pem", key), ("certificate.pem", certificate)):
                _replace(folder / name / file, content)
    except OSError as error:
        raise StartRefused(
            f"cannot write {error.filename}: {error.strerror}; choose a folder you may write to"
        ) from None


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    fresh.replace(path)
