"""What keeps a request back, and what ends it with nothing done: each question asked for itself.

Holds: a hold on days the person has rows on, and a consent that is in force again (open_stays.py has the third).
Does not hold: what follows of an answer (clearance.py), holds (`warehouse/retention/holds.py`), nor the decision on
consent (`warehouse/consent/decision.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchTableError

from warehouse.consent.decision import ALL, REVOKE, Provision, in_force
from warehouse.consent.filters import REGISTRY_TABLE, streams_behind
from warehouse.consent.histories import provisions
from warehouse.contract import Contracts
from warehouse.erasure.inventory import tables_for
from warehouse.erasure.requests import Request
from warehouse.erasure.states import CERTIFIED, REFUSED, RESTRICTED
from warehouse.erasure.stores import Subject, by_token
from warehouse.erasure.tables import TableStore
from warehouse.retention.holds import EVERY_TABLE, Hold
from warehouse.subjects import is_of


@dataclass(frozen=True, slots=True)
class KeptBack:
    """The state a request comes to instead of going on, and why: restricted is looked at again, refused is an end."""

    state: str
    why: str


def held(subjects: Collection[Subject], stores: Iterable[TableStore], holds: Collection[Hold]) -> dict[str, KeptBack]:
    """Requests of people with rows on days that a hold keeps. Raises `StoreUnavailableError`."""
    found: dict[str, KeptBack] = {}
    for store in stores if holds else ():
        for subject in subjects:
            if subject.request not in found and (hold := _hold_on(store, subject, holds)):
                why = f"hold {hold.hold} keeps days of {store.identifier[1]} on which there are rows"
                found[subject.request] = KeptBack(RESTRICTED, why)
    return found


def _hold_on(store: TableStore, subject: Subject, holds: Collection[Hold]) -> Hold | None:
    name = store.identifier[1]
    concerning = [hold for hold in holds if hold.table in (EVERY_TABLE, name)]
    for day in store.locate([subject]).evidence.get("days", ()) if concerning else ():
        for hold in concerning:
            if not day or hold.covers(name, date.fromisoformat(day)):
                return hold
    return None


@dataclass(frozen=True, slots=True)
class Registry:
    """The registry of consent as erasure asks it: by the lake's own rows, of the people of requests alone."""

    catalog: Catalog
    namespace: str
    contracts: Contracts

    def permitting(
        self, group: Collection[Request], subjects: Collection[Subject], category: str, now: datetime
    ) -> dict[str, KeptBack]:
        """Requests for the end of a category whose person consents to it now: what is consented to is not purged.

        A request that follows from a revoke which the registry has, and which does not hold (a later word grants), is
        superseded for good. Any other waits: the revoke may be on its way, for the request is sent before it is kept.
        """
        told, streams = self._told(subjects), self._streams(category)
        found: dict[str, KeptBack] = {}
        for request in group:
            history = told.get(request.request_id, [])
            granted = [each for each in streams if in_force(history, category, each, now).permitted]
            if granted:
                superseded = len(granted) == len(streams) and _revoked_since(history, category, request.requested_at)
                found[request.request_id] = _granted_again(category) if superseded else _still_granted(category)
        return found

    def _told(self, subjects: Collection[Subject]) -> dict[str, list[Provision]]:
        """Request -> everything its person said."""
        try:
            table = self.catalog.load_table((self.namespace, REGISTRY_TABLE))
        except NoSuchTableError:
            return {}
        everybodys = table.scan().to_arrow()
        rows = everybodys.filter(is_of(everybodys, "subject_token", by_token(subjects))).to_pylist()
        known = [topic.stream for topic in self.contracts.topics()]
        return {
            subject.request: provisions([row for row in rows if row["subject_token"] in subject.tokens], known)
            for subject in subjects
        }

    def _streams(self, category: str) -> list[str]:
        """The streams whose data the category's tables hold."""
        tables = tables_for(self.contracts, category)
        behind = {table.name: streams_behind(self.contracts, table) or (table.stream,) for table in tables}
        return sorted({stream for streams in behind.values() for stream in streams})


def returned(
    group: Iterable[Request], epochs: Mapping[bytes, int | None], history: Iterable[Request]
) -> dict[str, KeptBack]:
    """Requests about a pseudonym that was erased, whose person has come back under another. `epochs`: the vault's list;
    `history`: states of requests.

    Nothing is left under the old one, which a certificate says: the list alone does not. Who was fenced in a run that
    was killed may come back too, and is erased under the old one still.
    """
    erased = {each.subject_mark for each in history if each.state == CERTIFIED and each.category is None}
    back = {mark.hex() for mark, epoch in epochs.items() if epoch is not None} & erased
    why = "this person was erased already, on another request, and has come back since: to erase them again, ask anew"
    return {each.request_id: KeptBack(REFUSED, why) for each in group if each.subject_mark in back}


def _revoked_since(history: Iterable[Provision], category: str, asked_at: datetime) -> bool:
    return any(p.action == REVOKE and p.category in (category, ALL) and p.known_at >= asked_at for p in history)


def _granted_again(category: str) -> KeptBack:
    return KeptBack(REFUSED, f"granted again: a later word of the patient consents to {category}, and that holds now")


def _still_granted(category: str) -> KeptBack:
    why = f"consent to {category} is in force by the registry: its end is a revoke, which has to come first"
    return KeptBack(RESTRICTED, why)
