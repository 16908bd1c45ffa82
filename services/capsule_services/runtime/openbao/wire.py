"""Speak with OpenBao or Vault: a secrets engine KV version 2 over HTTPS, and no more of it than a keystore needs.

What passes by itself is tried again, a few times and ever more slowly. A write whose answer was lost may have happened:
every write says which version it is to follow, so that it never happens twice, and who made it can tell by looking.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import attrs
from urllib3 import PoolManager, Retry, Timeout
from urllib3.exceptions import HTTPError, MaxRetryError

from capsule_core.errors import KeystoreDenied, KeystoreUnreachable, SealBroken
from capsule_services.runtime.openbao.address import Address

__all__ = ["PATIENCE", "Bao", "Secret", "Written"]

PATIENCE: Final = Retry(total=4, backoff_factor=0.1, backoff_jitter=0.1)
"""How often something is tried again: at once, and after 0.2, 0.4 and 0.8 seconds, or a little more."""

_TIMEOUT: Final = Timeout(connect=2.0, read=5.0)
_PASSING: Final = frozenset({412, 429, 472, 473, 500, 502, 503, 504})
_MISMATCH: Final = "check-and-set parameter did not match"
_DOWN: Final = 500


class _Lost(HTTPError):
    """An answer that cannot be used; what it answers may have happened."""


@attrs.frozen
class Secret:
    """The newest version of a secret."""

    version: int
    data: Mapping[str, Any] = attrs.field(repr=False)


@attrs.frozen
class Written:
    """What became of a write: whether it was *done* as the next version, and the one before is *clean* away.

    Not done may mean that it had been done when an earlier answer to it was lost.
    """

    done: bool
    clean: bool = False


@attrs.frozen
class _Answer:
    status: int
    body: Mapping[str, Any] = attrs.field(repr=False)

    @property
    def data(self) -> Mapping[str, Any]:
        found = self.body.get("data")
        return found if isinstance(found, Mapping) else {}


@attrs.define(eq=False)
class Bao:
    """A folder of secrets; one for all threads."""

    _address: Address
    _patience: Retry = PATIENCE
    _timeout: Timeout = _TIMEOUT
    _pool: PoolManager = attrs.field(init=False, repr=False)
    _token: str = attrs.field(default="", init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        authority = self._address.authority
        self._pool = PoolManager(maxsize=16, ca_certs=None if authority is None else str(authority))

    @property
    def url(self) -> str:
        """Where it is."""
        return self._address.url

    def close(self) -> None:
        """Close every connection."""
        self._pool.clear()

    def read(self, name: str) -> Secret | None:
        """Return a secret; None if there never was one of that name.

        Raises:
            SealBroken: somebody deleted it.
            Unavailable: it cannot be read now.
        """
        answer = self._ask("GET", self._path("data", name))
        if answer.status == HTTPStatus.NOT_FOUND and not answer.data:
            return None
        contents, version = answer.data.get("data"), self._number(answer.data.get("metadata"), "version")
        if not isinstance(contents, Mapping):
            raise SealBroken("page key")
        return Secret(version, contents)

    def write(self, name: str, data: Mapping[str, Any], *, over: int) -> Written:
        """Make *data* the version after *over*, the version 0 being none at all, if that still is the newest.

        Raises:
            Unavailable: it may have happened, or not.
        """
        body = {"options": {"cas": over}, "data": data}
        answer = self._ask("POST", self._path("data", name), body)
        if answer.status == HTTPStatus.BAD_REQUEST:
            if _MISMATCH in json.dumps(answer.body.get("errors")):
                return Written(done=False)
            raise KeystoreUnreachable
        return Written(done=True, clean=not answer.body.get("warnings"))

    def versions(self, name: str) -> Sequence[int]:
        """Return the versions of a secret that still can be read, or be brought back; the newest last.

        Raises:
            Unavailable: they cannot be read now.
        """
        versions = self._ask("GET", self._path("metadata", name)).data.get("versions")
        if not isinstance(versions, Mapping):
            raise KeystoreUnreachable
        return sorted(int(number) for number, told in versions.items() if not told.get("destroyed"))

    def destroy(self, name: str, versions: Sequence[int]) -> None:
        """Destroy versions of a secret.

        Raises:
            Unavailable: they may be there still.
        """
        self._ask("POST", self._path("destroy", name), {"versions": list(versions)})

    def names(self, name: str = "") -> list[str]:
        """Name what is in the folder *name*; folders end with a slash.

        Raises:
            Unavailable: it cannot be read now.
        """
        path = self._path("metadata", f"{name}/" if name else "")
        found = self._ask("GET", f"{path}?list=true").data.get("keys", [])
        return [str(each) for each in found]

    def settings(self) -> Mapping[str, Any]:
        """Return the settings of the secrets engine.

        Raises:
            Unavailable: they cannot be read now.
        """
        return self._ask("GET", f"{self._address.mount}/config").data

    def _path(self, how: str, name: str) -> str:
        return f"{self._address.mount}/{how}{self._address.folder}/{name}"

    def _ask(self, method: str, path: str, body: Any = None) -> _Answer:
        """Ask until there is an answer to go by; with what lets us in, taken up anew if it does not any more."""
        known = self._token
        answer = self._patiently(method, path, body) if known else None
        if answer is None or answer.status == HTTPStatus.FORBIDDEN:
            self._sign_in()
            answer = self._patiently(method, path, body)
        if answer.status == HTTPStatus.FORBIDDEN:
            raise KeystoreDenied
        missing = answer.status == HTTPStatus.NOT_FOUND and not answer.body.get("errors")
        if answer.status >= HTTPStatus.BAD_REQUEST and not missing and answer.status != HTTPStatus.BAD_REQUEST:
            raise KeystoreUnreachable
        return answer

    def _sign_in(self) -> None:
        """Read the file that lets us in: a token, or the role and secret of an AppRole."""
        try:
            lines = self._address.token.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError):
            raise KeystoreDenied from None
        if len(lines) == 1:
            self._token = lines[0]
            return
        if len(lines) != 2:
            raise KeystoreDenied
        self._token = ""
        role, secret = lines
        answer = self._patiently("POST", "auth/approle/login", {"role_id": role, "secret_id": secret})
        given = answer.body.get("auth")
        token = given.get("client_token") if isinstance(given, Mapping) else None
        if not isinstance(token, str):
            raise KeystoreDenied
        self._token = token

    def _patiently(self, method: str, path: str, body: Any) -> _Answer:
        patience = self._patience.new()
        while True:
            try:
                return self._once(method, path, body)
            except HTTPError:
                try:
                    patience = patience.increment(method, error=_Lost())
                except MaxRetryError:
                    raise KeystoreUnreachable from None
                patience.sleep()

    def _once(self, method: str, path: str, body: Any) -> _Answer:
        """Ask once.

        Raises:
            HTTPError: there was no answer, or one that says nothing.
        """
        response = self._pool.request(
            method,
            f"{self._address.host}/v1/{path}",
            body=None if body is None else json.dumps(body).encode(),
            headers={"X-Vault-Request": "true"} | ({"X-Vault-Token": self._token} if self._token else {}),
            timeout=self._timeout,
            retries=False,
            redirect=False,
        )
        if response.status in _PASSING or HTTPStatus.MULTIPLE_CHOICES <= response.status < HTTPStatus.BAD_REQUEST:
            raise _Lost
        if response.status == HTTPStatus.NO_CONTENT:
            return _Answer(response.status, {})
        try:
            told = json.loads(response.data)
        except (ValueError, RecursionError):
            raise _Lost from None
        if not isinstance(told, Mapping):
            raise _Lost
        return _Answer(response.status, told)

    @staticmethod
    def _number(told: object, field: str) -> int:
        number = told.get(field) if isinstance(told, Mapping) else None
        if not isinstance(number, int):
            raise KeystoreUnreachable
        return number
