"""Typed contents in, sealed records out, and back: what handlers and the facade work with.

A repository seals each record under its subject's key, derives what it is found by, and puts on every act the witness
that makes its leaf. It never decides who may; it asks ``uses`` whose data a use may touch.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import attrs

from capsule_core import answers, codec
from capsule_core.answers import Request
from capsule_core.blind import surrogate
from capsule_core.codec import Reading
from capsule_core.drafting import Place, have_moved, sealed, slots_of, untouched
from capsule_core.errors import ResourceMissing, TrashExpired, VersionMismatch
from capsule_core.index import found_by_words, query_signature
from capsule_core.intake import admit, contacts
from capsule_core.kept import Kept, Listing, Opened, from_plain, kept_as, to_plain
from capsule_core.names import RecordId, SubjectKey, SubjectRef, TenantId
from capsule_core.opening import opened
from capsule_core.personal import Kind, by_name
from capsule_core.records import (
    Act,
    Answer,
    Barred,
    Cursor,
    Expected,
    MarksRefused,
    Reason,
    Refused,
    Restore,
    Sealed,
    Shelf,
    Slot,
    Touched,
    Where,
)
from capsule_core.remnants import remnant_of
from capsule_core.stores import Store
from capsule_core.suppression import Identifiers, refusal_of
from capsule_core.trash import is_due, thrown
from capsule_core.uses import Use, admits, refusal
from capsule_core.vault import Vault
from capsule_core.witness import bears_witness, wholly

__all__ = ["A_MESSAGE", "Draft", "Repository"]

A_MESSAGE: Final = 100
"""How many records go out together: enough that a message costs little, few enough that it is soon there."""

_FIRST: Final = 16
_MUCH: Final = 2**20


@attrs.frozen(kw_only=True)
class Draft:
    """Contents about to be kept: new, or *over* what was kept before.

    *root* is the record they hang on (None: they stand for themselves), *at* their time in the business (None: now).
    """

    content: Any = attrs.field(kw_only=False)
    root: RecordId | None = None
    at: datetime | None = None
    over: Kept[Any] | None = None


def _nobody(_: TenantId, __: Sequence[Slot]) -> None:
    """Be told whose keys were used."""


@attrs.define(eq=False)
class Repository:
    """Keeps values of the declared *kinds*; *region* is where national phone numbers are read (ISO 3166 alpha-2).

    *used* is told whose contents leave it, so that an answer may be held back if they are erased before it is given.
    """

    store: Store
    vault: Vault
    kinds: Mapping[str, Kind] = attrs.field(converter=by_name)
    region: str | None = None
    used: Callable[[TenantId, Sequence[Slot]], object] = _nobody
    identifiers: Identifiers = attrs.field(init=False, repr=False)
    _of_models: Mapping[type[Any], Kind] = attrs.field(init=False, repr=False)
    _journaled: frozenset[str] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.identifiers = Identifiers(self.vault, self.kinds, self.region)
        self._of_models = {kind.model: kind for kind in self.kinds.values()}
        self._journaled = frozenset(name for name, kind in self.kinds.items() if kind.journaled)

    def get(self, tenant: TenantId, name: RecordId, *, use: Use, resource: str = "record") -> Kept[Any]:
        """Return one record, in the trash or not.

        Raises:
            ResourceMissing: it is not there.
            SubjectErased, SubjectRestricted: its subject may not be touched for *use*.
        """
        found = self.read(tenant, [name], use=use)[0]
        if found is None:
            raise ResourceMissing(resource)
        return found

    def read(self, tenant: TenantId, names: Sequence[RecordId], *, use: Use) -> list[Kept[Any] | None]:
        """Return records in order; None for one that is not there.

        Raises:
            SubjectErased, SubjectRestricted: a subject may not be touched for *use*.
        """
        found = [_admitted(record, use) for record in self.store.read(tenant, names, admits=admits(use))]
        opened = iter(self.open([record for record in found if record is not None]))
        return [None if record is None else next(opened) for record in found]

    def read_beside(
        self, tenant: TenantId, name: RecordId, beside: RecordId, *, use: Use
    ) -> tuple[Kept[Any] | None, bool]:
        """Return a record as :meth:`read` does, and whether there is one of the id *beside*, which is not opened."""
        record, other = self.store.read(tenant, [name, beside], admits=admits(use))
        record = _admitted(record, use)
        return None if record is None else self.open([record])[0], other is not None

    def select(
        self,
        where: Where,
        *,
        use: Use,
        limit: int,
        after: Cursor | None = None,
        words: str = "",
        keeping: Callable[[Kept[Any]], bool] | None = None,
    ) -> Listing:
        """Return up to *limit* records, newest first.

        *words* are beginnings of words that each of them holds; *keeping* decides of each opened record whether it
        stays.
        """
        if words:
            where = attrs.evolve(where, signature=query_signature(self.vault.tenant(where.tenant), words))
        found: list[Kept[Any]] = []
        while True:
            page = self.store.select(where, admits=admits(use), limit=limit - len(found), after=after)
            after = page.after
            opened = self.open(page.records)
            if words:
                opened = [kept for kept in opened if found_by_words(self.kinds[kept.kind], kept.content, words)]
            found.extend(kept for kept in opened if keeping is None or keeping(kept))
            if after is None or len(found) == limit:
                return Listing(tuple(found), after)

    def page(self, where: Where, *, use: Use, limit: int, after: Cursor | None = None) -> Opened:
        """Open up to *limit* records, newest first, and make no values of them: for whoever passes contents on."""
        page = self.store.select(where, admits=admits(use), limit=limit, after=after)
        return Opened(page.records, self.contents(page.records), page.after)

    def stream(self, where: Where, *, use: Use, after: Cursor | None = None) -> Iterator[Opened]:
        """Open all that is meant, page by page and none before it is asked for; large records come fewer at a time.

        A page begins where the one before it ended, whatever was kept or destroyed in between. The first may be empty.
        """
        limit = _FIRST
        while True:
            page = self.page(where, use=use, limit=limit, after=after)
            yield page
            after = page.after
            if after is None:
                return
            limit = min(2 * limit, A_MESSAGE) if sum(map(len, page.contents)) < _MUCH else max(limit // 4, 1)

    def add(
        self,
        drafts: Sequence[Draft],
        *,
        act: Act,
        request: Request | None = None,
        reasons: Sequence[Reason] = (),
        lift: bool = False,
    ) -> list[Kept[Any]]:
        """Keep new and changed contents, and put *reasons* beside them or lift them: all of it or nothing.

        Raises:
            SubjectErased, SubjectRestricted: a subject may not be touched for the act's use.
            VersionMismatch: somebody else was faster, or a reason cannot be put, or is not there to be lifted.
            IdentifierTaken: an identifier that is claimed belongs to another record.
            IdentifierSuppressed: one that comes in new is of somebody who was erased at their request.
            CardNumberFound, InvalidField: a text may not be kept, or is not the address or number it is declared as.
        """
        brought: dict[bytes, str] = {}
        for draft in drafts:
            admit(self._kind(draft.content), draft.content)
            brought |= self.identifiers.coming(act.tenant, draft.content, draft.over and draft.over.content)
        act = attrs.evolve(act, brings=tuple(brought))
        while True:
            made = self._sealed(drafts, act)
            told = contacts(self.kinds, made, [draft.content for draft in drafts])
            kept = [kept_as(record, draft.content) for record, draft in zip(made, drafts, strict=True)]
            try:
                done = attrs.evolve(act, happened=(*act.happened, *told))
                self._keep(made, reasons, self._complete(done, request, answered=kept), lift=lift)
            except MarksRefused as refused:
                raise refusal(refused.marks, Use(act.use)) from None
            except Barred as barred:
                raise refusal_of(barred, brought) from None
            except VersionMismatch:
                if have_moved(self.store, act.tenant, made):
                    continue  # another writer met one of the new subjects first: seal again under its key
                raise
            self.used(act.tenant, [record.slot for record in made])
            return kept

    def change(self, kept: Kept[Any], content: Any, *, act: Act, request: Request | None = None) -> Kept[Any]:
        """Keep *content* over what was *kept*; errors as :meth:`add`."""
        return self.add([Draft(content, root=kept.root, at=kept.at, over=kept)], act=act, request=request)[0]

    def unchanged(self, kept: Kept[Any], *, request: Request | None) -> Kept[Any]:
        """Answer with *kept*, which a request left as it was; asked again under its id, it answers the same."""
        if request is not None:
            self.store.keep(self._answer(kept.tenant, request, [kept]))
        return kept

    def trash(self, kept: Kept[Any], batch: str, *, act: Act, request: Request | None = None) -> Kept[Any]:
        """Throw *kept* away with all that hangs on it.

        Raises:
            VersionMismatch: it has changed, or is in the trash by now.
        """
        trash = thrown(batch, now=act.at)
        thrown_away = attrs.evolve(kept, trash=trash)
        expects = (Expected(id=kept.id, version=kept.version), *act.expects)
        act = attrs.evolve(act, expects=expects)
        act = self._complete(act, request, answered=[thrown_away])
        if not self.store.move(self.below(kept), trash, admits=admits(Use(act.use)), act=act):
            raise untouched(self.store, kept.tenant, kept.subject, Use(act.use))
        return thrown_away

    def throw_away(self, records: Sequence[Sealed], batch: str, *, act: Act) -> int:
        """Throw records away together, each with all that hangs on it; return how many that were in all.

        Raises:
            VersionMismatch: one of them is not as it was expected to be; some may have been thrown away.
        """
        moved, trash = 0, thrown(batch, now=act.at)
        roots = tuple(record.id for record in records if record.root == record.id)
        others = tuple(record.id for record in records if record.root != record.id)
        for where in (Where(tenant=act.tenant, roots=roots), Where(tenant=act.tenant, ids=others)):
            if ids := where.roots or where.ids:
                due = attrs.evolve(act, expects=tuple(each for each in act.expects if each.id in ids))
                moved += len(self.store.move(where, trash, admits=admits(Use(act.use)), act=self._witnessed(due)))
        return moved

    def restore(self, kept: Kept[Any], *, act: Act, request: Request | None = None) -> Kept[Any]:
        """Take *kept* back, with exactly what was thrown away together with it.

        Raises:
            VersionMismatch, TrashExpired: it has changed, or its time in the trash is over by *act*, held or not.
            IdentifierTaken, IdentifierSuppressed: another live record claims one of its identifiers by now, or somebody
                was erased at their request who was known by it; nothing was restored.
        """
        if kept.trash is None:
            raise VersionMismatch
        if is_due(kept.trash, now=act.at):
            raise TrashExpired
        restored = attrs.evolve(kept, trash=None)
        expects = (Expected(id=kept.id, version=kept.version, batch=kept.trash.batch), *act.expects)
        act = attrs.evolve(act, expects=expects)
        act = self._complete(act, request, answered=[restored])
        if not self._take_back(self.below(kept), kept.trash.batch, act):
            raise untouched(self.store, kept.tenant, kept.subject, Use(act.use))
        return restored

    def take_back(self, batch: str, *, act: Act) -> int:
        """Take everything back that was thrown away in *batch*, or nothing; errors as :meth:`restore`."""
        over = Where(tenant=act.tenant, shelf=Shelf.TRASHED, batch=batch, due=act.at)
        if self.store.count(over, admits=admits(Use(act.use))):
            raise TrashExpired
        return len(self._take_back(Where(tenant=act.tenant), batch, self._witnessed(act)))

    def _take_back(self, where: Where, batch: str, act: Act) -> Sequence[Touched]:
        where = attrs.evolve(where, shelf=Shelf.TRASHED, batch=batch)
        pages = self.identifiers.carried(self.store, where, admits=admits(Use(act.use)))
        brought = {hashed: field for page in pages for hashed, field in page.items()}  # the trash does not change
        act = attrs.evolve(act, brings=tuple(brought))
        try:
            return self.store.move(where, Restore(batch), admits=admits(Use(act.use)), act=act)
        except Barred as barred:
            raise refusal_of(barred, brought) from None

    def below(self, kept: Kept[Any]) -> Where:
        """Mean *kept* and all that hangs on it."""
        if kept.root == kept.id:
            return Where(tenant=kept.tenant, roots=(kept.id,))
        return Where(tenant=kept.tenant, ids=(kept.id,))

    def answered(self, tenant: TenantId, request: Request) -> list[Kept[Any]] | None:
        """Return what the same request was answered before.

        Raises:
            RequestReused: the request id came with another request.
            SubjectErased: the answer spoke of a person who was erased since.
        """
        body = answers.recall(self.store, self.vault, tenant, request)
        if body is None:
            return None
        kept = [from_plain(plain, self.kinds) for plain in json.loads(body)]
        self.used(tenant, [each.slot for each in kept])
        return kept

    def subject_key(self, ref: SubjectRef) -> SubjectKey:
        """Return the surrogate under which a store knows the subject; ids made by the server stand for themselves."""
        if any(kind.subject_kind == ref.kind and not kind.server_ids for kind in self.kinds.values()):
            return SubjectKey(surrogate(self.vault.tenant(ref.tenant), ref.kind, ref.id))
        return SubjectKey(ref.id)

    def record_key(self, tenant: TenantId, kind: Kind, own_id: str) -> RecordId:
        """Return the id under which a record is kept that its owner calls *own_id*."""
        if kind.server_ids:
            return RecordId(own_id)
        return RecordId(surrogate(self.vault.tenant(tenant), kind.name, own_id))

    def open(self, records: Sequence[Sealed]) -> list[Kept[Any]]:
        """Open sealed records of one tenant, in order."""
        return list(map(kept_as, records, self.contents(records, codec.decode)))

    def contents(self, records: Sequence[Sealed], reading: Reading = codec.current) -> list[Any]:
        """Open the contents of sealed records of one tenant, in order: bytes, or what *reading* makes of them."""
        contents = opened(records, self.vault, self.kinds, reading)
        if records:
            self.used(records[0].tenant, [record.slot for record in records])
        return contents

    def _keep(self, drafts: Sequence[Sealed], reasons: Sequence[Reason], act: Act, *, lift: bool) -> None:
        if not reasons:
            self.store.write(drafts, admits=admits(Use(act.use)), act=act)
            return
        act = attrs.evolve(act, witness=wholly(act.witness, len(drafts) + len(reasons)))
        self.store.mark(reasons, lift=lift, beside=drafts, act=act)

    def _sealed(self, drafts: Sequence[Draft], act: Act) -> list[Sealed]:
        subjects = [self._subject_of(act.tenant, draft.content) for draft in drafts]
        slots = slots_of(self.store, self.vault, act, subjects)
        keys = self.vault.keys(act.tenant, [slots[subject] for subject in subjects])
        return [
            self._seal(draft, subject, slots[subject], key, act)
            for draft, subject, key in zip(drafts, subjects, keys, strict=True)
        ]

    def _seal(self, draft: Draft, subject: SubjectKey, slot: Slot, key: bytes, act: Act) -> Sealed:
        kind = self._kind(draft.content)
        name = self.record_key(act.tenant, kind, draft.content.id)
        place = Place(
            tenant=act.tenant,
            id=name,
            root=draft.root or name,
            subject=subject,
            slot=slot,
            key=key,
            version=1 if draft.over is None else draft.over.version + 1,
            at=draft.at or act.at,
            created=act.at if draft.over is None else draft.over.created,
            updated=act.at,
        )
        return sealed(draft.content, kind, place, vault=self.vault, region=self.region)

    def _complete(self, act: Act, request: Request | None, *, answered: Sequence[Kept[Any]]) -> Act:
        """Put on the act its witness and, if it was asked for under a request id, its answer."""
        answer = None if request is None else self._answer(act.tenant, request, answered)
        return attrs.evolve(self._witnessed(act), answer=answer)

    def _witnessed(self, act: Act) -> Act:
        return attrs.evolve(act, journaled=self._journaled, witness=bears_witness(self.vault, act))

    def _answer(self, tenant: TenantId, request: Request, answered: Sequence[Kept[Any]]) -> Answer:
        body, owner = json.dumps([to_plain(kept) for kept in answered]).encode(), answered[0]
        return answers.seal(body, self.vault, tenant, request, subject=owner.subject, slot=owner.slot)

    def _kind(self, content: Any) -> Kind:
        kind = self._of_models.get(type(content))
        if kind is None:
            raise ResourceMissing("kind")
        return kind

    def _subject_of(self, tenant: TenantId, content: Any) -> SubjectKey:
        kind = self._kind(content)
        person = self.subject_key(SubjectRef(tenant, kind.subject_kind, getattr(content, kind.subject)))
        return remnant_of(person) if kind.obliged else person


def _admitted(record: Sealed | Refused | None, use: Use) -> Sealed | None:
    if isinstance(record, Refused):
        raise refusal(record.marks, use)
    return record
