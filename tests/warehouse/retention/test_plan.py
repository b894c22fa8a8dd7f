"""Nothing early, nothing late, nothing lost: five years of days, any class, hold and idle time, a clock that moves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.typedef import Record

from tests.warehouse.retention.made import at, kept
from warehouse.retention.cost import EXAMPLES, PriceError, Prices, cost_of
from warehouse.retention.holds import Hold
from warehouse.retention.plan import (
    COOL,
    DESTROY_KEY,
    REMOVE,
    WARM,
    RetentionPlan,
    TableState,
    age_in_days,
    end_of,
    plan_retention,
)
from warehouse.retention_classes import RetentionClass
from warehouse.snapshots import LiveFile
from warehouse.staging import day_number

FIRST = date(2021, 11, 22)
YEARS = 5 * 365
WARM_PLACE, COLD_PLACE = "s3://lake/t", "s3://cold/t"
MIDNIGHT = time()


def a_file(day: date | None, number: int = 0, rows: int = 3, place: str = WARM_PLACE) -> LiveFile:
    file = DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=f"{place}/data/{day}/{number}.parquet",
        file_format=FileFormat.PARQUET,
        partition=Record(None if day is None else day_number(day)),
        record_count=rows,
        file_size_in_bytes=rows * 100,
    )
    return LiveFile(file, number + 1)


def a_state(files: Iterable[LiveFile], a_class: RetentionClass, table: str = "t") -> TableState:
    return TableState(table, a_class, WARM_PLACE, tuple(files))


def a_hold(table: str, first: date | None, last: date | None) -> Hold:
    return Hold("h", table, first, last, "the court asks", "test", at(FIRST))


def days_of(plan: RetentionPlan, kind: str) -> list[date]:
    return [action.day for action in plan.actions if action.kind == kind]


@dataclass
class Model:
    """A table in memory, to which plans are done at once."""

    a_class: RetentionClass
    table: str
    files: dict[tuple[date | None, int], LiveFile] = field(default_factory=dict)
    removed: int = 0
    born: int = 0

    def state(self) -> TableState:
        return a_state(self.files.values(), self.a_class, self.table)

    def land(self, day: date | None) -> None:
        self.born += 3
        self.files[day, len(self.files) + self.born] = a_file(day, self.born)

    def do(self, plan: RetentionPlan) -> None:
        by_path = {live.file.file_path: key for key, live in self.files.items()}
        for action in plan.actions:
            assert sum(live.file.record_count for live in action.files) == action.rows
            for live in action.files:
                key = by_path[live.file.file_path]
                if action.kind == REMOVE:
                    self.removed += self.files.pop(key).file.record_count
                else:
                    place = COLD_PLACE if action.kind == COOL else WARM_PLACE
                    self.files[key] = a_file(key[0], key[1], place=place)


@st.composite
def a_life(draw: st.DrawFn) -> tuple[RetentionClass, list[Hold], list[int], list[int], list[int]]:
    """A class, holds, days with rows (the idle ones left out), days on which retention runs, days of late rows."""
    gone = draw(st.none() | st.integers(2, YEARS))
    cold = draw(st.none() | st.integers(1, (gone or YEARS) - 1))
    counted_by = draw(st.sampled_from(["table", "calendar"]))
    a_class = kept("c", cold_after_days=cold, gone_after_days=gone, counted_by=counted_by)
    ends = st.none() | st.integers(0, YEARS).map(lambda n: FIRST + timedelta(days=n))
    holds = draw(st.lists(st.builds(a_hold, st.sampled_from(["t", "*", "other"]), ends, ends), max_size=3))
    idle_from = draw(st.integers(0, YEARS))
    idle_days = draw(st.integers(0, 900))
    step = draw(st.integers(1, 90))
    with_rows = [n for n in range(0, YEARS, step) if not idle_from <= n < idle_from + idle_days]
    runs = sorted(draw(st.sets(st.integers(0, YEARS + 4000), min_size=1, max_size=25)))
    late = draw(st.lists(st.integers(0, YEARS), max_size=5))
    return a_class, holds, with_rows, runs, late


@given(a_life())
def test_nothing_early_nothing_late_nothing_lost(
    life: tuple[RetentionClass, list[Hold], list[int], list[int], list[int]],
) -> None:
    a_class, holds, with_rows, runs, late = life
    model, landed = Model(a_class, "t"), 0
    model.land(None)
    for n, run in enumerate(runs):
        now = datetime.combine(FIRST + timedelta(days=run), time(2, 15), UTC)
        while landed < len(with_rows) and with_rows[landed] <= run:
            model.land(FIRST + timedelta(days=with_rows[landed]))
            landed += 1
        if n < len(late) and late[n] <= run:
            model.land(FIRST + timedelta(days=late[n]))
        before = model.state()
        plan = plan_retention([before], holds, now, cold=True)
        model.do(plan)
        _judge(before, plan, holds, now)
        _judge_what_stays(model, holds, now)
    assert sum(live.file.record_count for live in model.files.values()) + model.removed == model.born


def _judge(before: TableState, plan: RetentionPlan, holds: list[Hold], now: datetime) -> None:
    """Nothing is taken or moved before its time, and nothing that is held."""
    a_class = before.kept
    limits = {REMOVE: a_class.gone_after_days, COOL: a_class.cold_after_days}
    for action in plan.actions:
        assert not any(hold.covers("t", action.day) for hold in holds)
        if action.kind in limits:
            limit = limits[action.kind]
            assert limit is not None
            assert end_of(action.day) + timedelta(days=limit) <= now
    if a_class.counted_by == "table" and (dated := [live.day for live in before.files if live.day is not None]):
        newest = FIRST + timedelta(days=max(dated) - day_number(FIRST))
        assert newest not in days_of(plan, REMOVE)


def _judge_what_stays(model: Model, holds: list[Hold], now: datetime) -> None:
    """What stays is not due, or is held; rows without a day stay always."""
    state = model.state()
    assert any(live.day is None for live in state.files)
    dated = [live for live in state.files if live.day is not None]
    if not dated:
        return
    days = {live: FIRST + timedelta(days=(live.day or 0) - day_number(FIRST)) for live in dated}
    counted_to = min(now, end_of(max(days.values()))) if state.kept.counted_by == "table" else now
    for live, day in days.items():
        if any(hold.covers("t", day) for hold in holds):
            continue
        age = age_in_days(day, counted_to)
        assert state.kept.gone_after_days is None or age < state.kept.gone_after_days
        cold = state.kept.cold_after_days
        assert state.is_warm(live) == (cold is None or age < cold)


def test_a_day_goes_with_the_midnight_that_makes_its_last_row_old_enough() -> None:
    a_class = kept(counted_by="calendar", cold_after_days=None)
    state = a_state([a_file(FIRST)], a_class)
    due = datetime.combine(FIRST + timedelta(days=11), MIDNIGHT, UTC)
    assert plan_retention([state], [], due - timedelta(microseconds=1), True).actions == ()
    assert days_of(plan_retention([state], [], due, True), REMOVE) == [FIRST]


def test_an_idle_table_is_not_emptied_by_a_clock_that_runs_and_the_plan_says_so() -> None:
    state = a_state([a_file(FIRST + timedelta(days=n), n) for n in range(20)], kept())
    settled = [n for n in range(20) if 19 - n < 10]
    state = replace(state, files=tuple(state.files[n] for n in settled))
    cooled = plan_retention([state], [], at(date(2099, 1, 1)), True)
    assert days_of(cooled, REMOVE) == []
    assert {spared.day for spared in cooled.spared} >= {FIRST + timedelta(days=19)}
    assert all("no newer day since 2021-12-11" in spared.reason for spared in cooled.spared)


def test_a_class_of_the_calendar_empties_an_idle_table() -> None:
    state = a_state([a_file(FIRST)], kept(counted_by="calendar"))
    assert days_of(plan_retention([state], [], at(date(2099, 1, 1)), True), REMOVE) == [FIRST]


def test_a_clock_that_runs_ahead_makes_no_day_older_than_the_table_says() -> None:
    state = a_state([a_file(FIRST + timedelta(days=n), n) for n in range(9)], kept(cold_after_days=None))
    assert plan_retention([state], [], at(date(2126, 1, 1)), True).actions == ()


def test_files_of_another_sequence_or_time_of_writing_are_no_younger() -> None:
    """Upkeep that rewrites an old day does not keep it."""
    old = [a_file(FIRST, 10_000), *(a_file(FIRST + timedelta(days=n), n) for n in range(1, 12))]
    plan = plan_retention([a_state(old, kept())], [], at(FIRST + timedelta(days=11)), True)
    assert days_of(plan, REMOVE) == [FIRST]


def test_a_move_back_is_planned_where_the_class_now_keeps_it_warm() -> None:
    state = a_state([a_file(FIRST, place=COLD_PLACE)], kept(cold_after_days=None))
    assert days_of(plan_retention([state], [], at(FIRST), True), WARM) == [FIRST]


def test_a_table_without_days_gives_up_rows_by_their_time() -> None:
    state = replace(
        a_state([a_file(None, rows=4)], kept(counted_by="calendar")),
        undated={FIRST: 1, FIRST + timedelta(days=5): 2, None: 1},
    )
    plan = plan_retention([state], [], at(FIRST + timedelta(days=12)), True)
    assert [(action.kind, action.day, action.rows, action.bytes) for action in plan.actions] == [
        (REMOVE, FIRST, 1, 100)
    ]
    assert [spared.reason for spared in plan.spared] == ["rows without a time have no age: they stay"]


def test_a_table_that_cannot_be_looked_at_is_named_with_the_reason() -> None:
    state = replace(a_state([], kept()), refused="it is too large")
    assert [spared.reason for spared in plan_retention([state], [], at(FIRST), True).spared] == ["it is too large"]


def test_keys_of_rejects_go_after_the_undo_window_and_after_their_rows() -> None:
    a_class = kept("rejects", cold_after_days=None, counted_by="calendar", undo_days=2)
    state = a_state([a_file(FIRST)], a_class, "rejects")
    keys = [FIRST, FIRST + timedelta(days=1)]
    at_ten = plan_retention([state], [], at(FIRST + timedelta(days=11)), True, keys)
    assert (days_of(at_ten, REMOVE), days_of(at_ten, DESTROY_KEY)) == ([FIRST], [])
    later = plan_retention([state], [], at(FIRST + timedelta(days=13)), True, keys)
    assert [action.kind for action in later.actions] == [REMOVE, DESTROY_KEY]
    assert days_of(later, DESTROY_KEY) == [FIRST]


def test_cost_is_what_the_tiers_hold_before_and_after() -> None:
    files = [a_file(FIRST + timedelta(days=n), n, rows=10_000_000) for n in range(12)]
    state = a_state(files, kept())
    plan = plan_retention([state], [], at(FIRST + timedelta(days=11)), True)
    prices = Prices.of({"warm": "0.02", "cold": "0.01", "currency": "EUR"})
    cost = cost_of([state], plan, prices)
    assert (cost.before.warm_bytes, cost.before.cold_bytes) == (12_000_000_000, 0)
    assert (cost.after.warm_bytes, cost.after.cold_bytes) == (4_000_000_000, 7_000_000_000)
    assert (cost.before.monthly, cost.after.monthly) == pytest.approx((0.24, 0.15))
    assert cost.requests == {"put": 8 * 4, "get": 7, "cold_put": 7, "cold_get": 0}
    assert set(prices.examples) == set(EXAMPLES) - {"warm", "cold"}
    assert prices.currency == "EUR"


@pytest.mark.parametrize("given_", [{"warm": "cheap"}, {"warm": "-1"}, {"worm": "1"}])
def test_prices_that_are_none_are_refused(given_: dict[str, str]) -> None:
    with pytest.raises(PriceError, match="WARDSTREAM_PRICES takes"):
        Prices.of(given_)
