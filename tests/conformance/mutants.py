"""Adapters that are broken in one small way each: the suites must catch every one, by the clause it breaks."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import attrs

from capsule_core.closing import GRACE
from capsule_core.holder import Done, Match, RecordHolder
from capsule_core.journal import Entry, MemoryJournal, SealedPage
from capsule_core.ledger import MemoryLedger
from capsule_core.memory import MemoryKeystore, MemoryStore, rules
from capsule_core.memory.suppressions import SuppressedHashes
from capsule_core.merkle import Frontier
from capsule_core.moments import Moment
from capsule_core.names import RecordId, SubjectKey, TenantId
from capsule_core.pages import PageKey
from capsule_core.protection import EVERYBODY
from capsule_core.records import GUARDED, Act, Mark, Page, Reason, Restore, Sealed, Slot, Touched, Where
from capsule_core.statements import Outcome
from capsule_core.stores import EVERYONE, Share


class LosesOneUpdate(MemoryStore):
    def write(self, drafts: Sequence[Sealed], *, admits: Mark, act: Act) -> Sequence[Touched]:
        before = dict(self._records)
        touched = super().write(drafts, admits=admits, act=act)
        if drafts[-1].version == 2:
            self._records[drafts[-1].tenant, drafts[-1].id] = before[drafts[-1].tenant, drafts[-1].id]
        return touched


class LeaksAnotherTenant(MemoryStore):
    def _meant(self, where: Where, *, refused: Mark) -> list[Sealed]:
        other = attrs.evolve(where, tenant="zeta" if where.tenant == "acme" else "acme")
        return super()._meant(where, refused=refused) + super()._meant(other, refused=refused)


class ReadsAnotherTenant(MemoryStore):
    def read(self, tenant: TenantId, ids: Sequence[RecordId], *, admits: Mark) -> Any:
        own = super().read(tenant, ids, admits=admits)
        other = super().read(TenantId("acme"), ids, admits=admits)
        return [mine or theirs for mine, theirs in zip(own, other, strict=True)]


class IgnoresMarks(MemoryStore):
    def _admit(self, draft: Sealed, admits: Mark) -> None:
        return


class AdmitsWhomeverTheDraftNames(MemoryStore):
    """Looks at the subject of the draft, and not at the one whose record it takes away."""

    def _admit(self, draft: Sealed, admits: Mark) -> None:
        held = self._records.pop((draft.tenant, draft.id), None)
        try:
            super()._admit(draft, admits)
        finally:
            if held:
                self._records[draft.tenant, draft.id] = held


class WritesForTheOtherHalf(MemoryStore):
    """Looks at the subject of a draft, and not at what is kept of the same person."""

    def _admit(self, draft: Sealed, admits: Mark) -> None:
        apart = {key: self._reasons.pop(key) for key in list(self._reasons) if key[2] is Mark.KEPT}
        try:
            super()._admit(draft, admits)
        finally:
            self._reasons |= apart


class LosesReasonsOfTheParted(MemoryStore):
    def _part(self, tenant: TenantId, parting: Sequence[Sealed]) -> None:
        before = set(self._reasons)
        super()._part(tenant, parting)
        for key in set(self._reasons) - before:
            del self._reasons[key]


class FindsTheParted(MemoryStore):
    def _part(self, tenant: TenantId, parting: Sequence[Sealed]) -> None:
        before = dict(self._records)
        super()._part(tenant, parting)
        for draft in parting:
            old, new = before[tenant, draft.id], self._records[tenant, draft.id]
            self._records[tenant, draft.id] = attrs.evolve(new, tokens=old.tokens)


class PartsWhatChanged(MemoryStore):
    def _part(self, tenant: TenantId, parting: Sequence[Sealed]) -> None:
        held = [self._records.get((tenant, draft.id)) for draft in parting]
        there = [attrs.evolve(draft, version=was.version) for draft, was in zip(parting, held, strict=True) if was]
        super()._part(tenant, there)


class KeepsForEver(MemoryStore):
    def released(self, of: Any = EVERYONE) -> Any:
        return []


class ReleasesEverybodyEverywhere(MemoryStore):
    def released(self, of: Any = EVERYONE) -> Any:
        return super().released(EVERYONE)


class NamesTheYoungestTrashFirst(MemoryStore):
    def due(self, now: datetime, share: Share = EVERYONE) -> Any:
        return super().due(now, share)[::-1]


class LeavesATenantToNobody(MemoryStore):
    def due(self, now: datetime, share: Share = EVERYONE) -> Any:
        return super().due(now, share) if share == EVERYONE else []


class PurgesHeldRows(MemoryStore):
    def destroy(self, where: Where, *, admits: Mark, act: Act) -> Sequence[Touched]:
        return super().destroy(where, admits=admits | Mark.HELD, act=act)


class RestoresTooMuch(MemoryStore):
    def move(self, where: Where, to: Any, *, admits: Mark, act: Act) -> Sequence[Touched]:
        found = super().move(where, to, admits=admits, act=act)
        if isinstance(to, Restore):
            for key, record in self._records.items():
                if record.tenant == where.tenant and record.trash and found:
                    self._records[key] = attrs.evolve(record, trash=None)
        return found


class FreesNoClaims(MemoryStore):
    def _claim(self, records: Any) -> None:
        trashed = {key: record for key, record in self._records.items() if record.trash}
        self._records.update({key: attrs.evolve(record, trash=None) for key, record in trashed.items()})
        try:
            super()._claim(records)
        finally:
            self._records.update(trashed)


class KeepsClaimsOfTheDestroyed(MemoryStore):
    def destroy(self, where: Where, *, admits: Mark, act: Act) -> Sequence[Touched]:
        before = dict(self._records)
        touched = super().destroy(where, admits=admits, act=act)
        for key in before.keys() - self._records.keys():
            ghost = attrs.evolve(before[key], id=RecordId(f"ghost {key}"), trash=None)
            self._records[ghost.tenant, ghost.id] = ghost
        return touched

    def _meant(self, where: Where, *, refused: Mark) -> list[Sealed]:
        return [record for record in super()._meant(where, refused=refused) if not record.id.startswith("ghost")]


class ClaimsTwice(MemoryStore):
    def _claim(self, records: Any) -> None:
        return


class KeepsAnswersOfTheDestroyed(MemoryStore):
    def destroy(self, where: Where, *, admits: Mark, act: Act) -> Sequence[Touched]:
        kept = dict(self._answers)
        touched = super().destroy(where, admits=admits, act=act)
        self._answers.update(kept)
        return touched


class TwoLeaves(MemoryStore):
    def _witness(self, act: Act, touched: Sequence[Touched]) -> None:
        super()._witness(act, touched)
        if leaf := act.witness(touched):
            self._ledger.append([leaf])


class LeafWithoutChange(MemoryStore):
    def _witness(self, act: Act, touched: Sequence[Touched]) -> None:
        super()._witness(act, touched)
        if not touched:
            self._ledger.append([b"nothing was touched"])


class AnswersWhatWasNotDone(MemoryStore):
    def _witness(self, act: Act, touched: Sequence[Touched]) -> None:
        super()._witness(act, touched)
        if act.answer is not None:
            self._answers[act.tenant, act.answer.key] = act.answer


class ForgetsRequests(MemoryStore):
    def _expect(self, act: Act) -> None:
        super()._expect(attrs.evolve(act, answer=None))


class ForgetsAnswersEarly(MemoryStore):
    def forget(self, now: datetime) -> None:
        super().forget(now + timedelta(seconds=1))


class NeverForgetsAnswers(MemoryStore):
    def forget(self, now: datetime) -> None:
        return


class ExpectsNothing(MemoryStore):
    def _expect(self, act: Act) -> None:
        super()._expect(attrs.evolve(act, expects=()))


class ChangesBeforeRaising(MemoryStore):
    def _witness(self, act: Act, touched: Sequence[Touched]) -> None:
        try:
            super()._witness(act, touched)
        except Exception:
            for entry in touched:
                self._records.pop((act.tenant, entry.id), None)  # type: ignore[arg-type]
            raise


class LiftsTooMuch(MemoryStore):
    def mark(self, reasons: Any, *, admits: Mark = Mark.NONE, **more: Any) -> Sequence[Touched]:
        touched = super().mark(reasons, admits=admits, **more)
        if more.get("lift") and touched:
            for key in [key for key, each in self._reasons.items() if each.mark is reasons[0].mark]:
                del self._reasons[key]
        return touched


class FencesTheHeld(MemoryStore):
    def mark(self, reasons: Any, *, admits: Mark = Mark.NONE, **more: Any) -> Sequence[Touched]:
        return super().mark(reasons, admits=admits | Mark.HELD, **more)


class GivesASlotTwice(MemoryStore):
    def _place(self, drafts: Sequence[Sealed]) -> None:
        return


class ListsAPageTwice(MemoryStore):
    def select(self, where: Where, *, admits: Mark, limit: int, after: Any = None) -> Page:
        page = super().select(where, admits=admits, limit=limit, after=after)
        return attrs.evolve(page, records=page.records[:-1] + page.records[-2:-1]) if len(page.records) > 1 else page


class CountsTheRefused(MemoryStore):
    def count(self, where: Where, *, admits: Mark) -> int:
        return super().count(where, admits=~Mark.NONE)


class NamesWhoHadIt(MemoryStore):
    def having(self, kind: str, share: Share = EVERYONE) -> Sequence[TenantId]:
        return sorted({each.tenant for each in self._records.values() if each.kind == kind})


class FindsNothingPast(MemoryStore):
    def _meant(self, where: Where, *, refused: Mark) -> list[Sealed]:
        return super()._meant(attrs.evolve(where, past=None), refused=refused)


class ForgetsWhatCameBack(MemoryStore):
    def move(self, where: Where, to: Any, *, admits: Mark, act: Act) -> Sequence[Touched]:
        found = super().move(where, to, admits=admits, act=act)
        for key, record in self._records.items():
            self._records[key] = attrs.evolve(record, restored=None)
        return found


class TicksTheWrongVersion(MemoryStore):
    def tick(self, tenant: TenantId, records: Sequence[Sealed]) -> None:
        held = {each.id: self._records[tenant, each.id].version for each in records}
        super().tick(tenant, [attrs.evolve(each, version=held[each.id]) for each in records])


class StaysTicked(MemoryStore):
    def _write(self, drafts: Sequence[Sealed], at: Any) -> None:
        done = {each.id: self._records[each.tenant, each.id].done for each in drafts if each.version > 1}
        super()._write(drafts, at)
        for each in drafts:
            held = self._records[each.tenant, each.id]
            self._records[each.tenant, each.id] = attrs.evolve(held, done=done.get(each.id))


class GoesBackInTime(MemoryStore):
    def happen(self, tenant: TenantId, moments: Sequence[Moment]) -> None:
        super().happen(tenant, [attrs.evolve(each, at=None) for each in moments])
        super().happen(tenant, moments)


class HappensWithoutTheAct(MemoryStore):
    def move(self, where: Where, to: Any, *, admits: Mark, act: Act) -> Sequence[Touched]:
        self.happen(act.tenant, act.happened)
        return super().move(where, to, admits=admits, act=act)


class RemembersTheErased(MemoryStore):
    def mark(self, reasons: Any, **more: Any) -> Sequence[Touched]:
        before = {each.subject: dict(self._happened.to(more["act"].tenant, each.subject)) for each in reasons}
        touched = super().mark(reasons, **more)
        self._happened._kept.update({(more["act"].tenant, key): events for key, events in before.items() if events})
        return touched


class ForgetsAnErasureAtRestart(MemoryStore):
    def unfinished(self) -> Any:
        return list(super().unfinished())[1:]


class ForgetsWhoIsKnownByNothing(MemoryStore):
    def people(self, tenant: TenantId, *, limit: int, after: SubjectKey | None = None) -> Sequence[SubjectKey]:
        there = {each.subject for each in self._records.values()}
        return [key for key in super().people(tenant, limit=limit, after=after) if key in there]


class NamesTheErased(MemoryStore):
    def people(self, tenant: TenantId, *, limit: int, after: SubjectKey | None = None) -> Sequence[SubjectKey]:
        return sorted(key for owner, key in self._subjects if owner == tenant and key > (after or ""))[:limit]


class RemembersLittle(MemoryStore):
    def remembered(self, tenant: TenantId, *, limit: int) -> Sequence[bytes]:
        return super().remembered(tenant, limit=1)


class SuppressesForEverybody(MemoryStore):
    def suppressed(self, tenant: TenantId, hashes: Sequence[bytes]) -> frozenset[bytes]:
        return super().suppressed(TenantId("acme"), hashes) | super().suppressed(TenantId("zeta"), hashes)


class LetsTheSuppressedIn(MemoryStore):
    def write(self, drafts: Sequence[Sealed], *, admits: Mark, act: Act) -> Sequence[Touched]:
        return super().write(drafts, admits=admits, act=attrs.evolve(act, brings=()))


class TakesTheSuppressedBack(MemoryStore):
    def move(self, where: Where, to: Any, *, admits: Mark, act: Act) -> Sequence[Touched]:
        return super().move(where, to, admits=admits, act=attrs.evolve(act, brings=()))


class AsksTooEarly(MemoryStore):
    """Asks whether it is suppressed, and writes when it may be so by now."""

    def write(self, drafts: Sequence[Sealed], *, admits: Mark, act: Act) -> Sequence[Touched]:
        self._suppressions.admit(act)
        if act.brings:
            self.__dict__.setdefault("over", threading.Event()).wait(1)
        return super().write(drafts, admits=admits, act=attrs.evolve(act, brings=()))

    def suppress(self, hashes: Sequence[bytes], *, act: Act, lift: bool = False) -> Sequence[bytes]:
        changed = super().suppress(hashes, act=act, lift=lift)
        self.__dict__.setdefault("over", threading.Event()).set()
        return changed


class SaysWhatItWasAsked(MemoryStore):
    def suppress(self, hashes: Sequence[bytes], *, act: Act, lift: bool = False) -> Sequence[bytes]:
        super().suppress(hashes, act=act, lift=lift)
        return list(hashes)


class SuppressesInSilence(MemoryStore):
    def _sign(self, act: Act, leaf: bytes | None) -> None:
        super()._sign(act, leaf if leaf != b"noted" else None)


class SuppressesBeforeItsLeaf(MemoryStore):
    def suppress(self, hashes: Sequence[bytes], *, act: Act, lift: bool = False) -> Sequence[bytes]:
        try:
            return super().suppress(hashes, act=act, lift=lift)
        except Exception:
            self._suppressions.change(act, list(set(hashes)), lift=False)
            raise


class SuppressesForItself(MemoryStore):
    """Tells the journal of marks and pages, and not of this."""

    def suppress(self, hashes: Sequence[bytes], *, act: Act, lift: bool = False) -> Sequence[bytes]:
        journal, self._journal = self._journal, MemoryJournal()
        try:
            return super().suppress(hashes, act=act, lift=lift)
        finally:
            self._journal = journal


class LiftsWithTheDestroyed(MemoryStore):
    def destroy(self, where: Where, *, admits: Mark, act: Act) -> Sequence[Touched]:
        self._suppressions = SuppressedHashes()
        return super().destroy(where, admits=admits, act=act)


class AddsAPageOverAnother(MemoryStore):
    def add(self, page: SealedPage) -> None:
        self._pages[page.tenant, page.number] = page


class TakesAnOlderPage(MemoryStore):
    def reseal(self, pages: Sequence[SealedPage]) -> None:
        self._pages.update({(page.tenant, page.number): page for page in pages})


class GivesANumberTwice(MemoryStore):
    def newest(self, tenant: TenantId) -> int:
        return max(0, super().newest(tenant) - 1)


class KeepsTheOldKey(MemoryKeystore):
    def replace(self, keys: Sequence[tuple[bytes, PageKey]]) -> None:
        kept = dict(self._keys)
        super().replace(keys)
        self._keys.update(kept)


class LeavesTheOldKeyInAFile(MemoryKeystore):
    """Destroys a key for whoever asks, and not for whoever looks."""

    def replace(self, keys: Sequence[tuple[bytes, PageKey]]) -> None:
        old = [self._keys[key.tenant, key.page] for _, key in keys if (key.tenant, key.page) in self._keys]
        super().replace(keys)
        self._keys.update({(TenantId("freelist"), key.page): key for key in old})


class ClosesNobody(MemoryKeystore):
    def close(self, mark: PageKey) -> None:
        return


class LeavesNoMark(MemoryKeystore):
    def close(self, mark: PageKey) -> None:
        super().close(mark)
        del self._keys[mark.tenant, mark.page]


class LosesOrder(MemoryJournal):
    def append(self, entries: Sequence[Entry]) -> int:
        return super().append(list(reversed(entries)))


class FindsTheFirstPage(MemoryJournal):
    def newest_page(self, tenant: TenantId, number: int, key_id: bytes) -> SealedPage | None:
        entries = self._entries
        self._entries = dict(reversed(entries.items()))
        try:
            return super().newest_page(tenant, number, key_id)
        finally:
            self._entries = entries


class SaysWhereTheFirstEntryLies(MemoryJournal):
    def append(self, entries: Sequence[Entry]) -> int:
        return super().append(entries) - max(0, len(entries) - 1)


class DropsTheNextEntryToo(MemoryJournal):
    def drop(self, positions: Collection[int]) -> None:
        super().drop([*positions, *(position + 1 for position in positions)])


class SettlesByForgetting(MemoryJournal):
    def settle(self) -> None:
        self._entries = dict(list(self._entries.items())[1:])


class GivesPositionsOutAgain(MemoryJournal):
    def drop(self, positions: Collection[int]) -> None:
        super().drop(positions)
        self._newest = max(self._entries, default=0)


class ForgetsWhatItSaw(MemoryStore):
    def mark(self, reasons: Any, **more: Any) -> Any:
        position = self._position
        try:
            return super().mark(reasons, **more)
        finally:
            self._position = position


class GoesBack(MemoryStore):
    def arrive(self, position: int) -> None:
        self._position = position


class MovesTheKnown(MemoryStore):
    def recognise(self, tenant: TenantId, subjects: Mapping[SubjectKey, Slot]) -> None:
        for key in subjects:
            self._subjects.pop((tenant, key), None)
        super().recognise(tenant, subjects)


class PutsBackWhatIsOlder(MemoryStore):
    def _lacks(self, record: Sealed) -> bool:
        held = self._records.pop((record.tenant, record.id), None)
        lacks = super()._lacks(record)
        if held is not None:
            self._records[record.tenant, record.id] = held
        return lacks


class PutsBackTheErased(MemoryStore):
    def _carried(self, record: Sealed) -> Mark:
        return super()._carried(record) & ~Mark.FENCED


class TellsTheJournalAgain(MemoryStore):
    def reinstate(self, records: Sequence[Sealed], *, act: Act) -> Sequence[Touched]:
        touched = super().reinstate(records, act=act)
        self._finish(attrs.evolve(act, journaled=frozenset({"note"})), touched)
        return touched


class CallsTheIndexWhole(MemoryStore):
    def unindexed(self) -> Sequence[TenantId]:
        return []


class NamesNobody(MemoryStore):
    def tenants(self) -> Sequence[TenantId]:
        return super().tenants()[:1]


class DropsALeaf(MemoryLedger):
    def read(self, start: int, limit: int) -> Sequence[bytes]:
        return super().read(start, limit)[: max(0, self.head().size - start - 1)]


class RewritesALeaf(MemoryLedger):
    def append(self, leaves: Sequence[bytes]) -> Frontier:
        if self._leaves:
            self._leaves[0] = b"it was never so"
        return super().append(leaves)


class ForgetsTheCheckpoint(MemoryLedger):
    def keep(self, checkpoint: str) -> None:
        super().keep(self.latest() or checkpoint)


class SaysErasedAndFindsStill(RecordHolder):
    """Says what it always says, and goes on finding whom it found before."""

    def locate(self, tenant: TenantId, identifiers: Any) -> Sequence[Match]:
        found = super().locate(tenant, identifiers)
        self.__dict__.setdefault("seen", {}).update({(tenant, i.value): match for match in found for i in identifiers})
        old = [match for (owner, value), match in self.__dict__["seen"].items() if owner == tenant]
        return found or old[:1]


class ErasedWithoutReceipt(RecordHolder):
    def erase(self, erasure: Any, *, now: Any) -> Done:
        done = super().erase(erasure, now=now)
        return Done(Outcome.ERASED, None) if done.outcome is None else done


class CollectsEverybody(RecordHolder):
    def collect(self, tenant: TenantId, subjects: Sequence[SubjectKey]) -> Any:
        everybody = [key for owner, key in self._repository.store._subjects if owner == tenant]  # type: ignore[attr-defined]
        return super().collect(tenant, everybody[-1:] + list(subjects)[1:])


class SweepsEarly(RecordHolder):
    def sweep(self, tenant: TenantId, *, now: Any) -> Any:
        return super().sweep(tenant, now=now + timedelta(microseconds=1))


class DestroysWhenItHears(RecordHolder):
    def close(self, tenant: TenantId, *, closed: Any, by: Any, now: Any) -> None:
        super().close(tenant, closed=closed - GRACE, by=by, now=now)
        list(self.dissolution(bytes).slices(tenant, now=now))


class FencesWhomEverybodyHolds(MemoryStore):
    """Asks what a subject carries, and not what everybody does."""

    def _changes(self, tenant: TenantId, reason: Reason, *, lift: bool, admits: Mark) -> bool:
        others = {key: self._reasons.pop(key) for key in list(self._reasons) if key[3] == EVERYBODY != reason.subject}
        try:
            return super()._changes(tenant, reason, lift=lift, admits=admits)
        finally:
            self._reasons |= others


class DestroysWhomEverybodyHolds(MemoryStore):
    def _protected(self, record: Sealed) -> Mark:
        return self._carried(record) & GUARDED


class ReleasesWhomEverybodyHolds(MemoryStore):
    def released(self, of: Any = EVERYONE) -> Sequence[tuple[TenantId, Reason]]:
        heard = {key: each for key, each in self._reasons.items() if key[3] != EVERYBODY}
        return rules.released(heard, self._records, of)


class ReleasesAllOrNothing(MemoryStore):
    """Waits with one record until nothing guards the other either."""

    def released(self, of: Any = EVERYONE) -> Sequence[tuple[TenantId, Reason]]:
        return rules.released(self._reasons, {}, of)


class FencesEverybody(MemoryStore):
    def _changes(self, tenant: TenantId, reason: Reason, *, lift: bool, admits: Mark) -> bool:
        everybody = reason.mark is Mark.FENCED and reason.subject == EVERYBODY
        return everybody or super()._changes(tenant, reason, lift=lift, admits=admits)


class MarksWithoutWhatStandsBeside(MemoryStore):
    def _add(self, act: Act, beside: Sequence[Sealed]) -> None:
        return


class WritesBesideWhatChanged(MemoryStore):
    def _add(self, act: Act, beside: Sequence[Sealed]) -> None:
        self._write(beside, act.at)


class WritesLessOverTheHeld(MemoryStore):
    def _expect(self, act: Act) -> None:
        super()._expect(attrs.evolve(act, expects=tuple(attrs.evolve(e, unguarded=False) for e in act.expects)))


class IgnoresOtherGuards(MemoryStore):
    def _expect(self, act: Act) -> None:
        super()._expect(attrs.evolve(act, expects=tuple(attrs.evolve(each, guards=None) for each in act.expects)))
