"""What retention is about to do: a pure plan by the event time of partition days.

Holds: which days of which tables are due for what, and which are due but spared, with the reason for either.
Does not hold: looking at tables (observe.py), doing it (doer.py), what it costs (cost.py).

The age of a day is counted from its end, in whole days, so that each of its rows is at least that old. It is counted up
to a reference: `now`, or, for classes counted by the table, the end of the table's newest day where that is earlier.
What was written when, and by whom, plays no part: neither a rewrite of files nor a clock that runs on over an idle
table makes anything older.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from warehouse.retention.holds import Hold, holding
from warehouse.retention_classes import RetentionClass
from warehouse.snapshots import LiveFile
from warehouse.staging import EPOCH

COOL, WARM, REMOVE, DESTROY_KEY = "cool", "warm", "remove", "destroy_key"
KINDS = (COOL, WARM, REMOVE, DESTROY_KEY)
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TableState:
    """A table as retention sees it.

    Attributes:
        kept: its class. location: where its warm files lie.
        files: all live data files.
        undated: for a table that is not partitioned by day: rows by day of its time column (None: no time). None for
            one that is: its files say their day.
        refused: why retention cannot look at it; empty where it can.
    """

    table: str
    kept: RetentionClass
    location: str
    files: tuple[LiveFile, ...] = ()
    undated: Mapping[date | None, int] | None = None
    refused: str = ""

    def is_warm(self, live: LiveFile) -> bool:
        """Whether the file lies in the table's own folder; all others lie cold."""
        return live.file.file_path.startswith(f"{self.location.rstrip('/')}/")


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do with one day of a table.

    Attributes:
        kind: `cool`, `warm` (back from the cold), `remove`, or `destroy_key` (of the day's rejects; no files).
        files: those concerned. Of a table without days: all of them, of which the day's rows are taken.
        rows, bytes: of the day; bytes are estimated by rows where a file holds other days too.
    """

    kind: str
    table: str
    day: date
    files: tuple[LiveFile, ...]
    rows: int
    bytes: int
    retention_class: str
    undo_days: int
    reason: str


@dataclass(frozen=True, slots=True)
class Spared:
    """Days that stay as they are although their age says otherwise, and why. `day` None: the whole table."""

    table: str
    day: date | None
    rows: int
    bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What is due at `as_of` (aware), in the order it is done, and what is due and spared."""

    as_of: datetime
    actions: tuple[Action, ...]
    spared: tuple[Spared, ...]


def plan_retention(
    states: Iterable[TableState], holds: Iterable[Hold], now: datetime, cold: bool, key_days: Iterable[date] = ()
) -> RetentionPlan:
    """What is due at `now` (aware).

    `cold`: whether there is a place for cold files. `key_days`: days of which the vault has a key of rejects.

    A class that lets a day go wins over one that cools it; a hold wins over both.
    """
    states, holds = list(states), list(holds)
    found = [each for state in states for each in _of_table(state, holds, now, cold)]
    found += [each for state in states if state.table == "rejects" for each in _keys(state, holds, now, key_days)]
    actions = [each for each in found if isinstance(each, Action)]
    actions.sort(key=lambda action: action.kind == DESTROY_KEY)
    return RetentionPlan(now, tuple(actions), tuple(each for each in found if isinstance(each, Spared)))


def reference(kept: RetentionClass, days: Iterable[date], now: datetime) -> datetime:
    """What ages are counted up to: `now`, or the end of the newest of a table's days if that is earlier and the class
    counts by the table."""
    if kept.counted_by == "calendar":
        return now
    newest = max(days, default=None)
    return now if newest is None else min(now, end_of(newest))


def age_in_days(day: date, at: datetime) -> int:
    """Whole days from the end of a day (UTC) to `at`; negative before that."""
    return (at - end_of(day)) // DAY


def end_of(day: date) -> datetime:
    """The midnight (UTC) that ends a day."""
    return datetime.combine(day + DAY, time(), UTC)


def _of_table(state: TableState, holds: list[Hold], now: datetime, cold: bool) -> Iterator[Action | Spared]:
    if state.refused:
        yield Spared(state.table, None, 0, 0, state.refused)
        return
    days = _days(state)
    if nowhere := days.pop(None, None):
        yield Spared(state.table, None, nowhere.rows, nowhere.bytes, "rows without a time have no age: they stay")
    at = reference(state.kept, [day for day in days if day is not None], now)
    for day in sorted(day for day in days if day is not None):
        yield from _of_day(state, day, days[day], at, now, holds, cold)


@dataclass(slots=True)
class _Day:
    files: list[LiveFile]
    rows: int
    bytes: int


def _days(state: TableState) -> dict[date | None, _Day]:
    if state.undated is not None:
        rows, size = sum(state.undated.values()), sum(live.file.file_size_in_bytes for live in state.files)
        return {day: _Day(list(state.files), n, size * n // max(rows, 1)) for day, n in state.undated.items()}
    days: dict[date | None, _Day] = defaultdict(lambda: _Day([], 0, 0))
    for live in state.files:
        day = days[None if live.day is None else EPOCH + timedelta(days=live.day)]
        day.files.append(live)
        day.rows += live.file.record_count
        day.bytes += live.file.file_size_in_bytes
    return dict(days)


def _of_day(
    state: TableState, day: date, held: _Day, at: datetime, now: datetime, holds: list[Hold], cold: bool
) -> Iterator[Action | Spared]:
    kind, files, reason = _due(state, day, held.files, age_in_days(day, at))
    if kind is None:
        later, _, _ = _due(state, day, held.files, age_in_days(day, now))
        if later in (COOL, REMOVE):
            why = f"by the calendar it is due to {later}, but the table got no newer day since {at - DAY:%Y-%m-%d}"
            yield Spared(state.table, day, held.rows, held.bytes, why)
        return
    rows, size = held.rows, held.bytes
    if state.undated is None:
        rows, size = sum(f.file.record_count for f in files), sum(f.file.file_size_in_bytes for f in files)
    if hold := holding(holds, state.table, day):
        yield Spared(state.table, day, rows, size, f"due to {kind}, and held by {hold}")
    elif kind == COOL and not cold:
        why = "due to cool, and there is no cold place: set WARDSTREAM_COLD_WAREHOUSE"
        yield Spared(state.table, day, rows, size, why)
    else:
        kept = state.kept
        yield Action(kind, state.table, day, tuple(files), rows, size, kept.name, kept.undo_days, reason)


def _due(
    state: TableState, day: date, files: list[LiveFile], age: int
) -> tuple[str, list[LiveFile], str] | tuple[None, list[LiveFile], str]:
    """What a day of that age is due for, with which of its files, and why."""
    kept = state.kept
    since = f"the day ended {age} d before what ages are counted to"
    if kept.gone_after_days is not None and age >= kept.gone_after_days:
        return REMOVE, files, f"{since}; class {kept.name} lets it go after {kept.gone_after_days} d"
    if state.undated is not None:
        return None, [], ""
    warm = [live for live in files if state.is_warm(live)]
    if kept.cold_after_days is not None and age >= kept.cold_after_days:
        return (COOL, warm, f"{since}; class {kept.name} cools it after {kept.cold_after_days} d") if warm else _NOTHING
    if len(warm) < len(files):
        cool = [live for live in files if not state.is_warm(live)]
        return WARM, cool, f"{since}; class {kept.name} keeps it warm until {kept.cold_after_days or 'it goes'}"
    return _NOTHING


_NOTHING: tuple[None, list[LiveFile], str] = (None, [], "")


def _keys(state: TableState, holds: list[Hold], now: datetime, key_days: Iterable[date]) -> Iterator[Action | Spared]:
    """Keys of rejects whose days are over: with their day, whether or not the table has a row of it."""
    kept = state.kept
    if kept.gone_after_days is None:
        return
    for day in sorted(key_days):
        age = age_in_days(day, now)
        if age < kept.gone_after_days + kept.undo_days:
            continue
        if hold := holding(holds, state.table, day):
            yield Spared(state.table, day, 0, 0, f"its key is due to be destroyed, and held by {hold}")
        else:
            reason = f"the day ended {age} d ago; class {kept.name} destroys its key after {kept.gone_after_days} d"
            yield Action(DESTROY_KEY, state.table, day, (), 0, 0, kept.name, 0, reason)
