"""A lake with rows of several people in tables of several kinds, and erasure of it with a clock to move."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tests.warehouse.fenced import TOPIC, interval
from tests.warehouse.retention.made import filled
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.commit import FencedTable
from warehouse.contract import load_contracts
from warehouse.erasure.requests import Asked
from warehouse.erasure.run import Erasure, Surroundings
from warehouse.identity import RejectedMessage, seal_rejects, subject_token
from warehouse.settings import Settings
from warehouse.vault import SqliteVault, open_vault

SYSTEM = "urn:wardstream:patient-id"
START = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAYS = [date(2026, 11, 18), date(2026, 11, 19), date(2026, 11, 20)]
TABLES = (
    "vitals",
    "rejects",
    "duplicates",
    "labs",
    "vitals_by_hour",
    "adt_events",
    "data_deletions",
    "erasure_requests",
    "erasure_receipts",
    "retention_holds",
    "retention_receipts",
)
PEOPLE = tuple(f"P{n:06d}" for n in range(6))


class Clock:
    """Time that goes on a little at each look."""

    def __init__(self, now: datetime = START) -> None:
        self.now = now

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now

    def seconds(self) -> float:
        return self().timestamp()

    def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Ward:
    """Tables in a lake of `settings` with people in them, and its erasure."""

    def __init__(self, settings: Settings, new: bool = True, tables: Iterable[str] = TABLES) -> None:
        self.settings, self.contracts = settings, load_contracts()
        self.catalog = open_catalog(settings)
        self.vault: SqliteVault = open_vault(settings.vault_uri, lambda: 0.0)
        self.clock = Clock()
        self.runs = 0
        self.offset = 0
        self.admissions = 0
        if new:
            for name in tables:
                self.create(name)
            for name in ("vitals", "rejects", "duplicates"):
                if name in tables:
                    self.fenced(name).establish(TOPIC, {0: 0})

    def fenced(self, name: str) -> FencedTable:
        return FencedTable(self.catalog, (self.settings.namespace, name), writer="test")

    def token(self, person: str) -> str:
        return subject_token(self.vault.token_key(), SYSTEM, person)

    def ingest(self, days: Iterable[date] = DAYS, people: Iterable[str] = PEOPLE, each: int = 4) -> None:
        """`each` readings a person on each of the days, a commit a day."""
        people = list(people)
        for day in days:
            n = len(people) * each
            start, self.offset = self.offset, self.offset + n
            rows = self.readings([self.token(person) for person in people] * each, day, start)
            self.fenced("vitals").commit(rows, [interval(start, start + n)])

    def readings(self, tokens: list[str], day: date, start: int) -> pa.Table:
        n = len(tokens)
        noon = int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() * 1e6)
        times = pa.array(noon + np.arange(n, dtype=np.int64) * 1_000_000, pa.timestamp("us", "UTC"))
        return pa.table(
            {
                "event_id": pa.array([f"event-{start + at}" for at in range(n)]),
                "subject_token": pa.array(tokens).dictionary_encode(),
                "code": pa.array(["8867-4"] * n).dictionary_encode(),
                "numeric_value": pa.array(np.arange(n, dtype=np.float64)),
                "event_time": times,
                "topic_id": pa.array([TOPIC] * n).dictionary_encode(),
                "kafka_partition": pa.array(np.zeros(n, np.int32)),
                "kafka_offset": pa.array(np.arange(start, start + n, dtype=np.int64)),
                "kafka_time": times,
                "ingest_time": times,
            }
        )

    def reject(self, people: Iterable[str] = PEOPLE, day: date = DAYS[-1]) -> None:
        """A sealed reject of each of the people."""
        people = list(people)
        tokens = [self.token(person) for person in people]
        messages = [RejectedMessage(person.encode(), b"{not json of " + person.encode()) for person in people]
        sealed = seal_rejects(self.vault, "device.vitals", messages, tokens, [day] * len(people))
        start = getattr(self, "rejected", 0)
        self.rejected = start + len(people)
        rows = filled(
            "rejects",
            [day] * len(people),
            self.contracts,
            subject_token=tokens,
            sealed_payload=[each.payload for each in sealed],
            sealed_under=[each.under for each in sealed],
            kafka_offset=list(range(start, start + len(people))),
        )
        self.fenced("rejects").commit(rows, [interval(start, start + len(people))])

    def derive(self, people: Iterable[str] = PEOPLE, days: Iterable[date] = DAYS) -> None:
        """An hour of each of the people on each of the days."""
        people = list(people)
        for day in days:
            rows = filled(
                "vitals_by_hour", [day] * len(people), self.contracts, subject_token=[self.token(p) for p in people]
            )
            self.fenced("vitals_by_hour").append_derived(rows, {"u": 1}, day)

    def admit(self, person: str, *types: str) -> None:
        """Events of one stay, an hour after the one before each."""
        days = [DAYS[0]] * len(types)
        began, self.admissions = self.admissions, self.admissions + len(types)
        times = [START + timedelta(hours=began + n) for n in range(len(types))]
        rows = filled(
            "adt_events",
            days,
            self.contracts,
            subject_token=[self.token(person)] * len(types),
            stay_id=["stay-1"] * len(types),
            type=list(types),
            event_time=times,
            recorded_at=times,
        )
        self.fenced("adt_events").append_derived(rows, {"u": 1})

    def erasure(
        self, surroundings: Surroundings | None = None, progress: Callable[[str], None] = lambda step: None
    ) -> Erasure:
        return Erasure(
            self.settings,
            self.contracts,
            self.catalog,
            self.vault,
            surroundings or Surroundings(),
            who="test",
            clock=self.clock,
            new_id=self.new_id,
            sleep=self.clock.sleep,
            progress=progress,
        )

    def new_id(self) -> str:
        self.runs += 1
        return f"run-{self.runs}-{self.clock.now:%H%M%S%f}"

    def create(self, name: str) -> None:
        """One more table of the lake."""
        create_table(self.catalog, self.settings.namespace, self.contracts.table(name), table_lock(self.settings))

    def ask(self, person: str, category: str | None = None, verified: bool = True, name: str = "") -> str:
        """A request about somebody; its id."""
        request = name or f"e-{person}-{category or 'all'}".replace("P", "x")
        asked = Asked(request, self.token(person), category, "asked by letter", self.clock(), "privacy-desk")
        erasure = self.erasure()
        erasure.book.receive([erasure.book.new(asked, "test", self.clock())])
        if verified:
            erasure.verify(request, "passport seen")
        return request

    def rows(self, name: str = "vitals") -> pa.Table:
        return self.catalog.load_table((self.settings.namespace, name)).scan().to_arrow()

    def of(self, person: str, name: str = "vitals") -> int:
        rows = self.rows(name)
        return pc.sum(pc.equal(rows["subject_token"].cast(pa.string()), self.token(person))).as_py() or 0

    def digest_without(self, people: Iterable[str], name: str = "vitals") -> str:
        """Of the rows of everybody else, in whichever order."""
        tokens = pa.array([self.token(person) for person in people], pa.string())
        rows = self.rows(name)
        others = rows.filter(pc.invert(pc.is_in(rows["subject_token"].cast(pa.string()), tokens)))
        lines = sorted(repr(sorted(row.items(), key=lambda pair: pair[0])) for row in others.to_pylist())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def table(self, name: str = "vitals") -> Any:
        return self.catalog.load_table((self.settings.namespace, name))
