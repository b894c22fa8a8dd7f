"""What stands in a day twice: found only where it can be, put on record, then taken out; nothing else is."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest

from tests.warehouse.fenced import TOPIC, each_once, interval, positions, readings
from tests.warehouse.upkeep.kept import fenced, loaded, repeated, small_files, upkeep
from warehouse.contract import load_contracts
from warehouse.days import changes_since
from warehouse.settings import Settings
from warehouse.snapshots import Head, live_files, manifests_of
from warehouse.upkeep.duplicates import deduplication_of, may_repeat
from warehouse.upkeep.plan import UpkeepPolicy


def recorded(settings: Settings) -> list[dict]:
    return sorted(loaded(settings, "duplicates").scan().to_arrow().to_pylist(), key=lambda row: row["kafka_offset"])


def test_the_first_stays_and_the_others_are_on_record(store_lake: Settings) -> None:
    small_files(store_lake)
    again = repeated(store_lake)
    done = upkeep(store_lake).run("vitals")
    assert (done.recorded, sum(each.duplicates for each in done.compacted)) == (3, 3)
    assert positions(store_lake) + Counter(again) == each_once(0, 70)
    rows = recorded(store_lake)
    assert [(row["topic_id"], row["kafka_partition"], row["kafka_offset"]) for row in rows] == again
    assert [row["first_offset"] for row in rows] == [10, 11, 12]
    assert {row["stream"] for row in rows} == {"device.vitals"}
    assert [row["event_id"] for row in rows] == readings(10, 13)["event_id"].to_pylist()
    assert all(row["kafka_time"] == datetime(2026, 3, 4, 12, 0, 0, n * 1000, UTC) for n, row in enumerate(rows, 2))
    assert fenced(store_lake, "duplicates").vector() == {TOPIC: {0: 70}}


def test_a_day_that_lost_rows_is_news_to_what_was_made_of_it(store_lake: Settings) -> None:
    small_files(store_lake)
    repeated(store_lake)
    seen = loaded(store_lake).current_snapshot().sequence_number
    upkeep(store_lake).run("vitals")
    assert sum(changes_since(loaded(store_lake), seen).rows.values()) == 67


def test_a_second_run_records_and_removes_nothing_more(store_lake: Settings) -> None:
    small_files(store_lake)
    repeated(store_lake)
    upkeep(store_lake).run("vitals")
    again = upkeep(store_lake).run("vitals")
    assert (again.recorded, len(again.compacted)) == (0, 0)
    assert len(recorded(store_lake)) == 3


def test_what_is_in_a_file_that_is_not_small_goes_too(folder_lake: Settings) -> None:
    small_files(folder_lake, commits=1, rows=60)
    again = repeated(folder_lake)
    # Ten rows are many; two files of two rows after them make the day's turn come.
    policy = UpkeepPolicy(group_rows=12, least_files=2)
    fenced(folder_lake).commit(readings(70, 72), [interval(70, 72)])
    fenced(folder_lake).commit(readings(72, 74), [interval(72, 74)])
    done = upkeep(folder_lake, policy).run("vitals")
    assert sum(each.duplicates for each in done.compacted) == 3
    assert not set(again) & set(positions(folder_lake))


def test_the_same_event_id_in_another_partition_is_another_event(folder_lake: Settings) -> None:
    small_files(folder_lake, commits=0)
    table = fenced(folder_lake)
    other = "another-topic"
    table.establish(other, {0: 0})
    fenced(folder_lake, "duplicates").establish(other, {0: 0})
    for n in range(4):
        rows = readings(n, n + 1, topic=other, first_us=1_772_366_400_000_000 + n)
        table.commit(rows.set_column(0, "event_id", readings(0, 1)["event_id"]), [interval(n, n + 1, topic=other)])
    table.commit(readings(0, 1), [interval(0, 1)])
    upkeep(folder_lake).run("vitals")
    assert (TOPIC, 0, 0) in positions(folder_lake)


def test_the_look_is_spared_where_the_stream_remembers_all(folder_lake: Settings) -> None:
    small_files(folder_lake)
    known = deduplication_of(load_contracts().table("vitals"), load_contracts())
    table = loaded(folder_lake)
    files = live_files(Head(table, manifests_of(table)), table.io)
    assert known is not None
    assert not may_repeat(table, files, known)
    repeated(folder_lake)
    table = loaded(folder_lake)
    assert may_repeat(table, live_files(Head(table, manifests_of(table)), table.io), known)


@pytest.mark.parametrize("name", ["duplicates", "rejects", "vitals_by_minute", "stays", "quality_results"])
def test_tables_whose_rows_are_not_a_stream_s_events_have_no_duplicates(name: str) -> None:
    contracts = load_contracts()
    assert deduplication_of(contracts.table(name), contracts) is None
