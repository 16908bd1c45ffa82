"""Throw away, take back and destroy what is meant: a fixed number of statements, however many records and children."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

import attrs

from capsule_core.names import micros
from capsule_core.records import Mark, Sealed, Touched, Trash, Where
from capsule_sql.guarding import guarded
from capsule_sql.rows import SEALED, sealed, touched
from capsule_sql.selections import lock_bearers, touching
from capsule_sql.statements import EACH, Connection, listed
from capsule_sql.tenants import numbered
from capsule_sql.writing import claim, forget_index

__all__ = ["Meant"]


@attrs.frozen
class Meant:
    """The records that a change touches, found within its transaction."""

    connection: Connection
    where: Where
    numbers: tuple[int, ...]
    touched: tuple[Touched, ...]

    @classmethod
    def find(cls, connection: Connection, where: Where, *, refused: Mark) -> Meant:
        """Find what is meant and carries none of the marks *refused*; its subjects are locked before it is read."""
        query = touching(where, refused=refused)
        if connection.shared:
            locked = connection.execute(*lock_bearers(where, refused=refused)).fetchall()
            query = touching(where, refused=refused, bearers=[number for (number,) in locked])
        rows = connection.execute(query.text, query.values).fetchall()
        return cls(connection, where, tuple(row[0] for row in rows), tuple(map(touched, rows)))

    def unguarded(self, refused: Mark) -> Meant:
        """Leave out whom somebody else guards by one of the marks *refused*."""
        tenant = numbered(self.connection, self.where.tenant)
        carried = guarded(self.connection, tenant, {each.subject for each in self.touched})
        pairs = zip(self.numbers, self.touched, strict=True)
        left = [(no, each) for no, each in pairs if not carried[each.subject] & refused]
        return attrs.evolve(self, numbers=tuple(no for no, _ in left), touched=tuple(each for _, each in left))

    def sealed(self, kinds: Collection[str]) -> list[Sealed]:
        """Return those of *kinds* as they are now."""
        numbers = [no for no, each in zip(self.numbers, self.touched, strict=True) if each.kind in kinds]
        if not numbers:
            return []
        select = f"SELECT {SEALED} FROM records r CROSS JOIN subjects s ON s.no = r.subject_no WHERE r.no {EACH}"
        rows = self.connection.execute(select, (listed(numbers),)).fetchall()
        return [sealed(self.where.tenant, row) for row in rows]

    def throw_away(self, trash: Trash) -> None:
        """Put them in the trash; their claims are free for others."""
        update = f"UPDATE records SET batch = ?, trashed = ?, until = ? WHERE no {EACH}"
        moments = (trash.batch, micros(trash.at), micros(trash.until))
        self.connection.execute(update, (*moments, listed(self.numbers)))
        self._set_claims(held=1, becomes=2)

    def take_back(self, at: datetime) -> None:
        """Take them out of the trash, with their claims; they say that it was *at* that time.

        Raises:
            IdentifierTaken: a live record has one of the claims by now.
        """
        select = f"""SELECT r.kind, t.token FROM tokens t JOIN records r ON r.no = t.record_no
            WHERE t.record_no {EACH} AND t.claim = 2"""
        claims = self.connection.execute(select, (listed(self.numbers),)).fetchall()
        claim(self.connection, numbered(self.connection, self.where.tenant), claims)
        update = f"UPDATE records SET batch = NULL, trashed = NULL, until = NULL, restored = ? WHERE no {EACH}"
        self.connection.execute(update, (micros(at), listed(self.numbers)))
        self._set_claims(held=2, becomes=1)

    def destroy(self) -> None:
        """Delete them, what they are found by, and the bodies of what was answered about their subjects."""
        forget_index(self.connection, self.numbers)
        self.connection.execute(f"DELETE FROM records WHERE no {EACH}", (listed(self.numbers),))
        emptied = {each.subject for each in self.touched} | set(self.where.subjects or ())
        update = f"UPDATE answers SET body = NULL WHERE tenant_no = ? AND body IS NOT NULL AND subject {EACH}"
        self.connection.execute(update, (numbered(self.connection, self.where.tenant), listed(emptied)))

    def _set_claims(self, *, held: int, becomes: int) -> None:
        update = f"UPDATE tokens SET claim = ? WHERE claim = ? AND record_no {EACH}"
        self.connection.execute(update, (becomes, held, listed(self.numbers)))
