"""Requests for erasure and what was done for them, as the two kept lists have it.

Holds: the rows of `erasure_requests` and `erasure_receipts`, written once however often they are offered, and the
sealing of whom a request is about.
Does not hold: what a state means (states.py), nor any act (run.py).
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

import pyarrow as pa
from pyiceberg.catalog import Catalog

from warehouse.catalog import load_table
from warehouse.commit import FencedTable
from warehouse.contract import Contracts, TableContract
from warehouse.erasure.ledger import mark_of
from warehouse.erasure.scope import category_of
from warehouse.erasure.states import RECEIVED, REFUSED, rank
from warehouse.erasure.stores import Progress, Subject
from warehouse.identity import associated_data, seal, unseal
from warehouse.tables import arrow_schema
from warehouse.vault import LEDGER_KEY, SqliteVault

LEAST_REASON = 8
OWN_NAME_DIGITS = 16


class RequestError(ValueError):
    """A request that cannot be taken, or is not there. The message says what to do."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for: about whom, which category of use (None: all), why, when (aware) and by whom."""

    request_id: str
    token: str
    category: str | None
    reason: str
    at: datetime
    by: str


@dataclass(frozen=True, slots=True)
class Request:
    """A request in one of its states; fields are the contract's columns."""

    request_id: str
    state: str
    subject_mark: str
    sealed_subject: bytes
    category: str | None
    batch: str
    reason: str
    requested_at: datetime
    requested_by: str
    at: datetime
    acted_by: str

    @property
    def key(self) -> tuple[str, str, datetime]:
        return self.request_id, self.state, self.at

    def moved(self, state: str, at: datetime, who: str, batch: str | None = None, reason: str | None = None) -> Request:
        """The same request in another state."""
        return replace(
            self,
            state=state,
            at=at,
            acted_by=who,
            batch=self.batch if batch is None else batch,
            reason=self.reason if reason is None else reason,
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """A step of a run in a store; fields are the contract's columns. `request_id` is empty for all of a run's."""

    batch: str
    request_id: str
    store: str
    step: str
    found: int
    left_over: int
    bytes: int
    evidence: str
    at: datetime
    acted_by: str

    def said(self) -> dict[str, Any]:
        """The evidence."""
        return json.loads(self.evidence)


class Book:
    """Both lists. One process of a host at a time writes them (the caller's lock). `progress`: as `FencedTable`'s."""

    def __init__(
        self,
        catalog: Catalog,
        namespace: str,
        contracts: Contracts,
        vault: SqliteVault,
        writer: str,
        progress: Progress = lambda step: None,
    ) -> None:
        self.catalog, self._namespace, self._vault = catalog, namespace, vault
        self._requests = contracts.table("erasure_requests")
        self._receipts = contracts.table("erasure_receipts")
        self._identifiers = [
            re.compile(rf"(?<![A-Za-z0-9]){pattern}(?![A-Za-z0-9])")
            for pattern in sorted({topic.key_pattern for topic in contracts.topics() if topic.key_pattern})
        ]
        self._writer, self._progress = writer, progress

    # --- requests

    def history(self) -> list[Request]:
        """Every state of every request, in the order of states: no clock that was set back makes an older one the
        present. Raises `TableMismatchError` where the table is missing."""
        rows = [Request(**row) for row in self._read(self._requests)]
        return sorted({row.key: row for row in rows}.values(), key=lambda row: (rank(row.state), row.at))

    def current(self) -> dict[str, Request]:
        """Request id -> the request in its present state, oldest request first."""
        found: dict[str, Request] = {}
        for row in self.history():
            found.pop(row.request_id, None)
            found[row.request_id] = row
        return dict(sorted(found.items(), key=lambda pair: (pair[1].requested_at, pair[0])))

    def get(self, request: str) -> Request:
        """The request in its present state. Raises `RequestError` where there is none of this id."""
        found = self.current().get(request)
        if found is None:
            raise RequestError(f"no request {request}; `wardstream erase status` lists them")
        return found

    def receive(self, requests: Iterable[Request]) -> list[Request]:
        """Write down new requests; those whose id is there already are left as they are. Returns the new ones."""
        known = self.current()
        fresh = {request.request_id: request for request in requests if request.request_id not in known}
        self.enter(fresh.values())
        return list(fresh.values())

    def enter(self, requests: Iterable[Request]) -> None:
        """Append states. Whom a refused request was about nobody can open any more."""
        states = list(requests)
        self._append(self._requests, [asdict(request) for request in states])
        if refused := [each.request_id for each in states if each.state == REFUSED]:
            self._vault.destroy_request_keys(refused)

    def new(self, asked: Asked, who: str, now: datetime) -> Request:
        """A received request, not written yet. Raises `RequestError` for a reason that says too little or a word that
        names somebody, `ScopeError` for a category that no consent governs."""
        self._require_nobody(asked.request_id, "the name of a request")
        return Request(
            request_id=asked.request_id,
            state=RECEIVED,
            subject_mark=self.mark(asked.token),
            sealed_subject=self._sealed(asked.request_id, (asked.token,)),
            category=category_of(asked.category),
            batch="",
            reason=self.worded(asked.reason),
            requested_at=asked.at,
            requested_by=asked.by,
            at=now,
            acted_by=who,
        )

    def own_name(self, theirs: str, token: str, scope: str | None) -> str:
        """What a request is called here that its sender calls so: always the same, and naming nobody."""
        said = f"request|{self.mark(token)}|{scope or ''}|{theirs}"
        return f"m-{hmac.digest(self._vault.house_key(LEDGER_KEY), said.encode(), 'sha256').hex()[:OWN_NAME_DIGITS]}"

    def worded(self, why: str) -> str:
        """A reason as the lists keep it. Raises `RequestError` where it says too little, or names somebody."""
        if len(why.strip()) < LEAST_REASON:
            raise RequestError(f"say why in {LEAST_REASON} letters or more; name nobody")
        self._require_nobody(why, "a reason")
        return why.strip()

    def _require_nobody(self, words: str, what: str) -> None:
        """Lists and certificates stay when the person is gone."""
        if any(identifier.search(words) for identifier in self._identifiers):
            raise RequestError(f"{what} stays for good, and this one holds a patient's identifier; name nobody in it")

    def mark(self, token: str) -> str:
        """What the lists call whoever has this token."""
        return mark_of(self._vault.house_key(LEDGER_KEY), token).hex()

    def subjects(self, requests: Collection[Request]) -> list[Subject]:
        """Whom requests are about; those that are certified, and whose key is gone, are left out."""
        keys, found = self._vault.request_keys(request.request_id for request in requests), []
        for request in requests:
            if (key := keys.get(request.request_id)) is not None:
                opened = unseal(request.sealed_subject, key, _place(request.request_id))
                found.append(Subject(request.request_id, tuple(json.loads(opened))))
        return found

    def _sealed(self, request: str, tokens: tuple[str, ...]) -> bytes:
        key = self._vault.request_key(request)
        if key is None:
            raise RequestError(f"a request {request} was certified before; give the new one an id of its own")
        return seal(json.dumps(tokens).encode(), key, _place(request))

    # --- receipts

    def receipts(self, *batches: str) -> list[Receipt]:
        """All receipts of these runs, or of all, oldest first."""
        rows, wanted = [Receipt(**row) for row in self._read(self._receipts)], frozenset(batches)
        return sorted(
            (row for row in rows if not wanted or row.batch in wanted), key=lambda row: (row.at, row.store, row.step)
        )

    def tell(self, receipts: Iterable[Receipt]) -> None:
        """Append receipts."""
        self._append(self._receipts, [asdict(receipt) for receipt in receipts])

    # --- both

    def _read(self, contract: TableContract) -> list[dict[str, Any]]:
        return load_table(self.catalog, self._namespace, contract.name).scan().to_arrow().to_pylist()

    def _append(self, contract: TableContract, rows: list[dict[str, Any]]) -> None:
        if rows:
            name = (self._namespace, contract.name)
            table = FencedTable(self.catalog, name, writer=self._writer, progress=self._progress)
            table.append_derived(pa.Table.from_pylist(rows, schema=arrow_schema(contract)), {})


def _place(request: str) -> bytes:
    return associated_data("erasure_requests", "sealed_subject", request)
