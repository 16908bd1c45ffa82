"""The library alone, on plain objects: keep a ticket, find it, trash it, take it back, erase its customer, prove it.

Run it: ``python examples/library/ticket.py``. It needs ``pip install .`` and nothing else: no database, no server.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import attrs

from capsule_core.errors import ReceiptInvalid, SubjectErased
from capsule_core.names import ActorRef, SubjectRef
from capsule_core.personal import Category, Exact, Form, Personal, Words, kind
from capsule_core.privacy import Privacy
from capsule_core.receipts import verify


@kind("ticket", subject="customer")
@attrs.frozen
class Ticket:
    id: str
    customer: str
    email: Annotated[str, Personal(Category.CONTACT, purpose="support", search=Exact(Form.EMAIL))]
    text: Annotated[str, Personal(Category.COMMUNICATION, purpose="support", search=Words())]


def main() -> None:
    p, agent, now = Privacy.in_memory(kinds=[Ticket]), ActorRef("user", "agent-7"), datetime.now(UTC)

    ticket = Ticket("t-1", "c-42", "Jana.Novak@example.org", "The heating rattles, звоните после шести")
    kept = p.save("acme", ticket, by=agent, now=now)
    assert p.find(Ticket, "acme", words="heat звон").records == (kept,)
    assert p.find(Ticket, "acme", equal=("email", "jana.novak@EXAMPLE.org")).records == (kept,)
    print("kept, and found by the beginnings of words and by the address in another spelling")

    trashed = p.trash(kept, by=agent, now=now)
    assert p.restore(trashed, by=agent, now=now) == kept
    print("thrown away and taken back, the same as before")

    plan = p.erase.plan(SubjectRef("acme", "customer", "c-42"), by=agent, now=now)
    receipt = p.erase.run(plan, now=now)
    try:
        p.save("acme", attrs.evolve(ticket, text="a form that was opened before"), by=agent, now=now)
    except SubjectErased as refused:
        print(f"erased: {dict(plan.records)}; a late writer is told: {refused}")

    statement = verify(receipt.document, p.public_key)  # offline: the receipt, a public key, nothing else
    print(f"the receipt is valid: erasure {statement.erasure}, by {statement.destructions[0].method.value}")
    try:
        verify(receipt.document.swapcase(), p.public_key)
    except ReceiptInvalid as refused:
        print(f"a changed receipt is not: {refused}")


if __name__ == "__main__":
    main()
