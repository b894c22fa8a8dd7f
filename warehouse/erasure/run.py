"""Requests for erasure from verification to the certificate, many at a time, taken up again after a kill anywhere.

Holds: the order of steps, what each tells, and when a request may go on.
Does not hold: the stores (tables.py, keys.py, those of upper floors), the lists (requests.py), the certificate's form
(certificate.py), nor who asks (`infra/cli/erase.py`, `assets/erasure.py`).

A step does its work in every store, tells it, and only then is the state entered: whoever comes after a kill does the
step again, and every store's part of it may be repeated. What a table is about to lose is told before it loses it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pyiceberg.catalog import Catalog

from warehouse.contract import Contracts
from warehouse.erasure import certificate
from warehouse.erasure.certificate import KEPT
from warehouse.erasure.clearance import Clearance
from warehouse.erasure.derived_rows import await_derived
from warehouse.erasure.intake import take_in
from warehouse.erasure.inventory import tables_for, token_column
from warehouse.erasure.keys import KeyStore
from warehouse.erasure.ledger import FRESH_SECONDS, mark_of
from warehouse.erasure.requests import Book, Receipt, Request
from warehouse.erasure.restrictions import Registry
from warehouse.erasure.scope import ScopeError
from warehouse.erasure.standing import NoTopics, Reading
from warehouse.erasure.states import (
    CERTIFIED,
    DELETED,
    ENDS,
    EXPIRED,
    FENCED,
    INTENDED,
    LOCATED,
    MODELS,
    PROVEN,
    PURGED,
    RESTRICTED,
    SEALED,
    VERIFIED,
    following,
)
from warehouse.erasure.still_serving import still_served
from warehouse.erasure.stores import Coverage, Erased, Found, NotYetError, PinnedError, Progress, Store, Subject
from warehouse.erasure.tables import StillChangingError, TableStore
from warehouse.retention.doer import retention_lock
from warehouse.retention.holds import HoldRegister
from warehouse.settings import Settings
from warehouse.vault import LEDGER_KEY, SIGNING_KEY, SqliteVault

FENCE_SECONDS = 2 * FRESH_SECONDS
"""So long after the fence every process that reads messages knows of it."""
CONSENT_SECONDS = 6.0
"""So long after a revoke every process that asks for consent knows of it (five seconds are promised)."""
PROOFS = 3
"""So often what came in during an erasure is taken out again before it is given up for this run."""
CERTIFICATES = "erasure/certificates"
STILL_SERVING = "the person consents to another use of this table"
BEFORE_THE_KEY = {True: (VERIFIED, RESTRICTED, FENCED), False: ()}
"""States of which verification itself makes more (clearance.py): of whole people, and of categories."""


class NotCoveredError(Exception):
    """Something holds people and has no store for erasure: nothing is begun, since no certificate could be true."""


@dataclass(slots=True)
class Surroundings:
    """What upper floors bring.

    Attributes:
        stores: theirs. after_purge: what frees bytes of deleted objects (a store's own vacuum), as stores too.
        models: what learned of people. reading: of the topics. admissions: of the events that say who is treated.
        coverage: what of all that holds people is answered for.
    """

    stores: list[Store] = field(default_factory=list)
    after_purge: list[Store] = field(default_factory=list)
    models: list[Store] = field(default_factory=list)
    reading: Reading = field(default_factory=NoTopics)
    admissions: Reading = field(default_factory=NoTopics)
    coverage: Callable[[], Coverage] = lambda: Coverage((), (), ())


@dataclass(slots=True)
class Erasure:
    """Erasure of one lake.

    Attributes:
        clock: the time, aware. new_id: a fresh name for each run. who: user or process, for both lists.
        sleep: waits so many seconds. progress: told each step as it begins, for pages and for crash tests.
    """

    settings: Settings
    contracts: Contracts
    catalog: Catalog
    vault: SqliteVault
    surroundings: Surroundings
    who: str
    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    sleep: Callable[[float], None] = time.sleep
    progress: Progress = lambda step: None

    @property
    def book(self) -> Book:
        return Book(self.catalog, self.settings.namespace, self.contracts, self.vault, self.who, self.progress)

    def tables(self, category: str | None = None) -> list[TableStore]:
        """The stores of the lake's tables that a request concerns."""
        return [
            TableStore(
                catalog=self.catalog,
                identifier=(self.settings.namespace, table.name),
                column=token_column(table) or "",
                writer=self.who,
                now=self.clock,
                cold=self.settings.cold_warehouse,
                progress=self.progress,
            )
            for table in tables_for(self.contracts, category)
        ]

    def stores(self, category: str | None = None) -> list[Store]:
        """Every store a request concerns, in the order in which they let go."""
        others = self.surroundings
        whole: list[Store] = [*others.stores, *others.after_purge, *others.models] if category is None else []
        keys: list[Store] = [self._keys()] if category is None else []
        return [*keys, *self.tables(category), *whole]

    def concerned(self, store: Any, subjects: list[Subject], category: str | None) -> list[Subject]:
        """Those whose rows go from this store: all of them, but for whoever still consents to another use of a table
        when one of its uses ends."""
        if category is None or not isinstance(store, TableStore):
            return subjects
        stream = self.contracts.stream(self.contracts.table(store.identifier[1]).stream)
        namespace, now = self.settings.namespace, self.clock()
        keeping = still_served(subjects, stream, category, self.contracts, self.catalog, namespace, now)
        return [subject for subject in subjects if subject.request not in keeping]

    def verify(self, request: str, why: str) -> Request:
        """Somebody has made sure that the person asked, and may: the key goes at once. Raises as `Clearance.verify`."""
        return self._clearance().verify(request, why)

    def intake(self) -> list[Request]:
        """Take up what came by `patient.data.deletions` and is not known yet; the new requests as they are now."""
        return take_in(self.catalog, self.settings.namespace, self.book, self.who, self.clock)

    def readmit(self, token: str) -> None:
        """Somebody who was erased returns: from now on they have a token of a new epoch, which nothing leads back. What
        was appended before now stays refused, whenever it is read.

        Raises `VaultError` where nobody of this token was erased."""
        epochs = self.vault.erased()
        mark = mark_of(self.vault.house_key(LEDGER_KEY), token)
        since_ms = int(self.clock().timestamp() * 1000)
        self.vault.readmit(mark, 1 + sum(epoch is not None for epoch in epochs.values()), since_ms)

    def refuse(self, request: str, why: str) -> Request:
        """Nothing is done. Raises as `verify`; behind the fence there is nothing to refuse any more."""
        return self._clearance().refuse(request, why)

    def run(self, requests: Collection[str] | None = None) -> list[Request]:
        """Lead every open request (or those) as far as it goes; their states then. What stops one run of requests does
        not stop the next: it is raised when all have had their turn.

        Raises `NotCoveredError`, `NotYetError`, `PinnedError`, `BusyError`, and what a store raises: what was done
        until then stays, and the next run goes on from there.
        """
        named, stopped = set(requests or ()), list[Exception]()
        try:
            self._clearance().shred(named)
        except NotYetError as error:
            stopped.append(error)
        with retention_lock(self.settings, wait_seconds=60):
            self._require_coverage()
            tried: set[tuple[str, str]] = set()
            while group := self._next_group(named, tried):
                tried |= {(request.request_id, request.state) for request in group}
                try:
                    self._step(group)
                except (NotYetError, PinnedError, ScopeError, StillChangingError) as error:
                    stopped.append(error)
            found = self.book.current().values()
        if stopped:
            raise type(stopped[0])("; ".join(dict.fromkeys(map(str, stopped))))
        return [request for request in found if not named or request.request_id in named]

    def located(self, request: Request) -> dict[str, int]:
        """Store -> how much it has of the person now, every layer of it. Raises `StoreUnavailableError`."""
        subjects = self._subjects([request])
        return {
            store.name: store.prove(self.concerned(store, subjects, request.category)).total
            for store in self.stores(request.category)
        }

    # --- which step

    def _next_group(self, named: Collection[str], tried: Collection[tuple[str, str]]) -> list[Request]:
        """Requests that take the same step next: those of the oldest open request's run, one a person."""
        open_ = [
            request
            for request in self.book.current().values()
            if request.state not in (*ENDS, *BEFORE_THE_KEY[request.category is None])
            and following(request.state, request.category)
            and (not named or request.request_id in named)
            and (request.request_id, request.state) not in tried
        ]
        alike = [request for request in open_ if _run_of(request) == _run_of(open_[0])]
        return list({request.subject_mark: request for request in reversed(alike)}.values())[::-1]

    def _step(self, group: list[Request]) -> None:
        category = group[0].category
        step = following(group[0].state, category)
        assert step is not None, "only requests with a next state are grouped"
        self.progress(f"begin {step}")
        if not group[0].batch:
            group = self._clearance().join(group, self.new_id())
        if not group:
            return
        work = _Work(self, group[0].batch, self._subjects(group), category, group)
        {
            DELETED: work.delete,
            SEALED: work.seal,
            EXPIRED: work.expire,
            PURGED: work.purge,
            MODELS: work.models,
            PROVEN: work.prove,
            CERTIFIED: work.certify,
        }[step]()
        self.progress(f"done {step}")
        self.book.enter(request.moved(step, self.clock(), self.who) for request in group)
        self.progress(f"entered {step}")

    def _clearance(self) -> Clearance:
        namespace, book = self.settings.namespace, self.book
        return Clearance(
            self.settings,
            self.contracts,
            book,
            self.vault,
            self._keys(),
            HoldRegister(self.catalog, namespace, self.contracts.table("retention_holds"), self.who),
            Registry(self.catalog, namespace, self.contracts),
            self.surroundings.admissions,
            self.tables,
            self.who,
            self.clock,
            self.sleep,
            self.progress,
        )

    def _require_coverage(self) -> None:
        coverage = self.surroundings.coverage()
        if not coverage.complete:
            named = ", ".join(place.name for place in coverage.uncovered)
            raise NotCoveredError(f"no store for erasure answers for {named}; see `wardstream erase coverage`")

    def _subjects(self, group: Collection[Request]) -> list[Subject]:
        return self.book.subjects(group)

    def _keys(self) -> KeyStore:
        return KeyStore(self.vault, self.settings.vault_uri, self.progress)


@dataclass(slots=True)
class _Work:
    """One step of one run."""

    erasure: Erasure
    batch: str
    subjects: list[Subject]
    category: str | None
    group: list[Request]

    def delete(self) -> None:
        self._await_fence()
        if not any(each.step == LOCATED for each in self.erasure.book.receipts(self.batch)):
            self._locate()
        found = {store.name: store.locate(self._of(store)) for store in self._tables()}
        theirs = [store for store in self._tables() if found[store.name].total]
        self._tell_all(INTENDED, {store.name: found[store.name] for store in theirs})
        self._do([*theirs, *self._others(self.erasure.surroundings.stores)], DELETED, lambda each: each.erase)

    def seal(self) -> None:
        self._do(self._concerned(), SEALED, lambda store: store.seal)

    def expire(self) -> None:
        self._do(self._concerned(), EXPIRED, lambda store: store.expire)

    def purge(self) -> None:
        self._do(self._concerned(), PURGED, lambda store: store.purge)
        self._do(self._others(self.erasure.surroundings.after_purge), PURGED, lambda store: store.erase)

    def models(self) -> None:
        self._do(self._others(self.erasure.surroundings.models), MODELS, lambda store: store.erase)

    def prove(self) -> None:
        """Every store looked through again. What came in while this went on is taken out by the same steps."""
        self._require_read()
        for _ in range(PROOFS):
            proofs = {store.name: store.prove(self._of(store)) for store in self._all()}
            stuck = {name for name, found in proofs.items() if found.total and found.until is None}
            if not stuck:
                return self._tell_all(PROVEN, proofs)
            self._again(stuck)
        by_hand = [file for name in sorted(stuck) for file in proofs[name].evidence.get("by_hand", ())]
        remedy = f"delete {', '.join(by_hand)} by hand (nothing of ours writes it anew), then " if by_hand else ""
        raise NotYetError(f"{', '.join(sorted(stuck))} still has something of the person; {remedy}run this again")

    def certify(self) -> None:
        """What all certificates of a run say alike is read and put together once: there may be thousands."""
        erasure, book = self.erasure, self.erasure.book
        standing = [store.standing() for store in self._concerned()]
        told, history = book.receipts(self.batch, *(request.request_id for request in self.group)), book.history()
        run = certificate.Run(history, told, standing)
        seed = erasure.vault.house_key(SIGNING_KEY)
        for request in self.group:
            if not (written := certificate_file(erasure.settings, request.request_id)).exists():
                said = certificate.made(request.request_id, run, erasure.clock(), erasure.who)
                certificate.write(written, certificate.signed(said, seed))
        erasure.progress("certificate")
        erasure.vault.destroy_request_keys(_closed_by(self.group, history))

    # --- parts of steps

    def _await_fence(self) -> None:
        """Until everybody who writes knows: of the fence, or of the consent that was taken back."""
        known = FENCED if self.category is None else VERIFIED
        names = {request.request_id for request in self.group}
        since = [each.at for each in self.erasure.book.history() if each.state == known and each.request_id in names]
        if since and self._read_from_topics():
            over = max(since) + timedelta(seconds=FENCE_SECONDS if self.category is None else CONSENT_SECONDS)
            if (left := (over - self.erasure.clock()).total_seconds()) > 0:
                self.erasure.sleep(min(left, CONSENT_SECONDS))
        await_derived(self.erasure.settings)
        if self._read_from_topics() and not self._marks():
            self._tell(
                "topics", "marks", Erased(0, 0, evidence={"ends": _as_json(self.erasure.surroundings.reading.ends())})
            )

    def _read_from_topics(self) -> bool:
        """Whether a stream writes into any of the tables; what only derives has its own lock."""
        return self.category is None or any(table.fed_by for table in tables_for(self.erasure.contracts, self.category))

    def _marks(self) -> list[Receipt]:
        return [each for each in self.erasure.book.receipts(self.batch) if each.step == "marks"]

    def _require_read(self) -> None:
        """Messages that were appended before every reader knew of the fence must have come through."""
        for receipt in self._marks():
            ends = {
                topic: {int(partition): offset for partition, offset in partitions.items()}
                for topic, partitions in receipt.said().get("ends", {}).items()
            }
            if behind := self.erasure.surroundings.reading.behind(ends):
                raise NotYetError(f"the stream has yet to read {'; '.join(behind)}; run this again then")

    def _locate(self) -> None:
        """What every store has, of each of them, in all layers."""
        self._tell_kept()
        self._tell_all(LOCATED, {store.name: store.prove(self._of(store)) for store in self._all()}, each_request=True)

    def _again(self, names: Collection[str]) -> None:
        """The steps of deletion once more for these stores. Tags of models may keep what came in meanwhile."""
        theirs = [store for store in self._tables() if store.name in names]
        for store in theirs:
            for step in (store.erase, store.seal):
                step(self._of(store))
        self.models()
        for store in theirs:
            for step in (store.expire, store.purge):
                step(self._of(store))
        for other in (*self._others(self.erasure.surroundings.stores), self.erasure._keys()):
            if other.name in names:
                other.erase(self.subjects)
        for other in self._others(self.erasure.surroundings.after_purge):
            other.erase(self.subjects)

    def _of(self, store: Any) -> list[Subject]:
        return self.erasure.concerned(store, self.subjects, self.category)

    def _tell_kept(self) -> None:
        """Tables in which somebody's rows stay because another use of them is consented to."""
        own = {store.name: {subject.request for subject in self._of(store)} for store in self._tables()}
        self.erasure.book.tell(
            self._receipt(name, KEPT, Erased(0, 0, evidence={"why": STILL_SERVING}), request.request_id)
            for name, concerned in own.items()
            for request in self.group
            if request.request_id not in concerned
        )

    def _tables(self) -> list[TableStore]:
        return self.erasure.tables(self.category)

    def _others(self, stores: Iterable[Store]) -> list[Store]:
        return list(stores) if self.category is None else []

    def _all(self) -> list[Store]:
        return self.erasure.stores(self.category)

    def _concerned(self) -> list[TableStore]:
        names = self._names_concerned()
        return [store for store in self._tables() if store.name in names]

    def _names_concerned(self) -> set[str]:
        """Stores in which something was found, in whichever layer."""
        receipts = self.erasure.book.receipts(self.batch)
        return {each.store for each in receipts if each.step in (LOCATED, INTENDED) and each.found}

    def _do(self, stores: Iterable[Any], step: str, act: Callable[[Any], Callable[[list[Subject]], Erased]]) -> None:
        """The step in each of the stores, told once all have done it."""
        receipts = []
        for store in stores:
            self.erasure.progress(f"{step} {store.name}")
            receipts.append(self._receipt(store.name, step, act(store)(self._of(store)), ""))
        self.erasure.progress(f"tell {step}")
        self.erasure.book.tell(receipts)

    def _tell(self, store: str, step: str, done: Erased) -> None:
        self.erasure.book.tell([self._receipt(store, step, done)])

    def _tell_all(self, step: str, found: Mapping[str, Found], each_request: bool = False) -> None:
        receipts = [
            self._receipt(name, step, Erased(each.total, each.total, evidence=each.told()))
            for name, each in found.items()
        ]
        if each_request:
            receipts += [
                self._receipt(name, step, Erased(n, n), request)
                for name, each in found.items()
                for request, n in each.counts.items()
            ]
        self.erasure.book.tell(receipts)

    def _receipt(self, store: str, step: str, done: Erased, request: str = "") -> Receipt:
        evidence = json.dumps(done.evidence, sort_keys=True, default=str)
        at, who = self.erasure.clock(), self.erasure.who
        return Receipt(self.batch, request, store, step, done.found, done.left, done.size_bytes, evidence, at, who)


def _run_of(request: Request) -> tuple[str | None, str, str]:
    """What the requests of one step have in common: what they are about, their run, and where they are."""
    return request.category, request.batch, VERIFIED if request.state == RESTRICTED else request.state


def certificate_file(settings: Settings, request: str) -> Path:
    """Where the certificate of a request lies once there is one."""
    return settings.home / CERTIFICATES / f"{request}.json"


def _closed_by(certified: Collection[Request], history: Iterable[Request]) -> set[str]:
    """Requests of whom nobody may be able to tell any more: these, and every ended one of the same people."""
    marks = {each.subject_mark for each in certified}
    ended = {each.request_id for each in history if each.state in ENDS and each.subject_mark in marks}
    return ended | {each.request_id for each in certified}


def _as_json(ends: Mapping[str, Mapping[int, int]]) -> dict[str, dict[str, int]]:
    return {topic: {str(p): offset for p, offset in partitions.items()} for topic, partitions in ends.items()}
