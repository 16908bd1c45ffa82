"""The only path that destroys a person: fence, suppress if asked, shred, delete, read back, commit, receipt.

The same for one subject and for ten thousand. Every step can be repeated; after a crash at any point
:meth:`Eraser.resume` leads each erasure that was begun to its end, and every act leaves one leaf. What is guarded
(held, obliged, restricted) is not fenced; from the fence on nothing is written for the subject any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final

import attrs

from capsule_core import answers, story
from capsule_core.anchors import prove
from capsule_core.answers import Request
from capsule_core.checkpoints import Signer
from capsule_core.errors import InvalidField, PlanStale, ResourceMissing, SubjectErased, SubjectHeld, Unavailable
from capsule_core.grounds import read_policy
from capsule_core.keeping import keeping, remainders
from capsule_core.ledger import LedgerStore
from capsule_core.names import ActorRef, SubjectKey, TenantId
from capsule_core.protection import guarding
from capsule_core.receipts import Receipt
from capsule_core.records import GUARDED, Expected, Mark, Reason, Sealed, Shelf, Subject, Where
from capsule_core.remnants import is_remnant, person_of, with_remnants
from capsule_core.statements import Destruction, Method, Outcome, Remainder, Statement, Verification
from capsule_core.stores import Store
from capsule_core.story import Erasure
from capsule_core.suppression import Identifiers
from capsule_core.vault import Vault

__all__ = ["BATCH", "Eraser", "Plan"]

BATCH: Final = 500
"""Subjects whose rows are deleted in one transaction, so that no other writer waits long."""

_EVERY: Final = ~Mark.NONE
_TECHNIQUE: Final = "AES-256-GCM: key pages sealed anew without the keys of the erased, old page keys destroyed"
_MEDIA: Final = "records and key pages of the data store, page keys of the keystore and its copies"
_READ_BACK: Final = "keystore, key pages and records read again past every cache"


@attrs.frozen(kw_only=True)
class Plan:
    """What an erasure would destroy, as things are: *records* by kind.

    *kept* are those that a hold or an obligation keeps, out of ordinary reach, *guarded* are people who are kept whole.
    *digest* stands for every record as it is now; the plan is refused when it no longer fits.
    """

    erasure: Erasure
    records: Mapping[str, int]
    kept: Mapping[str, int]
    guarded: tuple[SubjectKey, ...]
    digest: str


@attrs.define(eq=False)
class Eraser:
    """Erases subjects in one store, known there by *identifiers*, and says so in receipts signed for *service*."""

    _store: Store
    _vault: Vault
    _ledger: LedgerStore
    _signer: Signer
    _service: str
    _identifiers: Identifiers

    def plan(self, erasure: Erasure) -> Plan:
        """Find out what *erasure* would destroy.

        Raises:
            ResourceMissing: one of the subjects is not known here.
            SubjectErased: one of them was erased before, or is being erased.
        """
        known = self._known(erasure)
        found = [f"{subject.key} {int(subject.marks)}" for subject in known]
        others = guarding(self._store, erasure.tenant, [subject.key for subject in known])
        guarded = {subject.key for subject in known if (subject.marks | others) & GUARDED & ~erasure.admits}
        records, kept = Counter[str](), Counter[str]()
        for record in self._held(erasure.tenant, with_remnants(erasure.subjects)):
            found.append(f"{record.id} {record.version} {record.trash is not None} {int(record.marks)}")
            held = bool(record.marks & GUARDED & ~erasure.admits)
            (kept if is_remnant(record.subject) or (held and erasure.parts) else records)[record.kind] += 1
            if held and not erasure.parts and not is_remnant(record.subject):
                guarded.add(record.subject)
        digest = sha256("\n".join(sorted(found)).encode()).hexdigest()
        return Plan(erasure=erasure, records=records, kept=kept, guarded=tuple(sorted(guarded)), digest=digest)

    def run(self, plan: Plan, *, now: datetime) -> Receipt:
        """Carry out *plan*; called again after an interruption, it goes on where that one ended.

        Raises:
            InvalidField: *now* is before the plan; one that was begun is finished by whatever clock.
            PlanStale: the facts moved since it was made.
            SubjectHeld: a subject is guarded; nothing was destroyed of anybody.
        """
        finished = self.receipt(plan.erasure.tenant, plan.erasure.id, now=now)
        if finished is not None:
            return finished
        begun = bool(self._fenced(plan.erasure)[0])  # then an attempt was interrupted, and there is no way but on
        if not begun and now < plan.erasure.requested:
            raise InvalidField("now", "must not be before the time of the plan")
        if not begun and self.plan(plan.erasure).digest != plan.digest:
            raise PlanStale
        if not begun and plan.guarded:
            raise SubjectHeld
        return self._carry_out(plan.erasure, now=now)

    def erase(self, erasure: Erasure, *, now: datetime, expects: tuple[Expected, ...] = ()) -> Receipt:
        """Erase all of the subjects that are known here, or none of them.

        The erasure may have been begun before: what is done is not done again, and a finished one gives its receipt.

        Raises:
            ResourceMissing: none of the subjects is known here.
            SubjectErased: other erasures have left nothing of them to erase.
            SubjectHeld: one of them is guarded, or is being erased by another erasure; nothing was destroyed.
            VersionMismatch: what was expected does not hold.
            Unavailable: the read-back still found something; trying again goes on from there.
        """
        finished = self.receipt(erasure.tenant, erasure.id, now=now)
        if finished is not None:
            return finished
        return self._carry_out(erasure, now=now, expects=expects)

    def _carry_out(self, erasure: Erasure, *, now: datetime, expects: tuple[Expected, ...] = ()) -> Receipt:
        now = max(
            now, erasure.requested
        )  # a clock that was set back delays nothing, and dates nothing before its cause
        self._fence(erasure, now=now, expects=expects)
        receipt = self._finish(erasure, now=now)
        if receipt is None:
            raise SubjectHeld
        return receipt

    def _fence(self, erasure: Erasure, *, now: datetime, expects: tuple[Expected, ...]) -> None:
        known = [subject for subject in self._store.subjects(erasure.tenant, erasure.subjects) if subject is not None]
        begun = any(subject.marks & Mark.FENCED for subject in known)
        mine = {subject.key for subject in self._fenced(erasure)[0]} if begun else set()
        left = [subject.key for subject in known if not subject.marks & Mark.ERASED and subject.key not in mine]
        if known and not left and not mine:
            raise SubjectErased
        kept = keeping(self._store, self._vault, self._identifiers.kinds, erasure, erasure.subjects, now=now)
        expects = (*expects, *kept.expects)
        reasons = [*self._reasons(attrs.evolve(erasure, subjects=tuple(left)), Mark.FENCED, now), *kept.reasons]
        if not known and not reasons:
            raise ResourceMissing("subject")
        if not reasons:
            return  # an earlier attempt fenced them all
        act = story.fence_act(erasure, self._vault, now=now, expects=expects, whole=len(reasons), kept=kept.told)
        if not self._store.mark(reasons, admits=erasure.admits, parting=kept.parting, act=act):
            self._look_again(erasure)

    def _look_again(self, erasure: Erasure) -> None:
        """Nobody could be fenced: go on if the same erasure was begun by another at this moment.

        Raises:
            SubjectErased: another erasure was faster.
            SubjectHeld: something keeps them.
        """
        mine = {subject.key for subject in self._fenced(erasure)[0]}
        known = [subject for subject in self._store.subjects(erasure.tenant, erasure.subjects) if subject is not None]
        if mine and all(subject.key in mine or subject.marks & Mark.ERASED for subject in known):
            return
        if not mine and all(subject.marks & (Mark.FENCED | Mark.ERASED) for subject in known):
            raise SubjectErased
        raise SubjectHeld

    def resume(self, *, now: datetime) -> list[Receipt]:
        """Lead every erasure that was begun and not finished to its end."""
        begun: dict[tuple[TenantId, str], list[SubjectKey]] = {}
        for tenant, reason in self._store.unfinished():
            begun.setdefault((tenant, reason.id), []).append(reason.subject)
        erasures = [self._begun(tenant, name, tuple(subjects)) for (tenant, name), subjects in begun.items()]
        receipts = [self._finish(erasure, now=now) for erasure in erasures if erasure is not None]
        return [receipt for receipt in receipts if receipt is not None]

    def receipt(self, tenant: TenantId, erasure: str, *, now: datetime) -> Receipt | None:
        """Return the receipt of a finished erasure, made now if a crash left it unmade; None if none has finished."""
        kept = self._recalled(tenant, story.receipt_request(erasure, now=now))
        if kept is not None:
            return Receipt.decode(kept)
        committed = self._recalled(tenant, story.statement_request(erasure, now=now)) is not None
        return self._issue(tenant, erasure, now=now) if committed else None

    def _known(self, erasure: Erasure) -> list[Subject]:
        people = with_remnants(erasure.subjects)
        known = [subject for subject in self._store.subjects(erasure.tenant, people) if subject is not None]
        if len({person_of(subject.key) for subject in known}) < len(set(map(person_of, erasure.subjects))):
            raise ResourceMissing("subject")
        known = [subject for subject in known if subject.key in erasure.subjects]
        if any(subject.marks & (Mark.ERASED | Mark.FENCED) for subject in known):
            raise SubjectErased
        return known

    def _held(self, tenant: TenantId, subjects: Sequence[SubjectKey]) -> Iterator[Sealed]:
        where, after = Where(tenant=tenant, subjects=tuple(subjects), shelf=Shelf.ANY), None
        while True:
            page = self._store.select(where, admits=_EVERY, limit=1000, after=after)
            yield from page.records
            after = page.after
            if after is None:
                return

    def _fenced(self, erasure: Erasure) -> tuple[list[Subject], datetime]:
        """Return the subjects that this erasure fenced, and since when."""
        fences = {
            reason.subject: reason.since
            for reason in self._store.reasons(erasure.tenant, erasure.subjects)
            if reason.id == erasure.id and reason.mark is Mark.FENCED
        }
        keys = [key for key in erasure.subjects if key in fences]
        subjects = [subject for subject in self._store.subjects(erasure.tenant, keys) if subject is not None]
        return subjects, min(fences.values(), default=erasure.requested)

    def _finish(self, erasure: Erasure, *, now: datetime) -> Receipt | None:
        fenced, since = self._fenced(erasure)
        if not fenced:
            return None
        now, requested = max(now, since), min(erasure.requested, since)  # of whoever began it
        erasure = attrs.evolve(erasure, requested=requested, subjects=tuple(subject.key for subject in fenced))
        if not all(subject.marks & Mark.ERASED for subject in fenced):
            if erasure.suppresses:
                self._suppress(erasure, now=now)
            pages = self._destroy(erasure, fenced, now=now)
            statement = self._statement(erasure, pages, since=since, now=now)
            act = story.commit_act(erasure, self._vault, statement, now=now)
            if self._store.mark(self._reasons(erasure, Mark.ERASED, now), admits=_EVERY, act=act):
                return self._issue(erasure.tenant, erasure.id, now=now, committed=statement)
        return self._issue(erasure.tenant, erasure.id, now=now)

    def _suppress(self, erasure: Erasure, *, now: datetime) -> None:
        """Remember in hashes what they were known by: after the fence, when no more comes in, and before keys die."""
        everything = Where(tenant=erasure.tenant, subjects=with_remnants(erasure.subjects), shelf=Shelf.ANY)
        for hashes in filter(None, self._identifiers.carried(self._store, everything, admits=_EVERY)):
            act = story.suppress_act(erasure, self._vault, identifiers=len(hashes), now=now)
            self._store.suppress(list(hashes), act=act)

    def _destroy(self, erasure: Erasure, fenced: Sequence[Subject], *, now: datetime) -> Mapping[int, str]:
        """Shred the keys, delete the rows, and look again past every cache."""
        slots = [subject.slot for subject in fenced]
        pages = self._vault.shred(erasure.tenant, slots)
        ordered = sorted(erasure.subjects)  # as time went: a batch then writes pages that no other batch does
        for start in range(0, len(ordered), BATCH):
            where = Where(tenant=erasure.tenant, subjects=tuple(ordered[start : start + BATCH]), shelf=Shelf.ANY)
            self._store.destroy(where, admits=_EVERY, act=story.delete_act(erasure, self._vault, now=now))
        left = Where(tenant=erasure.tenant, subjects=erasure.subjects, shelf=Shelf.ANY)
        if self._vault.remaining(erasure.tenant, slots) or self._store.select(left, admits=_EVERY, limit=1).records:
            raise Unavailable
        return pages

    def _statement(self, erasure: Erasure, pages: Mapping[int, str], *, since: datetime, now: datetime) -> Statement:
        hashes = Remainder(what="keyed hashes of identifiers", ground="request: they may not come back under these")
        kept = remainders(story.kept(self._ledger, erasure.tenant, erasure.id))
        destruction = Destruction(
            holder=self._service,
            outcome=Outcome.ERASED,
            method=Method.CRYPTOGRAPHIC_ERASE,
            technique=_TECHNIQUE,
            media=_MEDIA,
            records=story.deleted(self._ledger, erasure.tenant, erasure.id),
            pages=tuple(f"{number}:{key_id}" for number, key_id in sorted(pages.items())),
            mirrors=self._vault.mirrors,
            remaining=(*kept, hashes) if erasure.suppresses else kept,
            verification=Verification(method=_READ_BACK, result="nothing was found", by=self._service, at=now),
        )
        return Statement(
            erasure=erasure.id,
            service=self._service,
            tenant=erasure.tenant,
            subjects=tuple(dict.fromkeys(map(person_of, erasure.subjects))),
            ground=erasure.ground,
            policy=erasure.policy,
            scope="this service",
            requested_at=erasure.requested,
            fenced_at=since,
            destroyed_at=now,
            read_back_at=now,
            destructions=(destruction,),
        )

    def _issue(self, tenant: TenantId, erasure: str, *, now: datetime, committed: Statement | None = None) -> Receipt:
        """Make the receipt from what was *committed*, read back if it was not just now, and from nothing else.

        Raises:
            SubjectErased: a restore has lost the leaf; the people are erased, and their receipt was made before it.
        """
        leaves = story.backwards(self._ledger, tenant, erasure)
        found = next(((index, data) for index, data, leaf in leaves if leaf.act == story.COMMIT), None)
        if found is None:
            raise SubjectErased
        index, leaf = found
        if committed is None:
            committed = Statement.decode(self._recalled(tenant, story.statement_request(erasure, now=now)) or b"")
        receipt = prove(committed, self._ledger, leaf=leaf, index=index, signer=self._signer)
        request = story.receipt_request(erasure, now=now)
        self._store.keep(answers.seal(receipt.document, self._vault, tenant, request))
        return receipt

    def _recalled(self, tenant: TenantId, request: Request) -> bytes | None:
        return answers.recall(self._store, self._vault, tenant, request)

    def _begun(self, tenant: TenantId, name: str, subjects: tuple[SubjectKey, ...]) -> Erasure | None:
        """Learn from its fence's leaf what an interrupted erasure was; None for a fence that no erasure put there."""
        leaves = (leaf for _, _, leaf in story.backwards(self._ledger, tenant, name))
        fence = next((leaf for leaf in leaves if leaf.act == story.FENCE), None)
        if fence is None:
            return None
        return Erasure(
            tenant=tenant,
            id=name,
            subjects=subjects,
            ground=fence.detail["ground"],
            by=ActorRef("clock", "resume"),
            requested=datetime.fromisoformat(fence.detail["requested"]),
            suppresses=story.suppresses(fence),
            policy=read_policy(fence.detail["policy"]),
        )

    @staticmethod
    def _reasons(erasure: Erasure, mark: Mark, now: datetime) -> list[Reason]:
        return [Reason(id=erasure.id, mark=mark, subject=subject, since=now) for subject in erasure.subjects]
