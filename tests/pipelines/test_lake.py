"""The lake's queue: contiguous commits, letting go, and a catch-up that never passes the live reader."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from pipelines.batch import MessageBatch, StreamBatch
from pipelines.committer import LakeTable
from pipelines.lake import Lake
from warehouse.commit import CommitReceipt
from warehouse.object_store import StoreUnavailableError
from warehouse.offsets import GapError, RolledBackError
from warehouse.settings import Settings

SCHEMA = pa.schema([("kafka_offset", pa.int64())])
TOPIC = "topic"


class FakeTable:
    """A fenced table in memory: what was committed, and a store that can be away."""

    def __init__(self) -> None:
        self.next = 0
        self.offsets: list[int] = []
        self.away = False

    def vector(self) -> dict:
        return {TOPIC: {0: self.next}}

    def commit(self, rows: pa.Table, intervals: list) -> CommitReceipt:
        if self.away:
            raise StoreUnavailableError("away")
        (interval,) = intervals
        if interval.start > self.next:
            raise GapError("hole")
        fresh = [offset for offset in rows["kafka_offset"].to_pylist() if offset >= self.next]
        self.offsets += fresh
        self.next = max(self.next, interval.end)
        return CommitReceipt(snapshot_id=1, rows=len(fresh), attempts=1, vector=self.vector())


def batch(start: int, end: int) -> StreamBatch:
    n = end - start
    offsets = np.arange(start, end, dtype=np.int64)
    messages = MessageBatch(
        "s",
        TOPIC,
        np.zeros(n, np.int32),
        offsets,
        np.zeros(n, np.int64),
        [b"k"] * n,
        [b"v" * 100] * n,
        {0: (start, end)},
    )
    rows = pa.table({"kafka_offset": offsets})
    return StreamBatch(messages, rows=rows, row_index=np.arange(n))


@pytest.fixture
def table() -> FakeTable:
    return FakeTable()


@pytest.fixture
def lake(table: FakeTable):
    settings = replace(Settings.from_environment({}), commit_seconds=0.05, lake_queue_bytes=1 << 15)
    sink = LakeTable("t", frozenset({"s"}), SCHEMA, lambda: table, lambda b: b.rows)
    lake = Lake(settings, [sink], catch_up=lambda lake: None)
    lake.starts_at({(TOPIC, 0): 0})
    yield lake
    lake.drain(1.0)


def until(holds) -> None:
    deadline = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def stop_the_store(lake: Lake, table: FakeTable) -> float:
    """Return when the committer has met the absence, so that what is offered next stays in the queue."""
    table.away = True
    lake.offer(batch(0, 50), may_wait=lambda: False)
    until(lambda: lake.waiting_for)
    return time.monotonic()


def fill(lake: Lake) -> None:
    for start in range(50, 1_000, 50):
        lake.offer(batch(start, start + 50), may_wait=lambda: False)


def test_what_is_offered_is_committed_once_and_in_order(lake, table):
    lake.offer(batch(0, 10), may_wait=lambda: False)
    lake.offer(batch(10, 30), may_wait=lambda: False)
    until(lambda: table.next == 30)
    assert table.offsets == list(range(30))


def test_a_hole_between_batches_ends_the_committer_instead_of_being_joined_over(lake):
    lake.offer(batch(0, 10), may_wait=lambda: False)
    lake.offer(batch(20, 30), may_wait=lambda: False)
    with pytest.raises(GapError):
        until(lambda: lake.raise_if_broken())
    next(iter(lake.committers.values())).error = None


def test_a_full_queue_is_let_go_at_once_when_nobody_may_wait(lake, table):
    began = stop_the_store(lake, table)
    fill(lake)
    assert lake.is_apart
    assert time.monotonic() - began < 1.0


def test_waiting_for_a_lake_that_does_not_get_on_has_an_end(lake, table):
    stop_the_store(lake, table)
    for start in range(50, 1_000, 50):
        lake.offer(batch(start, start + 50), may_wait=lambda: True, patience_s=0.2)
    assert lake.is_apart


def test_the_catch_up_never_passes_the_live_reader(lake, table):
    stop_the_store(lake, table)
    fill(lake)
    table.away = False
    lake.wait_until_idle()
    rest = lake.put(batch(0, 1_200), lake.given_up)
    assert rest.messages.intervals == {0: (1_000, 1_200)}, "alerts beyond 1,000 may not be told yet"
    until(lambda: table.next == 1_000)
    assert table.offsets == list(range(1_000))


def test_live_batches_are_taken_again_once_the_catch_up_stands_where_they_do(lake, table):
    stop_the_store(lake, table)
    fill(lake)
    table.away = False
    lake.wait_until_idle()
    assert not lake.met({(TOPIC, 0): 999}, lake.given_up)
    lake.put(batch(0, 1_000), lake.given_up)
    until(lambda: table.next == 1_000)
    assert lake.met({(TOPIC, 0): 1_000}, lake.given_up)
    lake.offer(batch(1_000, 1_010), may_wait=lambda: False)
    until(lambda: table.next == 1_010)
    assert table.offsets == list(range(1_010))


def test_a_committer_that_is_late_commits_all_that_waits_at_once(lake, table):
    is_in, may_go_on = threading.Event(), threading.Event()
    commit, sizes = table.commit, []

    def slowly(rows: pa.Table, intervals: list) -> CommitReceipt:
        sizes.append(rows.num_rows)
        is_in.set()
        may_go_on.wait(5)
        return commit(rows, intervals)

    table.commit = slowly
    lake.offer(batch(0, 10), may_wait=lambda: False)
    assert is_in.wait(5)
    for start in range(10, 100, 10):
        lake.offer(batch(start, start + 10), may_wait=lambda: False)
    time.sleep(0.1)  # longer than the time between commits: each of them is due by itself
    may_go_on.set()
    until(lambda: table.next == 100)
    assert sizes == [10, 90]


def test_what_was_given_up_is_not_committed_and_may_be_read_again_from_elsewhere(table):
    settings = replace(Settings.from_environment({}), commit_seconds=30.0)
    sink = LakeTable("t", frozenset({"s"}), SCHEMA, lambda: table, lambda b: b.rows)
    lake = Lake(settings, [sink], catch_up=lambda lake: None)
    lake.starts_at({(TOPIC, 0): 0})
    lake.offer(placed(batch(0, 10)), may_wait=lambda: False)
    lake.give_up({(TOPIC, 0)})
    table.next = 50  # another process committed meanwhile
    lake.starts_at({(TOPIC, 0): 50})
    lake.offer(placed(batch(50, 60)), may_wait=lambda: False)
    assert lake.drain(5.0)
    assert table.offsets == list(range(50, 60))


def test_what_another_process_committed_between_two_readings_is_no_hole(table):
    settings = replace(Settings.from_environment({}), commit_seconds=30.0)
    sink = LakeTable("t", frozenset({"s"}), SCHEMA, lambda: table, lambda b: b.rows)
    lake = Lake(settings, [sink], catch_up=lambda lake: None)
    lake.offer(batch(0, 10), may_wait=lambda: False)
    until(lambda: lake.settled() == {(TOPIC, 0): 0} and lake.held_bytes == batch(0, 10).rows.nbytes)
    table.next = 50
    lake.offer(batch(50, 60), may_wait=lambda: False)
    assert lake.drain(5.0)
    assert table.offsets == list(range(50, 60))


def test_a_catch_up_from_before_its_partition_was_given_up_and_taken_back_leaves_no_hole(table):
    settings = replace(Settings.from_environment({}), commit_seconds=30.0)
    sink = LakeTable("t", frozenset({"s"}), SCHEMA, lambda: table, lambda b: b.rows)
    lake = Lake(settings, [sink], catch_up=lambda lake: None)
    lake.starts_at({(TOPIC, 0): 100})
    began = lake.given_up
    lake.put(placed(batch(0, 10)), began)
    lake.give_up({(TOPIC, 0)})
    lake.starts_at({(TOPIC, 0): 100})
    assert lake.put(placed(batch(10, 20)), began).messages.intervals == {0: (10, 20)}
    assert not lake.met({(TOPIC, 0): 100}, began)
    lake.put(placed(batch(0, 30)), lake.given_up)
    assert lake.drain(5.0)
    assert table.offsets == list(range(30))


def placed(batch: StreamBatch) -> StreamBatch:
    n = batch.rows.num_rows
    rows = batch.rows.append_column("topic_id", pa.array([TOPIC] * n).dictionary_encode())
    return replace(batch, rows=rows.append_column("kafka_partition", pa.array(np.zeros(n, np.int32))))


def test_a_table_that_was_rolled_back_ends_the_process_even_where_nothing_new_comes(table):
    settings = replace(Settings.from_environment({}), commit_seconds=0.05)
    sink = LakeTable("t", frozenset({"s"}), SCHEMA, lambda: table, lambda b: b.rows)
    quiet = {1: 100}
    table.vector = lambda: {TOPIC: {0: table.next, **quiet}}
    lake = Lake(settings, [sink], catch_up=lambda lake: None)
    lake.offer(batch(0, 10), may_wait=lambda: False)
    until(lambda: table.next == 10)
    quiet[1] = 40
    lake.offer(batch(10, 20), may_wait=lambda: False)
    with pytest.raises(RolledBackError, match="stood at 100, is at 40"):
        until(lambda: lake.raise_if_broken())
    next(iter(lake.committers.values())).error = None
    lake.drain(1.0)


def test_rows_of_a_table_in_a_hurry_do_not_wait_as_long_as_the_settings_say(table):
    settings = replace(Settings.from_environment({}), commit_seconds=600.0)
    slow, quick = FakeTable(), table
    sinks = [
        LakeTable("slow", frozenset({"s"}), SCHEMA, lambda: slow, lambda b: b.rows),
        LakeTable("quick", frozenset({"s"}), SCHEMA, lambda: quick, lambda b: b.rows, commit_seconds=0.05),
    ]
    lake = Lake(settings, sinks, catch_up=lambda lake: None)
    lake.starts_at({(TOPIC, 0): 0})
    lake.offer(batch(0, 10), may_wait=lambda: False)
    until(lambda: quick.next == 10)
    assert slow.next == 0
    lake.drain(1.0)
    assert slow.next == 10
