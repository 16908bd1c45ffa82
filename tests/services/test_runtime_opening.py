"""What a service stands on is opened, and what another process left half done is finished before anybody is served."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from capsule_core.journal import Marked
from capsule_core.names import SubjectKey
from capsule_core.records import Mark, Reason
from capsule_sql.outbox import post
from tests.services.office import office, opened_on, person

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_what_another_process_committed_and_did_not_ship_is_in_the_journal_after_resuming(tmp_path: Path) -> None:
    """It was killed between its commit and the journal, while this one was open already."""
    opened = opened_on("sqlite", tmp_path)
    desk = office(opened, tmp_path).desk("acme")
    subject = SubjectKey(person(desk).name.rpartition("/")[2])
    store: Any = opened.holding.repository.store
    reason = Reason(id="h1", mark=Mark.HELD, subject=subject, since=NOON)
    left = Marked(tenant=desk.caller.tenant, reasons=(reason,), lift=False)  # type: ignore[union-attr]
    store._database.write(lambda connection: post(connection, left))
    assert opened.readings["capsule_outbox_entries"]() == 1
    opened.resume()
    assert opened.readings["capsule_outbox_entries"]() == 0
    assert left in [entry for _, entry in store._journal.since(0)]
    opened.close()
