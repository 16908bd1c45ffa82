"""How often a password may be tried, and how long to wait after a wrong one."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import attrs

from capsule_core.tenancy._moments import written
from capsule_core.tenancy.accounts import Credential

__all__ = ["MOST_FAILURES", "fail", "may_try"]

MOST_FAILURES: Final = 100
"""Wrong passwords in a row after which a user is refused for good (NIST SP 800-63B-4 section 3.2.2)."""

_FREE_FAILURES: Final = 5
_LONGEST_WAIT: Final = timedelta(hours=1)


def may_try(credential: Credential, *, now: datetime) -> bool:
    """Tell whether a password is looked at: not while the wait after the last wrong one lasts, nor after too many.

    The first five mistakes cost nothing, from then on each doubles the wait, from a second to an hour.
    """
    if credential.failures >= MOST_FAILURES:
        return False
    if credential.failures < _FREE_FAILURES:
        return True
    doublings = min(credential.failures - _FREE_FAILURES, 16)
    wait = min(timedelta(seconds=2**doublings), _LONGEST_WAIT)
    return datetime.fromisoformat(credential.failed_at) + wait <= now


def fail(credential: Credential, *, now: datetime) -> Credential:
    """Count a wrong password, if it was looked at."""
    if not may_try(credential, now=now):
        return credential
    return attrs.evolve(credential, failures=credential.failures + 1, failed_at=written(now))
