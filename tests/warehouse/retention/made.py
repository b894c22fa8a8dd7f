"""A lake with made data for the tests of retention: days of rows in tables of several kinds, and a clock to move."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tests.warehouse.fenced import TOPIC, interval
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.commit import FencedTable
from warehouse.contract import Contracts, RetentionClass, load_contracts
from warehouse.retention.doer import Outcome, RetentionDoer
from warehouse.retention.holds import Hold
from warehouse.retention.observe import files_of, observe
from warehouse.retention.plan import KINDS, RetentionPlan, TableState, plan_retention
from warehouse.settings import Settings
from warehouse.snapshots import LiveFile
from warehouse.tables import arrow_schema

FIRST = date(2021, 11, 22)
NOON = time(12)
TABLES = ("vitals", "vitals_by_hour", "rejects", "quality_results", "retention_receipts", "retention_holds")


def kept(name: str = "clinical_signals", **other: Any) -> RetentionClass:
    """A class that cools after 3 days and lets go after 10, unless told otherwise."""
    said: dict[str, Any] = {"cold_after_days": 3, "gone_after_days": 10, "counted_by": "table", "undo_days": 5}
    return RetentionClass(name, "briefly", "it is a test", 7, None, **(said | other))


CLASSES = {
    "clinical_signals": kept(),
    "clinical_record": kept("clinical_record", cold_after_days=None, gone_after_days=20),
    "derived": kept("derived", cold_after_days=None, gone_after_days=8),
    "rejects": kept("rejects", cold_after_days=None, counted_by="calendar", undo_days=0),
    "accountability": kept("accountability", cold_after_days=None, gone_after_days=None),
}


def at(day: date, clock: time = NOON) -> datetime:
    return datetime.combine(day, clock, UTC)


def days(first: date, count: int, step: int = 1) -> list[date]:
    return [first + timedelta(days=n * step) for n in range(count)]


class MadeLake:
    """Tables in a lake of `settings`, classes as given, and retention with a clock that is `now`."""

    def __init__(self, settings: Settings, classes: Mapping[str, RetentionClass] = CLASSES, new: bool = True) -> None:
        self.settings = settings
        self.contracts = _with(load_contracts(), classes)
        self.catalog = open_catalog(settings)
        self.now = at(FIRST)
        self.names = 0
        self.offset = 0
        if new:
            for name in TABLES:
                create_table(self.catalog, settings.namespace, self.contracts.table(name), table_lock(settings))
            self.fenced("vitals").establish(TOPIC, {0: 0})
            self.fenced("rejects").establish(TOPIC, {0: 0})

    def fenced(self, name: str) -> FencedTable:
        catalog = open_catalog(self.settings)
        return FencedTable(catalog, (self.settings.namespace, name), writer="test", clock=lambda: self.now)

    def table(self, name: str = "vitals") -> Any:
        return self.catalog.load_table((self.settings.namespace, name))

    def files(self, name: str = "vitals") -> list[LiveFile]:
        return files_of(self.table(name))

    def ingest(self, on: list[date], rows: int = 3) -> None:
        """Readings on each of the days, in one commit."""
        n, start = len(on) * rows, self.offset
        self.offset += n
        self.fenced("vitals").commit(readings_on(on, rows, start), [interval(start, start + n)])

    def reject(self, on: list[date]) -> None:
        """A reject on each of the days."""
        start = getattr(self, "rejected", 0)
        self.rejected = start + len(on)
        rows = filled("rejects", on, self.contracts, kafka_offset=list(range(start, start + len(on))))
        self.fenced("rejects").commit(rows, [interval(start, start + len(on))])

    def derive(self, on: list[date], rows: int = 2) -> None:
        for day in on:
            self.fenced("vitals_by_hour").append_derived(
                filled("vitals_by_hour", [day] * rows, self.contracts, code=[f"c{n}" for n in range(rows)]),
                {"u": 1},
                day,
            )

    def judge(self, on: list[date]) -> None:
        self.fenced("quality_results").append_derived(filled("quality_results", on, self.contracts), {"u": 1})

    def rows(self, name: str = "vitals") -> pa.Table:
        return self.table(name).scan().to_arrow()

    def days(self, name: str = "vitals") -> list[date]:
        """The days that have a live file, each once."""
        return sorted(
            {date(1970, 1, 1) + timedelta(days=live.day) for live in self.files(name) if live.day is not None}
        )

    def states(self, *names: str) -> list[TableState]:
        return observe(self.catalog, self.settings.namespace, self.contracts, names or TABLES)

    def plan(self, *names: str, key_days: list[date] | None = None) -> RetentionPlan:
        cold = bool(self.settings.cold_warehouse)
        return plan_retention(self.states(*names), self.doer().holds.in_force(), self.now, cold, key_days or [])

    def doer(self, progress: Callable[[str], None] = lambda step: None, vault: Any = None) -> RetentionDoer:
        return RetentionDoer(
            self.settings,
            self.contracts,
            self.catalog,
            writer="test",
            clock=lambda: self.now,
            new_id=self.new_id,
            vault=vault,
            progress=progress,
        )

    def new_id(self) -> str:
        self.names += 1
        return f"r{self.names}"

    def run(self, *names: str, kinds: tuple[str, ...] = KINDS, vault: Any = None) -> Outcome:
        """What a nightly run does."""
        self.doer().settle(names or TABLES)
        key_days = vault.reject_key_days() if vault else []
        return self.doer(vault=vault).apply(self.plan(*names, key_days=key_days), kinds)

    def hold(self, table: str = "*", first: date | None = None, last: date | None = None, name: str = "h") -> None:
        self.doer().holds.place(Hold(name, table, first, last, "the court asks", "test", self.now))


def readings_on(on: list[date], rows: int, start: int) -> pa.Table:
    """`rows` readings on each of the days, at positions from `start` on."""
    n = len(on) * rows
    noons = np.repeat([int(at(day).timestamp() * 1e6) for day in on], rows).astype(np.int64)
    times = pa.array(noons + np.tile(np.arange(rows), len(on)) * 1_000_000, pa.timestamp("us", "UTC"))
    return pa.table(
        {
            "event_id": pa.array([f"e{start + each}" for each in range(n)]),
            "subject_token": pa.array(["t"] * n),
            "code": pa.array(["8867-4"] * n),
            "numeric_value": pa.array(np.arange(n, dtype=np.float64)),
            "event_time": times,
            "topic_id": pa.array([TOPIC] * n),
            "kafka_partition": pa.array(np.zeros(n, np.int32)),
            "kafka_offset": pa.array(np.arange(start, start + n, dtype=np.int64)),
            "kafka_time": times,
            "ingest_time": times,
        }
    )


def filled(name: str, on: list[date], contracts: Contracts, **columns: list[Any]) -> pa.Table:
    """A row a day of a table, every column with something of its type."""
    schema = arrow_schema(contracts.table(name))
    made = {"topic_id": [TOPIC] * len(on), "kafka_partition": [0] * len(on)} | columns
    arrays = [pa.array(made.get(field.name) or _something(field.type, on), field.type) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def _something(kind: pa.DataType, on: list[date]) -> list[Any]:
    if pa.types.is_timestamp(kind):
        return [at(day) for day in on]
    if pa.types.is_date(kind):
        return on
    words: dict[bool, Any] = {
        pa.types.is_string(kind): "x",
        pa.types.is_binary(kind): b"x",
        pa.types.is_boolean(kind): True,
        pa.types.is_list(kind): [],
    }
    return [words.get(True, 1)] * len(on)


def digest(rows: pa.Table) -> str:
    """Of the rows in whichever order."""
    lines = sorted(repr(sorted(row.items())) for row in rows.to_pylist())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _with(contracts: Contracts, classes: Mapping[str, RetentionClass]) -> Contracts:
    return Contracts(tuple(contracts.values()), {**contracts.retention_classes, **classes})


def cold(settings: Settings) -> Settings:
    """The same with a place for cold files beside the lake."""
    return replace(settings, cold_warehouse=settings.warehouse.rstrip("/") + "-cold")


class VaultOfDays:
    """The part of a vault that retention asks, as a file of days: what one process destroyed the next finds gone."""

    def __init__(self, file: Path, *on: date) -> None:
        self._file = file
        if on:
            self._write(on)

    def reject_key_days(self) -> list[date]:
        return [date.fromisoformat(line) for line in self._file.read_text().split()]

    def destroy_reject_key(self, day: date) -> None:
        self._write([each for each in self.reject_key_days() if each != day])

    def _write(self, on: Iterable[date]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text("\n".join(map(str, sorted(on))))
