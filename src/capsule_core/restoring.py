"""After a restore: tell a store of yesterday what the journal knows of today, before anybody is served.

A backup is older than the journal. Page by page, mark by mark and record by record, what was acknowledged since is done
again: pages take their newest sealing, whoever was erased is erased again, holds, restrictions, objections and
suppressions stand as they stood last, and records that a restore must not take back are as they were last written.
Every step may be repeated, and after a crash the next attempt goes on: within a batch the last word on each thing
counts, and a batch that was begun is done again whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Final, TypeVar

import attrs

from capsule_core import story
from capsule_core.errors import TenantClosed
from capsule_core.journal import Entry, Journal, Marked, PageResealed, SealedPage, Suppressed, Written
from capsule_core.ledger import Leaf
from capsule_core.names import ActorRef, RecordId, SubjectKey, TenantId
from capsule_core.records import Act, Mark, Reason, Sealed, Shelf, Slot, Touched, Where, Witness
from capsule_core.stores import Store
from capsule_core.uses import Use
from capsule_core.vault import Vault
from capsule_core.witness import actor_commitment, notes

__all__ = ["Replayed", "is_behind", "replay", "revoke"]

T = TypeVar("T")

_AT_ONCE: Final = 2000
"""Entries whose last words are found together."""
_TOGETHER: Final = 500
"""Subjects or records of one transaction."""
_EVERY: Final = ~Mark.NONE
_CLOCK: Final = ActorRef("clock", "restore")
_Key = tuple[str, Mark, str]


@attrs.define(kw_only=True)
class Replayed:
    """What a replay changed: nothing, if it had all been done before."""

    pages: int = 0
    marks: int = 0
    lifted: int = 0
    erased: int = 0
    records: int = 0
    suppressed: int = 0


@attrs.frozen
class _Word:
    """The last word of a batch on one reason."""

    reason: Reason
    slot: Slot | None
    lift: bool
    detail: Mapping[str, str]


@attrs.define
class _Batch:
    """The last words that some entries say, of one tenant."""

    pages: list[SealedPage] = attrs.Factory(list[SealedPage])
    words: dict[_Key, _Word] = attrs.Factory(dict[_Key, _Word])
    records: dict[RecordId, Sealed] = attrs.Factory(dict[RecordId, Sealed])
    barred: dict[bytes, Suppressed] = attrs.Factory(dict[bytes, Suppressed])

    def hear(self, entry: Entry) -> None:
        match entry:
            case PageResealed(page):
                self.pages.append(page)
            case Marked():
                slots = entry.slots or (None,) * len(entry.reasons)
                for reason, slot in zip(entry.reasons, slots, strict=True):
                    key = (reason.id, reason.mark, reason.record or reason.subject)
                    self.words[key] = _Word(reason, slot, entry.lift, entry.detail)
            case Written(record):
                self.records[record.id] = record
            case Suppressed():
                self.barred |= dict.fromkeys(entry.hashes, entry)
            case _:
                pass

    def last_words(self) -> list[_Word]:
        """Return what was said last on each reason, of records as they belong to people now."""
        owners = {name: record.subject for name, record in self.records.items()}
        return [
            attrs.evolve(word, reason=attrs.evolve(word.reason, subject=owners[record]))
            if (record := word.reason.record) is not None and record in owners
            else word
            for word in self.words.values()
        ]

    @property
    def slots(self) -> dict[SubjectKey, Slot]:
        """Where the keys of everybody lie whom it speaks of, as far as it says so."""
        told = {word.reason.subject: word.slot for word in self.words.values() if word.slot is not None}
        return {**{record.subject: record.slot for record in self.records.values()}, **told}


def is_behind(store: Store, journal: Journal) -> bool:
    """Tell whether the journal knows of acts that *store* does not: then it is older, and must not be served from."""
    return any(isinstance(entry, Marked | Written | Suppressed) for _, entry in journal.since(store.position()))


def replay(store: Store, vault: Vault, journal: Journal, *, since: int, now: datetime) -> Replayed:
    """Do again what the journal says after the position *since*, in its order; return what that changed.

    An erasure that was begun and not finished is fenced again, with the leaf that lets ``Eraser.resume`` finish it.

    Raises:
        CapsuleError: a store cannot be written; doing it again goes on from there.
    """
    done, entries = Replayed(), journal.since(since)
    while batch := list(islice(entries, _AT_ONCE)):
        for tenant, said in _by_tenant(entry for _, entry in batch).items():
            with suppress(TenantClosed):  # nothing of it can be read any more
                _replay_batch(store, vault, tenant, said, done, now=now)
        store.arrive(batch[-1][0])
    return done


def revoke(store: Store, vault: Vault, kinds: Sequence[str], *, now: datetime) -> int:
    """Destroy every record of *kinds*, in all tenants: what was good before a restore, such as a session, is not."""
    count = 0
    for tenant in store.tenants():
        act = _act(vault, tenant, "restore.revoke", now=now)
        where = Where(tenant=tenant, shelf=Shelf.ANY, kinds=tuple(kinds))
        with suppress(TenantClosed):
            count += len(store.destroy(where, admits=_EVERY, act=act))
    return count


def _by_tenant(entries: Iterator[Entry]) -> Mapping[TenantId, _Batch]:
    batches: dict[TenantId, _Batch] = defaultdict(_Batch)
    for entry in entries:
        tenant = _tenant(entry)
        if tenant is not None:
            batches[tenant].hear(entry)
    return batches


def _tenant(entry: Entry) -> TenantId | None:
    match entry:
        case PageResealed(page):
            return page.tenant
        case Written(record):
            return record.tenant
        case Marked() | Suppressed():
            return entry.tenant
        case _:
            return None


def _replay_batch(store: Store, vault: Vault, tenant: TenantId, said: _Batch, done: Replayed, *, now: datetime) -> None:
    done.pages += vault.heal(tenant, said.pages)
    store.recognise(tenant, said.slots)
    # Records first: what is kept of somebody was handed over to their remnant, and its reasons with it.
    done.records += _reinstate(store, vault, tenant, list(said.records.values()), now=now)
    words = said.last_words()
    over = {word.reason.subject for word in words if word.reason.mark is Mark.ERASED and not word.lift}
    lifted = [word.reason for word in words if word.lift]
    done.lifted += _mark(store, vault, tenant, lifted, "restore.lift", now=now, lift=True)
    put = [word.reason for word in words if not word.lift and not _ends(word.reason)]
    done.marks += _mark(store, vault, tenant, put, "restore.mark", now=now)
    begun = [word for word in words if word.reason.mark is Mark.FENCED and word.reason.subject not in over]
    done.marks += _fence(store, vault, tenant, begun, now=now)
    done.erased += _erase(store, vault, tenant, [word.reason for word in words if word.reason.subject in over], now=now)
    done.suppressed += _suppress(store, vault, tenant, said.barred)


def _ends(reason: Reason) -> bool:
    return reason.mark in {Mark.FENCED, Mark.ERASED}


def _mark(
    store: Store,
    vault: Vault,
    tenant: TenantId,
    reasons: Sequence[Reason],
    verb: str,
    *,
    now: datetime,
    lift: bool = False,
) -> int:
    return sum(
        len(store.mark(part, lift=lift, admits=_EVERY, act=_act(vault, tenant, verb, now=now)))
        for part in _parts(reasons)
    )


def _fence(store: Store, vault: Vault, tenant: TenantId, begun: Sequence[_Word], *, now: datetime) -> int:
    """Begin again what was begun: each erasure gets the leaf that tells what it is."""
    erasures: dict[str, list[_Word]] = defaultdict(list)
    for word in begun:
        erasures[word.reason.id].append(word)
    fenced = 0
    for words in erasures.values():
        told = words[0].detail
        act = _act(vault, tenant, story.FENCE if told else "restore.fence", now=now, detail=told)
        fenced += len(store.mark([word.reason for word in words], admits=_EVERY, act=act))
    return fenced


def _erase(store: Store, vault: Vault, tenant: TenantId, reasons: Sequence[Reason], *, now: datetime) -> int:
    """Fence, delete, and say that they are erased; their keys are gone: their pages have healed."""
    ended = {reason.subject: reason for reason in reasons if reason.mark is Mark.ERASED}
    erased = 0
    for part in _parts(sorted(ended)):
        ours = set(part)
        fences = [reason for reason in reasons if reason.subject in ours and reason.mark is Mark.FENCED]
        # Of an erasure whose fence lies further back, or whose fence was never journaled, the end tells as much.
        fences += [attrs.evolve(ended[subject], mark=Mark.FENCED) for subject in ours - {f.subject for f in fences}]
        store.mark(fences, admits=_EVERY, act=_act(vault, tenant, "restore.fence", now=now))
        where = Where(tenant=tenant, subjects=tuple(part), shelf=Shelf.ANY)
        store.destroy(where, admits=_EVERY, act=_act(vault, tenant, "restore.delete", now=now))
        act = _act(vault, tenant, "restore.erase", now=now)
        erased += len(store.mark([ended[subject] for subject in part], admits=_EVERY, act=act))
    return erased


def _suppress(store: Store, vault: Vault, tenant: TenantId, barred: Mapping[bytes, Suppressed]) -> int:
    """Suppress what was suppressed last, and let in what was let in; each group since when it last was."""
    changed = 0
    for lift in (False, True):
        hashes = [hashed for hashed, told in barred.items() if told.lift is lift]
        since = max((barred[hashed].since for hashed in hashes), default=None)
        if since is not None:
            act = _act(vault, tenant, "restore.suppress", now=since)
            changed += len(store.suppress(hashes, act=attrs.evolve(act, witness=notes(vault, act)), lift=lift))
    return changed


def _reinstate(store: Store, vault: Vault, tenant: TenantId, records: Sequence[Sealed], *, now: datetime) -> int:
    return sum(
        len(store.reinstate(part, act=_act(vault, tenant, "restore.write", now=now))) for part in _parts(records)
    )


def _act(vault: Vault, tenant: TenantId, verb: str, *, now: datetime, detail: Mapping[str, str] | None = None) -> Act:
    """Make an act of the restore: one leaf for all it changed, which commits to nobody, for salts may be gone."""
    act = Act(tenant=tenant, actor=_CLOCK, verb=verb, use=Use.STORE.value, at=now, detail=detail or {}, replayed=True)
    return attrs.evolve(act, witness=_witness(vault, act))


def _witness(vault: Vault, act: Act) -> Witness:
    def witness(touched: Sequence[Touched]) -> bytes | None:
        if not touched:
            return None
        actor = actor_commitment(vault, act.tenant, act.actor)
        return Leaf(
            at=act.at,
            tenant=act.tenant,
            act=act.verb,
            use=act.use,
            actor=actor,
            records=len(touched),
            detail=act.detail,
        ).encode()

    return witness


def _parts(whole: Sequence[T]) -> Iterator[Sequence[T]]:
    return (whole[start : start + _TOGETHER] for start in range(0, len(whole), _TOGETHER))
