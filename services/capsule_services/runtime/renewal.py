"""Renewal: a service goes on with the certificate it has until its files hold a better one.

Files are looked at whenever the proof is asked for, and each second beside. What is bad is not used, and told once,
when it has lain there long enough not to be half written; it is judged again each second, for it may be good later.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import attrs

from capsule_services.runtime.certificates import Credential
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.proofs import Flaw, Proof, flaw_of

__all__ = ["SETTLED", "Renewal"]

SETTLED: Final = timedelta(seconds=2)
"""How long files that are bad have to stay as they are before it is told."""

_AGAIN: Final = timedelta(seconds=1)


@attrs.frozen
class _Seen:
    """Files as they were found: since when they are so, when they were judged, and what is wrong with them."""

    stamp: tuple[int, ...]
    since: datetime
    judged: datetime
    flaw: Flaw | None = None
    is_told: bool = False


def _nobody(_: Flaw | None) -> None:
    return


@attrs.define(eq=False)
class Renewal:
    """The proof that the service *name* shows; *told* hears what is wrong with a new one, and None when one is taken.

    *now* is the wall clock.
    """

    credential: Credential
    name: str
    now: Callable[[], datetime]
    told: Callable[[Flaw | None], None] = _nobody
    is_held_back: bool = attrs.field(default=False, init=False)
    """Whether there is a new one that is not used because it is bad."""

    _proof: Proof | None = attrs.field(default=None, init=False, repr=False)
    _seen: _Seen | None = attrs.field(default=None, init=False, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)

    def read(self) -> Proof:
        """Return the newest proof that was found good.

        Raises:
            StartRefused: none was; the text says what is wrong with the one that is there.
        """
        with self._lock:
            if self._proof is None:
                return self._first(self.now())
            return self._newest(self._proof, self.now())

    def follow(self, stopped: threading.Event) -> None:
        """Look each second, in a thread of its own, until *stopped*."""

        def watch() -> None:
            while not stopped.wait(_AGAIN.total_seconds()):
                self.read()

        threading.Thread(target=watch, name="certificates", daemon=True).start()

    def _first(self, now: datetime) -> Proof:
        stamp, proof = self._stamp(), self.credential.read()
        if (flaw := flaw_of(proof, name=self.name, now=now)) is not None:
            what = f"{self.credential.certificate} {flaw.value}"
            raise StartRefused(f"{what}; give {self.name} a certificate, key and CA that belong together")
        self._proof, self._seen = proof, _Seen(stamp, now, now)
        return proof

    def _newest(self, proof: Proof, now: datetime) -> Proof:
        stamp, seen = self._stamp(), self._seen
        if seen is None or seen.stamp != stamp:
            seen = _Seen(stamp, now, now)
        elif seen.flaw is None or abs(now - seen.judged) < _AGAIN:
            return proof
        fresh, flaw = self._judged(now)
        self._seen = attrs.evolve(seen, judged=now, flaw=flaw)
        if fresh is not None:
            return self._taken(fresh, proof)
        if now - seen.since >= SETTLED and not seen.is_told:
            self._seen, self.is_held_back = attrs.evolve(self._seen, is_told=True), True
            self.told(flaw)
        return proof

    def _judged(self, now: datetime) -> tuple[Proof | None, Flaw | None]:
        try:
            proof = self.credential.read()
        except StartRefused:
            return None, Flaw.DAMAGED
        flaw = flaw_of(proof, name=self.name, now=now)
        return (proof, None) if flaw is None else (None, flaw)

    def _taken(self, fresh: Proof, proof: Proof) -> Proof:
        was_held_back, self.is_held_back = self.is_held_back, False
        self._proof = fresh
        if fresh != proof or was_held_back:
            self.told(None)
        return fresh

    def _stamp(self) -> tuple[int, ...]:
        try:
            return self.credential.stamp()
        except OSError:
            return ()
