"""The sweeper of a service, put together from its settings."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from capsule_core.rounds import Duty
from capsule_services.runtime.engine import Engine, Job, Pace
from capsule_services.runtime.layout import url_in
from capsule_services.runtime.opening import Opened
from capsule_services.runtime.process import Host
from capsule_services.runtime.sweeper import Sweeper
from capsule_services.runtime.sweeping import JOB
from capsule_sql.connecting import guarded
from capsule_sql.durable import ENGINE_FILE, WHAT

__all__ = ["sweeper_of"]


def sweeper_of(host: Host, opened: Opened, swept: Callable[[], None], *more: Duty) -> Sweeper:
    """Put together who sweeps what was *opened*, and does *more* duties; *swept* is told when something was erased.

    Raises:
        StartRefused: where the engine is cannot be read.
        CapsuleError: it is nowhere that may be connected to.
    """
    holding, settings = opened.holding, host.settings
    url = None if settings.engine is None else url_in(settings.engine, "CAPSULE_ENGINE")
    if url is not None:
        guarded(url, WHAT)
    pace = Pace(at_once=settings.sweep_at_once)

    def open_it(job: Job) -> Engine:
        # It takes a second and 13 MB, which nobody who only asks for --help should pay.
        from capsule_services.runtime.durable import open_engine  # noqa: PLC0415

        return open_engine(holding.service, {JOB: job}, pace, file=settings.data / ENGINE_FILE, url=url)

    return Sweeper(
        holding,
        open_it,
        settings.data,
        settings.sweep_ranges,
        timedelta(minutes=settings.sweep_every),
        timedelta(hours=settings.engine_history),
        url is not None,
        swept,
        host.stopped,
        host.log,
        lambda: host.health.well,
        more,
    )
