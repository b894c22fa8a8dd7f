"""Derived tables, a day at a time, as plain functions: what Dagster and tests call.

Holds: which sources a derived table reads, that they are released, that what comes out keeps the table's contract, and
the writing of each day whole.
Does not hold: Dagster (`derived.py`), queries (`warehouse/rollups.py`), pure functions (`pipelines/clinical`).

The first source that a contract names must be released. A further one may have nothing on the day and no verdict then;
where it has rows they must be released too. A source that is itself derived, and the registry of consent, which waits
for no verdict, are read as they stand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from assets.gate import Lake
from expectations.suites import suite_for
from expectations.validate import Day, validate_day
from pipelines.clinical.sensor_faults import sensor_faults
from pipelines.clinical.stays import Stay, movement_rows, stay_rows, stays
from warehouse.contract import Contracts, TableContract
from warehouse.days import EPOCH, EmptyTableError, Head, day_rows
from warehouse.offsets import Vector
from warehouse.release import DayNotReleasedError, released, releases
from warehouse.rollups import (
    QUERIES,
    Source,
    day_readings,
    lab_results,
    open_consent,
    open_day,
    research_cohort,
    rolled_up,
    told_scores,
)
from warehouse.settings import Settings
from warehouse.spans import span
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
        """All days at once, and written in one commit: what is made of rows of several days may change its own day."""
        try:
            head, made = self._folded(days)
        except DayNotReleasedError as error:
            return Derivation((), (str(error),))
        warnings = {day: self._judged(day, rows) for day, rows in made.items()}
        changed = {day: rows for day, rows in made.items() if not self._stands(day, rows)}
        heads = {self._table.derived_from[0]: head}
        snapshot_id = self._replace(changed, heads) if changed else None
        return Derivation(
            tuple(
                self._receipt(day, rows, heads, snapshot_id if day in changed else None, warnings[day])
                for day, rows in made.items()
            ),
            (),
        )

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
        fold, source = _FOLDS[self._table.name], self._table.derived_from[0]
        results = self._lake.verdicts_of(source)
        for day in days:
            released(results, source, day)
        head = self._lake.head(source)
        table = self._contracts.table(source)
        found = span(self._lake.session, table, fold.key, head, releases(results, source), days)
        schema = arrow_schema(self._table)
        made = fold.made(self._lake, table, found.rows, schema).cast(schema)
        numbers = made[self._column].cast(pa.int64()).to_numpy() // (24 * MICROSECONDS_AN_HOUR)
        return head, {day: made.filter(pa.array(numbers == (day - EPOCH).days)) for day in found.days}

    def _one(self, day: date) -> DerivedDay:
        rows, heads = self._made(day)
        warnings = self._judged(day, rows)
        return self._receipt(day, rows, heads, self._replace({day: rows}, heads), warnings)

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
            yield Source(table, head, self._released(table, head, day, place == 0) if table.gated else None)

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

    def _judged(self, day: date, rows: pa.Table) -> Mapping[str, int | None]:
        """What should hold of a day's rows and does not. Raises `DerivedDayError` for what must."""
        verdict = validate_day(Day(rows), self._suite)
        if not verdict.passed:
            raise DerivedDayError(f"{self._table.name}, {day}: {', '.join(verdict.failed)}; nothing was written")
        return verdict.warnings

    def _replace(self, days: Mapping[date, pa.Table], sources: Mapping[str, Head]) -> int | None:
        reads = {head.table_uuid: head.snapshot_id for head in sources.values()}
        return self._lake.replace(self._table.name, pa.concat_tables(days.values()), reads, days).snapshot_id

    def _receipt(
        self,
        day: date,
        rows: pa.Table,
        sources: Mapping[str, Head],
        snapshot_id: int | None,
        warnings: Mapping[str, int | None],
    ) -> DerivedDay:
        return DerivedDay(
            day,
            rows.num_rows,
            snapshot_id,
            self._lake.added_bytes(self._table.name, snapshot_id) if snapshot_id else 0,
            {name: head.snapshot_id for name, head in sources.items()},
            _by_hour(rows[self._column]),
            warnings,
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


@dataclass(frozen=True, slots=True)
class _Fold:
    """A table made of things that lie over several days: the columns of the source that name a thing, and how all rows
    of some things become rows."""

    key: tuple[str, ...]
    made: Callable[[Lake, TableContract, pa.Table, pa.Schema], pa.Table]


def _stays_as(rows_of: Callable[[list[Stay]], list[dict[str, Any]]]) -> _Fold:
    return _Fold(
        ("subject_token", "stay_id"),
        lambda lake, source, rows, schema: pa.Table.from_pylist(rows_of(stays(rows.to_pylist())), schema=schema),
    )


def _cohort(lake: Lake, name: str) -> pa.Table:
    """Rows of `research_cohort`: who consents is asked when it is made."""
    open_consent(lake.session, "research", "device.vitals", lake.streams, datetime.now(UTC))
    return research_cohort(lake.session)


def _shadow(lake: Lake, name: str) -> pa.Table:
    """Rows of `shadow_scores`: which model is the shadow is asked when they are made."""
    from pipelines.shadow_scoring import ShadowScorer  # models take a second to import, and other tables have none

    scorer = ShadowScorer(lake.settings, lake.contracts, lake.catalog, datetime.now(UTC))
    return scorer.rows(told_scores(lake.session), arrow_schema(lake.contracts.table(name)))


_FUNCTIONS: Mapping[str, Rows] = {"sensor_faults": _marks, "research_cohort": _cohort, "shadow_scores": _shadow}
_FOLDS: Mapping[str, _Fold] = {
    "stays": _stays_as(stay_rows),
    "stay_movements": _stays_as(movement_rows),
    "lab_results": _Fold(
        ("subject_token", "order_id", "code"),
        lambda lake, source, rows, schema: lab_results(lake.session, source, rows).select(schema.names),
    ),
}
