"""What a privacy officer has to know, gathered: requests and their deadlines, stores, certificates, holds, consents.

Holds: facts that name nobody: request ids, states, counts, instants; and the order in which they matter.
Does not hold: how they look (page.py), nor the free text of requests and holds: people write it, and may write a name.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.compute as pc

from infra.erasure.verdicts import Verdict, verdicts
from warehouse.catalog import TableMismatchError, load_table
from warehouse.consent.decision import REVOKE, folded
from warehouse.consent.filters import REGISTRY_TABLE
from warehouse.contract_model import CONSENTED_PURPOSES
from warehouse.erasure.certificate import Run
from warehouse.erasure.inventory import tables_for
from warehouse.erasure.open_stays import OPEN_STAY
from warehouse.erasure.requests import Receipt, Request
from warehouse.erasure.run import Erasure, certificate_file
from warehouse.erasure.states import CERTIFIED, ENDS, RECEIVED, REFUSED, RESTRICTED, way_of
from warehouse.erasure.stores import Coverage
from warehouse.retention.holds import Hold, HoldRegister

REJECTS, ERASED, ADMISSIONS = "rejects", "erased", "adt.events"
REFUSED_DAYS = 30


@dataclass(frozen=True, slots=True)
class RequestLine:
    """One request.

    Attributes:
        scope: `all of the person`, or the category of use that ends.
        due_at: the last instant of the time that the law gives.
        reached: state -> when, oldest first. way: the states it goes through.
        stores: as the certificate tells them: what each had, what was done, what is left.
        ended_at: when it was certified or refused; None while it is open.
    """

    request: str
    scope: str
    state: str
    requested_at: datetime
    due_at: datetime
    reached: Mapping[str, datetime]
    way: tuple[str, ...]
    stores: Sequence[Mapping[str, Any]]
    ended_at: datetime | None
    kept_back_by: str

    @property
    def open(self) -> bool:
        return self.ended_at is None

    def age(self, now: datetime) -> timedelta:
        """Until now, or until it ended."""
        return (self.ended_at or now) - self.requested_at

    @property
    def late(self) -> bool:
        """Whether it ended past its deadline."""
        return self.ended_at is not None and self.ended_at > self.due_at

    def waits_for(self) -> str:
        """What has to happen next, and by whom."""
        if self.state == RECEIVED:
            return "somebody to verify who asks, and approve"
        if self.state == RESTRICTED:
            return self.kept_back_by
        return "" if not self.open else f"a run, to be {self.way[self.way.index(self.state) + 1]}"


@dataclass(frozen=True, slots=True)
class CertificateLine:
    """A certificate. `last_byte_at`: when the last store lets go; None where nothing was left. `verdict`: the newest"""

    request: str
    scope: str
    issued_at: datetime
    key_seconds: float | None
    objects: int
    remains: Sequence[Mapping[str, Any]]
    last_byte_at: datetime | None
    digest: str
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class CategoryLine:
    """A category of use: how often it was taken back, what became of the purges, which tables a purge concerns."""

    category: str
    revokes: int
    purged: int
    under_way: int
    alone: tuple[str, ...]
    shared: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RefusedLine:
    """How many messages of a stream were refused as an erased person's, and when the newest was appended."""

    stream: str
    messages: int
    newest_at: datetime

    @property
    def tells_of_treatment(self) -> bool:
        """Whether somebody who was erased may be in a bed here, and nothing is reckoned for them."""
        return self.stream == ADMISSIONS


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it at `now` (aware). `refused`: of the last `REFUSED_DAYS`."""

    now: datetime
    deadline_days: int
    requests: tuple[RequestLine, ...]
    certificates: tuple[CertificateLine, ...]
    categories: tuple[CategoryLine, ...]
    holds: tuple[Hold, ...]
    coverage: Coverage
    refused: tuple[RefusedLine, ...] = ()

    @property
    def open(self) -> tuple[RequestLine, ...]:
        """Open requests, the one with the nearest deadline first."""
        return tuple(sorted((each for each in self.requests if each.open), key=lambda each: each.due_at))

    @property
    def overdue(self) -> tuple[RequestLine, ...]:
        return tuple(each for each in self.open if each.due_at < self.now)


def overview(erasure: Erasure) -> Overview:
    """The facts of this lake. Raises what the book, the catalog and the broker raise."""
    settings, now = erasure.settings, erasure.clock()
    requests = _requests(erasure.book.history(), erasure.book.receipts(), settings.erasure_deadline_days)
    contract = erasure.contracts.table("retention_holds")
    holds = HoldRegister(erasure.catalog, settings.namespace, contract, erasure.who).in_force()
    known = verdicts(settings, [each.request for each in requests if each.state == CERTIFIED], now)
    return Overview(
        now=now,
        deadline_days=settings.erasure_deadline_days,
        requests=requests,
        certificates=_certificates(erasure, requests, known),
        categories=_categories(erasure, requests),
        holds=holds,
        coverage=erasure.surroundings.coverage(),
        refused=refused_messages(erasure),
    )


def refused_messages(erasure: Erasure) -> tuple[RefusedLine, ...]:
    """Streams of which messages were refused as an erased person's in the last `REFUSED_DAYS`, by their append."""
    try:
        rejects = load_table(erasure.catalog, erasure.settings.namespace, REJECTS)
    except TableMismatchError:
        return ()
    since = (erasure.clock() - timedelta(days=REFUSED_DAYS)).isoformat()
    theirs = f"reason = '{ERASED}' and kafka_time >= '{since}'"
    rows = rejects.scan(row_filter=theirs, selected_fields=("stream", "kafka_time")).to_arrow()
    found = rows.group_by("stream").aggregate([("kafka_time", "count"), ("kafka_time", "max")]).sort_by("stream")
    return tuple(
        RefusedLine(each["stream"], each["kafka_time_count"], each["kafka_time_max"]) for each in found.to_pylist()
    )


def _requests(history: Sequence[Request], receipts: Sequence[Receipt], days: int) -> tuple[RequestLine, ...]:
    found: dict[str, list[Request]] = {}
    for each in history:
        found.setdefault(each.request_id, []).append(each)
    of_run: dict[str, list[Receipt]] = {}
    for receipt in receipts:
        of_run.setdefault(receipt.batch, []).append(receipt)
    runs = {batch: Run((), theirs, ()) for batch, theirs in of_run.items()}
    return tuple(_request(states, runs.get(states[-1].batch), days) for states in found.values())


def _request(states: Sequence[Request], run: Run | None, days: int) -> RequestLine:
    newest = states[-1]
    return RequestLine(
        request=newest.request_id,
        scope=_scope(newest.category),
        state=newest.state,
        requested_at=newest.requested_at,
        due_at=newest.requested_at + timedelta(days=days),
        reached={each.state: each.at for each in states},
        way=way_of(newest.category),
        stores=run.stores_of(newest.request_id) if run else (),
        ended_at=newest.at if newest.state in ENDS else None,
        kept_back_by=_kept_back_by(newest.reason) if newest.state == RESTRICTED else "",
    )


def _scope(category: str | None) -> str:
    """What a request is about. A sender's word that is no use of the house is not repeated: it may say anything."""
    if category is None:
        return "all of the person"
    return category if category in CONSENTED_PURPOSES else "no use of ours"


def _kept_back_by(reason: str) -> str:
    """Of reasons only those that the eraser wrote itself; it names no more than a hold and a table."""
    return reason if reason == OPEN_STAY or reason.startswith(("hold ", "consent to ")) else "something keeps it back"


def _certificates(
    erasure: Erasure, requests: Sequence[RequestLine], known: Mapping[str, Verdict]
) -> tuple[CertificateLine, ...]:
    found = []
    for each in requests:
        file = certificate_file(erasure.settings, each.request)
        if each.state != CERTIFIED or not file.exists():
            continue
        document = json.loads(file.read_text())
        said = document["certificate"]
        untils = [datetime.fromisoformat(left["until"]) for left in said["remains"]]
        line = CertificateLine(
            request=each.request,
            scope=each.scope,
            issued_at=datetime.fromisoformat(said["issued"]["at"]),
            key_seconds=(said["key"] or {}).get("seconds_after_verification"),
            objects=len(said["objects"]),
            remains=said["remains"],
            last_byte_at=max(untils, default=None),
            digest=document["sha256"],
            verdict=known.get(each.request),
        )
        found.append(line)
    return tuple(sorted(found, key=lambda line: line.issued_at, reverse=True))


def _categories(erasure: Erasure, requests: Sequence[RequestLine]) -> tuple[CategoryLine, ...]:
    contracts, revokes = erasure.contracts, _revokes(erasure)
    lines = []
    # Words of senders that no use of the house answers to are no categories: they erase nothing, and may say anything.
    for category in sorted(CONSENTED_PURPOSES):
        tables = tables_for(contracts, category)
        alone = {table.name for table in tables if contracts.stream(table.stream).purposes == (category,)}
        own = [each for each in requests if each.scope == category]
        line = CategoryLine(
            category,
            revokes=revokes[category] + revokes["all"],
            purged=sum(each.state == CERTIFIED for each in own),
            under_way=sum(each.state not in (CERTIFIED, REFUSED) for each in own),
            alone=tuple(sorted(alone)),
            shared=tuple(sorted(table.name for table in tables if table.name not in alone)),
        )
        lines.append(line)
    return tuple(lines)


def _revokes(erasure: Erasure) -> Counter[str]:
    """Category -> messages of the registry that took a consent back; empty where there is no registry."""
    try:
        registry = load_table(erasure.catalog, erasure.settings.namespace, REGISTRY_TABLE)
    except TableMismatchError:
        return Counter()
    rows = registry.scan(selected_fields=("action", "category")).to_arrow()
    theirs = rows.filter(pc.equal(rows["action"], REVOKE))["category"]
    return Counter(folded(category) for category in theirs.to_pylist() if category)


def moment(text: str) -> datetime:
    """An instant of a certificate, in UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)
