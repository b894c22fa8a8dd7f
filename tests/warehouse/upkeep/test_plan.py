"""The plan, for any state: what it may never do, and that doing what it says comes to an end."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from warehouse.upkeep.health import DUE, health_of
from warehouse.upkeep.plan import (
    FileState,
    MarkState,
    TableState,
    UpkeepPolicy,
    plan_compaction,
    plan_sweep,
    plan_upkeep,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
POLICY = UpkeepPolicy(target_bytes=1_000, group_rows=500, least_files=4)

sizes = st.integers(1, 1_500)
days = st.sampled_from([None, 20_000, 20_001])


@st.composite
def files(draw: st.DrawFn) -> tuple[FileState, ...]:
    drawn = draw(st.lists(st.tuples(days, sizes, st.integers(0, 400)), max_size=60))
    return tuple(FileState(f"f{n}", day, size, rows, n) for n, (day, size, rows) in enumerate(drawn))


def done(before: tuple[FileState, ...], policy: UpkeepPolicy = POLICY) -> tuple[FileState, ...]:
    """The files after the plan was carried out."""
    groups = plan_compaction(before, policy)
    gone = {file.location for group in groups for file in group.files}
    made = [FileState(f"{'+'.join(f.location for f in g.files)}", g.day, g.size_bytes, g.rows) for g in groups]
    return (*(file for file in before if file.location not in gone), *made)


@given(files())
def test_groups_are_of_one_day_within_bounds_and_no_file_is_in_two(before: tuple[FileState, ...]) -> None:
    groups = plan_compaction(before, POLICY)
    for group in groups:
        assert {file.day for file in group.files} == {group.day}
        assert len(group.files) >= 2
        assert group.size_bytes <= POLICY.target_bytes
        assert group.rows <= POLICY.group_rows
        assert all(POLICY.is_small(file) for file in group.files)
    times = Counter(file.location for group in groups for file in group.files)
    assert not times or max(times.values()) == 1


@given(files())
def test_no_file_is_rewritten_for_less_than_itself(before: tuple[FileState, ...]) -> None:
    for group in plan_compaction(before, POLICY):
        largest = max(file.size_bytes for file in group.files)
        assert 2 * largest <= group.size_bytes


@given(files())
def test_carrying_it_out_comes_to_an_end(before: tuple[FileState, ...]) -> None:
    rows, size = sum(f.rows for f in before), sum(f.size_bytes for f in before)
    for _ in range(8):
        after = done(before)
        assert (sum(f.rows for f in after), sum(f.size_bytes for f in after)) == (rows, size)
        if after == before:
            return
        before = after
    raise AssertionError("it never ends")


@given(files())
def test_few_small_files_of_a_day_are_left(before: tuple[FileState, ...]) -> None:
    for _ in range(8):
        before = done(before)
    for day in {file.day for file in before}:
        small = sorted((f.size_bytes for f in before if f.day == day and POLICY.is_small(f)), reverse=True)
        # What is left cannot be joined with what is as large as itself: sizes that at least halve, and a few beside.
        assert len(small) <= 10 + POLICY.least_files * (1 + sum(size > 250 for size in small))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=200))
def test_a_row_is_rewritten_seldom_however_often_files_come(commits: list[int]) -> None:
    """Files come one by one and are planned after each: what is written again stays below the logarithm of it all."""
    there: tuple[FileState, ...] = ()
    written = 0
    for n, size in enumerate(commits):
        there = (*there, FileState(f"c{n}", 20_000, size, 1, n))
        written += sum(group.size_bytes for group in plan_compaction(there, POLICY))
        there = done(there)
    total = sum(commits)
    assert written <= total * (2 + total.bit_length())


def state(**said: object) -> TableState:
    plain = TableState("t", 10, (), 3, (), (1, 1))
    return replace(plain, **said)  # ty: ignore[invalid-argument-type]


@given(st.integers(0, 10_000), st.integers(0, 100), st.integers(0, 5), st.timedeltas(timedelta(0), timedelta(hours=3)))
def test_nothing_is_deleted_before_its_time(objects: int, data: int, sequence: int, age: timedelta) -> None:
    mark = MarkState(NOW - age, sequence, objects, min(data, objects), 10 * objects)
    what, _ = plan_sweep(state(mark=mark), POLICY, NOW)
    if what == "delete":
        assert age >= POLICY.wait
    if what == "mark":
        assert not mark.data_files
        assert mark.objects < POLICY.least_objects


def test_a_sweep_that_did_not_end_goes_before_everything() -> None:
    mark = MarkState(NOW, 10, 500, 10, 1)
    assert plan_sweep(state(mark=mark, sweeping=3), POLICY, NOW)[0] == "resume"


def test_a_table_that_must_not_be_touched_gets_no_plan() -> None:
    many = tuple(FileState(f"f{n}", 1, 1, 1) for n in range(50))
    plan = plan_upkeep(state(files=many, refused="it has no vector"), POLICY, NOW)
    assert plan.empty
    assert plan.refused == "it has no vector"
    assert not health_of(state(files=many, refused="it has no vector"), POLICY, NOW).due


def test_a_table_to_which_nothing_came_has_nothing_to_do() -> None:
    looked = MarkState(NOW, 10, 0, 0, 0)
    idle = state(mark=looked)
    assert plan_upkeep(idle, POLICY, NOW + timedelta(days=400)).empty
    assert health_of(idle, POLICY, NOW + timedelta(days=400)).figure == 1


def test_health_falls_with_what_accumulates_and_says_why() -> None:
    figures = []
    for n in (0, 50, 100, 400):
        small = tuple(FileState(f"f{i}", 1, 1, 1) for i in range(n))
        found = health_of(state(files=small, mark=MarkState(NOW, 10, 0, 0, 0)), POLICY, NOW)
        figures.append(found.figure)
    assert figures == sorted(figures, reverse=True)
    assert figures[0] == 1
    assert figures[-1] <= DUE
    assert "399 of 400 files are small" in found.reason
    assert found.due
