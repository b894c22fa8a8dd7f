"""Whether a request may go on, and the key that goes the moment it may.

Holds: verification, refusal, what keeps a request back, fence and destruction of the key, and the joining of requests
into a run: everything after which there is no way back, under one lock, with each state looked at again inside it.
Does not hold: the steps behind it (run.py), nor the questions that keep a request back (restrictions.py).

Fence and key need the vault and nothing else: no coverage, no other run is waited for. What may take long, the look for
what keeps somebody back, comes before the verification is entered, since the promise of ten seconds runs from there. So
it is kept whichever way the verification came.

Who is being treated the table of admissions tells, and it is as new as what the stream has read: an admission that
lies on its topic unread would be refused behind the fence, and a patient in a bed would be watched by nobody. So the
topic is read to its end of that moment first, or nobody is fenced (decision 33).
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Collection, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from warehouse.contract import Contracts
from warehouse.erasure.inventory import tables_for
from warehouse.erasure.keys import KeyStore
from warehouse.erasure.open_stays import OPEN_STAY, with_open_stays
from warehouse.erasure.requests import Book, Receipt, Request
from warehouse.erasure.restrictions import KeptBack, Registry, held, returned
from warehouse.erasure.scope import ScopeError, category_of
from warehouse.erasure.standing import Reading
from warehouse.erasure.states import FENCED, RECEIVED, REFUSED, RESTRICTED, SHREDDED, VERIFIED, StateError, require
from warehouse.erasure.stores import NotYetError, Progress
from warehouse.erasure.tables import TableStore
from warehouse.retention.holds import HoldRegister
from warehouse.settings import Settings
from warehouse.vault import SqliteVault

LEDGER = "ledger"
ADMISSIONS_SECONDS, LOOK_SECONDS = 15.0, 0.5
"""So long the stream is waited for, which commits every few seconds where it runs."""
TREATED = KeptBack(RESTRICTED, OPEN_STAY)
NOTHING_KEPT = KeptBack(REFUSED, "nothing here is kept for this category alone: there is nothing to erase")


@dataclass(frozen=True, slots=True)
class Clearance:
    """Of one lake. `admissions`: how far the table of admissions has read its topic. `tables`: the stores a category
    concerns. `clock`, `who`, `sleep`, `progress`: as of an erasure."""

    settings: Settings
    contracts: Contracts
    book: Book
    vault: SqliteVault
    keys: KeyStore
    holds: HoldRegister
    registry: Registry
    admissions: Reading
    tables: Callable[[str | None], list[TableStore]]
    who: str
    clock: Callable[[], datetime]
    sleep: Callable[[float], None]
    progress: Progress

    def verify(self, request: str, why: str) -> Request:
        """Somebody has made sure that the person asked, and may: the key goes, unless something keeps the request back.

        Raises `RequestError`, `StateError`, `NotYetError` (admissions are unread), `VaultUnavailableError` (then the
        next run destroys it)."""
        with self._alone():
            found = self._movable(request, why, RECEIVED)
            if found.category is None:
                self._await_admissions()
            kept = self._kept_back([found])
            verified = found.moved(VERIFIED, self.clock(), self.who, reason=why.strip())
            self.book.enter([verified])
            if found.category is None:
                self._go_on([verified], kept)
        return self.book.get(request)

    def refuse(self, request: str, why: str) -> Request:
        """Nothing is done. Raises as `verify`; once anything was done there is nothing to refuse any more."""
        with self._alone():
            found = self._movable(request, why, RECEIVED, VERIFIED, RESTRICTED)
            if found.batch or self._is_fenced_by(found):
                raise StateError("this request was begun and has no way back; `wardstream erase run` ends it")
            refused = found.moved(REFUSED, self.clock(), self.who, reason=why.strip())
            self.book.enter([refused])
        return refused

    def shred(self, named: Collection[str]) -> None:
        """Fence, and destroy the keys of, whoever was verified and is kept back by nothing (any more); of those named,
        or of all. Raises `VaultUnavailableError`, and `NotYetError` when those are done who were fenced before."""
        with self._alone():
            due = [
                request
                for request in self.book.current().values()
                if request.category is None
                and request.state in (VERIFIED, RESTRICTED, FENCED)
                and (not named or request.request_id in named)
            ]
            waiting = [request for request in due if request.state != FENCED]
            self._go_on([request for request in due if request.state == FENCED], {})
            if waiting:
                self._await_admissions()
                self._go_on(waiting, self._kept_back(waiting))

    def join(self, group: Iterable[Request], batch: str) -> list[Request]:
        """Those of the group that go on together as one run, which is entered before anything is done to them; the ends
        of a category that something keeps back are left out, with the reason."""
        with self._alone():
            now = self.book.current()
            there = [now[each.request_id] for each in group]
            group = [each for each, is_now in zip(group, there, strict=True) if each == is_now]
            if group and group[0].category is not None:
                group = self._enter_kept(group, self._kept_back(group))
            state = SHREDDED if group and group[0].category is None else VERIFIED
            joined = [each.moved(state, self.clock(), self.who, batch) for each in group]
            self.book.enter(joined)
        return joined

    # --- parts

    @contextmanager
    def _alone(self) -> Generator[None]:
        """One process of this host at a time; whoever comes second waits."""
        path = self.settings.home / "locks" / "erasure.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _await_admissions(self) -> None:
        """Until the table of admissions has come to where its topic ends now."""
        ends, waited = self.admissions.ends(), 0.0
        while behind := self.admissions.behind(ends):
            if waited >= ADMISSIONS_SECONDS:
                raise NotYetError(
                    f"the stream has yet to read {'; '.join(behind)}: who was just admitted cannot be told from who is "
                    "not treated here; nobody is fenced before it has, so try again then"
                )
            self.sleep(LOOK_SECONDS)
            waited += LOOK_SECONDS

    def _movable(self, request: str, why: str, *allowed: str) -> Request:
        self.book.worded(why)
        found = self.book.get(request)
        require(found.state, *allowed)
        return found

    def _kept_back(self, group: list[Request]) -> dict[str, KeptBack]:
        """Request -> what it comes to instead. All of the group are of one category."""
        category = group[0].category
        try:
            category_of(category)
        except ScopeError as error:
            return {each.request_id: KeptBack(REFUSED, str(error)) for each in group}
        subjects = self.book.subjects(group)
        kept = held(subjects, self.tables(category), self.holds.in_force())
        if category is None:
            kept |= dict.fromkeys(with_open_stays(subjects, self.book.catalog, self.settings.namespace), TREATED)
            return kept | returned(group, self.vault.erased(), self.book.history())
        if not tables_for(self.contracts, category):
            return dict.fromkeys((each.request_id for each in group), NOTHING_KEPT)
        return kept | self.registry.permitting(group, subjects, category, self.clock())

    def _enter_kept(self, group: list[Request], kept: dict[str, KeptBack]) -> list[Request]:
        """Enter what something keeps back, unless it stands there so; the others."""
        self.book.enter(
            request.moved(back.state, self.clock(), self.who, reason=back.why)
            for request in group
            if (back := kept.get(request.request_id)) and (request.state, request.reason) != (back.state, back.why)
        )
        return [request for request in group if request.request_id not in kept]

    def _go_on(self, group: list[Request], kept: dict[str, KeptBack]) -> None:
        """Fence and key of those that nothing keeps back. Both may be repeated."""
        free = self._enter_kept(group, kept)
        if not free:
            return
        self.progress("begin fenced")
        subjects = self.book.subjects(free)
        self.vault.fence(bytes.fromhex(each.subject_mark) for each in free)
        fenced = [each.moved(FENCED, self.clock(), self.who) for each in free]
        self.progress("done fenced")
        states, receipts = fenced, [self._receipt(each, LEDGER, FENCED, 1, 0) for each in free]
        try:
            there = self.keys.locate(subjects).counts
            left = self.keys.erase(subjects).left
            states = [*fenced, *(each.moved(SHREDDED, self.clock(), self.who) for each in free)]
            receipts += [
                self._receipt(each, self.keys.name, SHREDDED, there.get(each.request_id, 0), left) for each in free
            ]
        finally:
            self.book.tell(receipts)
            self.book.enter(states)
        self.progress("entered shredded")

    def _receipt(self, request: Request, store: str, step: str, found: int, left: int) -> Receipt:
        """Told for the request by itself: the run it goes on in is not known yet."""
        return Receipt(
            request.request_id, request.request_id, store, step, found, left, 0, "{}", self.clock(), self.who
        )

    def _is_fenced_by(self, request: Request) -> bool:
        """Whether the fence stands though no state says so: whoever raised it died there."""
        mark = bytes.fromhex(request.subject_mark)
        if self.vault.erased().get(mark, 0) is not None:
            return False
        others = [each for each in self.book.history() if each.subject_mark == request.subject_mark]
        return not any(each.state == FENCED and each.request_id != request.request_id for each in others)
