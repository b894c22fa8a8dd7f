"""Derived tables, a day at a time, as plain functions: what Dagster and tests call.

Holds: which sources a derived table reads, that they are released, that what comes out keeps the table's contract, and
the writing of each day whole.
Does not hold: Dagster (`derived.py`), queries (`warehouse/rollups.py`), pure functions (`pipelines/clinical`).

The first source that a contract names must be released. A further one may have nothing on the day and no verdict then;
where it has rows they must be released too. A source that is itself derived is read as it stands.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from assets.gate import Lake
from expectations.suites import suite_for
from expectations.validate import Day, validate_day
from pipelines.clinical.sensor_faults import sensor_faults
from pipelines.clinical.stays import Stay, movement_rows, stay_rows, stays
from warehouse.contract import Contracts, TableContract
from warehouse.days import EmptyTableError, Head, day_rows
from warehouse.offsets import Vector
from warehouse.release import DayNotReleasedError, released, releases
from warehouse.rollups import QUERIES, Source, day_readings, open_day, rolled_up
from warehouse.settings import Settings
from warehouse.stay_events import stay_events
from warehouse.tables import arrow_schema

Rows = Callable[[Lake, str], pa.Table]
MICROSECONDS_AN_HOUR = 3_600_000_000


class DerivedDayError(ValueError):
    """What was made of released rows does not keep its own contract; nothing was written. Names expectations only."""


@dataclass(frozen=True, slots=True)
class DerivedDay:
    """A day of a derived table as it now stands.

    Attributes:
        snapshot_id, added_bytes: None and 0 where the day stood so already, or is empty.
        sources: table -> snapshot that was read. by_hour: rows in each of the day's 24 hours.
        warnings: expectations that should hold and do not -> rows at fault.
    """

    day: date
    rows: int
    snapshot_id: int | None
    added_bytes: int
    sources: Mapping[str, int]
    by_hour: Sequence[int]
    warnings: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Derivation:
    """What became of the days asked for: those that stand, and a sentence for each that was refused."""

    done: tuple[DerivedDay, ...]
    refused: tuple[str, ...]


def derivable(table: TableContract) -> bool:
    """Whether anything here makes the table."""
    return table.name in QUERIES or table.name in _FUNCTIONS or table.name in _FOLDS


def derive(settings: Settings, contracts: Contracts, name: str, days: Sequence[date]) -> Derivation:
    """Make `days` (UTC) of a derived table again, each whole and by itself; idempotent. A day whose sources are not
    released is refused and does not stop the others. Raises `DerivedDayError`."""
    with Lake(settings) as lake:
        work = _Derived(lake, contracts, contracts.table(name))
        return work.folded(days) if name in _FOLDS else work.day_by_day(days)


def made_again(
    settings: Settings, contracts: Contracts, name: str, days: Sequence[date]
) -> Iterator[tuple[date, pa.Table, pa.Table] | str]:
    """Each of `days` (UTC) as it stands and as it would be made now, and nothing written; a sentence for each day that
    is refused."""
    with Lake(settings) as lake:
        work = _Derived(lake, contracts, contracts.table(name))
        yield from work.folded_again(days) if name in _FOLDS else work.days_again(days)


class _Derived:
    """One table's work in one session."""

    def __init__(self, lake: Lake, contracts: Contracts, table: TableContract) -> None:
        self._lake, self._contracts, self._table = lake, contracts, table
        self._suite = suite_for(table)

    def day_by_day(self, days: Sequence[date]) -> Derivation:
        done: list[DerivedDay] = []
        refused: list[str] = []
        for day in days:
            try:
                done.append(self._one(day))
            except DayNotReleasedError as error:
                refused.append(str(error))
        return Derivation(tuple(done), tuple(refused))

    def folded(self, days: Sequence[date]) -> Derivation:
        """All days at once: stays lie over several of them."""
        try:
            head, made = self._folded(days)
        except DayNotReleasedError as error:
            return Derivation((), (str(error),))
        sources = {self._table.derived_from[0]: head}
        return Derivation(tuple(self._write(day, rows, sources, unless_same=True) for day, rows in made.items()), ())

    def days_again(self, days: Sequence[date]) -> Iterator[tuple[date, pa.Table, pa.Table] | str]:
        """Each day as it stands and as it would be made now."""
        for day in days:
            try:
                made, _ = self._made(day)
            except DayNotReleasedError as error:
                yield str(error)
            else:
                yield day, self._standing(day), made

    def folded_again(self, days: Sequence[date]) -> Iterator[tuple[date, pa.Table, pa.Table] | str]:
        """The same of all days at once."""
        try:
            _, made = self._folded(days)
        except DayNotReleasedError as error:
            yield str(error)
            return
        none = arrow_schema(self._table).empty_table()
        yield from ((day, self._standing(day), made.get(day, none)) for day in days)

    def _folded(self, days: Sequence[date]) -> tuple[Head, dict[date, pa.Table]]:
        head, events, touched = self._events(days)
        schema = arrow_schema(self._table)
        of_day = _by_day(_FOLDS[self._table.name](stays(events)), self._column)
        return head, {day: pa.Table.from_pylist(of_day.get(day, []), schema=schema) for day in touched}

    def _events(self, days: Sequence[date]) -> tuple[Head, list[dict[str, Any]], tuple[date, ...]]:
        source = self._table.derived_from[0]
        results = self._lake.verdicts_of(source)
        for day in days:
            released(results, source, day)
        head = self._lake.head(source)
        found = stay_events(self._lake.session, head, releases(results, source), days)
        return head, found.events.to_pylist(), found.days

    def _one(self, day: date) -> DerivedDay:
        rows, heads = self._made(day)
        return self._write(day, rows, heads)

    def _made(self, day: date) -> tuple[pa.Table, dict[str, Head]]:
        """The day's rows as they are made now, and the heads that were read."""
        sources = tuple(self._sources(day))
        open_day(self._lake.session, day, sources)
        make = _FUNCTIONS.get(self._table.name, lambda lake, name: rolled_up(lake.session, name))
        schema = arrow_schema(self._table)
        rows = make(self._lake, self._table.name).select(schema.names).cast(schema)
        return rows, {source.table.name: source.head for source in sources if source.head}

    def _sources(self, day: date) -> Iterator[Source]:
        for place, name in enumerate(self._table.derived_from):
            table = self._contracts.table(name)
            try:
                head = self._lake.head(name)
            except EmptyTableError:
                if place == 0:
                    raise
                head = None
            yield Source(table, head, self._released(table, head, day, place == 0) if table.positioned else None)

    def _released(self, table: TableContract, head: Head | None, day: date, is_first: bool) -> Vector:
        results = self._lake.verdicts(table.name, day)
        assert table.partitioning is not None, "a table with a gate has days"
        column = table.partitioning.column
        judged = results.num_rows > 0
        if is_first or judged or (head and day_rows(self._lake.session, head, day, column).num_rows):
            return released(results, table.name, day).vector
        return {}

    @property
    def _column(self) -> str:
        assert self._table.partitioning is not None, "a derived table has days"
        return self._table.partitioning.column

    def _write(self, day: date, rows: pa.Table, sources: Mapping[str, Head], unless_same: bool = False) -> DerivedDay:
        verdict = validate_day(Day(rows), self._suite)
        if not verdict.passed:
            raise DerivedDayError(f"{self._table.name}, {day}: {', '.join(verdict.failed)}; nothing was written")
        snapshot_id = None
        if not (unless_same and self._stands(day, rows)):
            reads = {head.table_uuid: head.snapshot_id for head in sources.values()}
            snapshot_id = self._lake.replace(self._table.name, rows, reads, day).snapshot_id
        return DerivedDay(
            day,
            rows.num_rows,
            snapshot_id,
            self._lake.added_bytes(self._table.name, snapshot_id) if snapshot_id else 0,
            {name: head.snapshot_id for name, head in sources.items()},
            _by_hour(rows[self._column]),
            verdict.warnings,
        )

    def _stands(self, day: date, rows: pa.Table) -> bool:
        """Whether the day holds these very rows."""
        keys = [(name, "ascending") for name in self._table.primary_key]
        return self._standing(day).sort_by(keys).equals(rows.sort_by(keys))

    def _standing(self, day: date) -> pa.Table:
        """The day's rows as they are in the table."""
        schema = arrow_schema(self._table)
        try:
            return day_rows(self._lake.session, self._lake.head(self._table.name), day, self._column).cast(schema)
        except EmptyTableError:
            return schema.empty_table()


def _by_day(rows: list[dict[str, Any]], column: str) -> dict[date, list[dict[str, Any]]]:
    found: dict[date, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        found[row[column].date()].append(row)
    return found


def _by_hour(times: pa.ChunkedArray) -> list[int]:
    hours = times.cast(pa.int64()).to_numpy() // MICROSECONDS_AN_HOUR % 24
    return np.bincount(hours, minlength=24).tolist()


def _marks(lake: Lake, name: str) -> pa.Table:
    """Rows of `sensor_faults`: marks on both tables of readings."""
    return pa.concat_tables([_marks_on(lake, table) for table in ("vitals", "wearables")])


def _marks_on(lake: Lake, table: str) -> pa.Table:
    readings = day_readings(lake.session, table)
    marks = sensor_faults(readings)
    marked = readings.drop_columns(["numeric_value", "quality_flag", "samples", "period_ms"]).take(marks["reading"])
    return marked.append_column("fault", marks["fault"]).append_column(
        "table_name", pa.array([table] * marks.num_rows, pa.string())
    )


_FUNCTIONS: Mapping[str, Rows] = {"sensor_faults": _marks}
_FOLDS: Mapping[str, Callable[[list[Stay]], list[dict[str, Any]]]] = {
    "stays": stay_rows,
    "stay_movements": movement_rows,
}
