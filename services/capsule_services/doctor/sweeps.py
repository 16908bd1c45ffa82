"""What the sweeps stand on: the durable engine's own file or database, and a clock that they believe."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from capsule_core.errors import CapsuleError, Unavailable
from capsule_services.doctor.findings import Finding, good, mend, note, unseen
from capsule_services.doctor.place import File, Place, Premises, Unreadable, looking
from capsule_services.runtime.faults import StartRefused
from capsule_services.runtime.layout import ENGINE, SWEEPING, url_in
from capsule_services.runtime.sweeper import status_in
from capsule_sql.durable import ENGINE_FILE, engine_on_server, staying
from capsule_sql.migration import Role

__all__ = ["believed", "engines"]

_BEGIN_AGAIN = "stop the service, and remove the file with its -wal and -shm: all that is in it is begun again"


def engines(place: Place) -> Iterator[Finding]:
    """The engine of every service that sweeps can be used. Nothing is lost with it, but until then nothing is swept."""
    for premises in place.services:
        if premises.service in SWEEPING:
            yield _on_server(premises) if (premises.folder / ENGINE).exists() else _in_file(premises)


def _in_file(premises: Premises) -> Finding:
    what = f"engine of {premises.service}"
    # The role is not looked at: what lies there is the engine's, and none of our schemas.
    file = File(f"{premises.service}/{ENGINE_FILE}", premises.folder / ENGINE_FILE, Role.DATA)
    if not file.path.exists():
        return note(what, "it has not swept yet", "start the service")
    try:
        with looking(file) as look:
            told = look.pragma("quick_check")
    except Unreadable:
        return mend(what, "its file cannot be read as what it should be", _BEGIN_AGAIN)
    return good(what, "its file is whole") if told == "ok" else mend(what, "its file is damaged", _BEGIN_AGAIN)


def _on_server(premises: Premises) -> Finding:
    what = f"engine of {premises.service}"
    try:
        connections = engine_on_server(url_in(premises.folder / ENGINE, ENGINE))
        with staying():
            connections.connect().close()
        connections.dispose()
    except Unavailable:
        return unseen(what, "its database does not answer", f"start the server, or correct {ENGINE}, and look again")
    except (CapsuleError, StartRefused):
        return mend(
            what, f"{ENGINE} leads nowhere that may be connected to", f"run capsule db init, or correct {ENGINE}"
        )
    return good(what, "its database answers")


def believed(place: Place) -> Iterator[Finding]:
    """No clock has jumped ahead of the time that has passed."""
    for premises in place.services:
        if premises.service not in SWEEPING:
            continue
        what, status = f"clock of the sweeps of {premises.service}", status_in(premises.folder)
        if status is None or not status.ahead:
            yield good(what, "as much has passed as it shows")
        elif status.asks:
            do = f"if the clock is right: capsule sweep --data {place.folder} --confirm-clock; if not, set it right"
            yield mend(what, f"ahead by {timedelta(seconds=status.ahead)}, which is not believed", do)
        else:
            yield note(
                what, f"was set ahead by {timedelta(seconds=status.ahead)}: so much later trash goes for a month"
            )
