"""Silence is judged only where everything was read: one partition that lags keeps a whole shard's clock quiet."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipelines.batch import MessageBatch, StreamBatch
from pipelines.watch import Watch
from warehouse.settings import Settings

VITALS, RESULTS = "device.vitals", "lab.results"


class Ticks:
    """A monitor that counts how often it is told that time has passed."""

    streams = frozenset[str]()

    def __init__(self) -> None:
        self.count = 0

    def tick(self, now: object, has_left: object) -> list[Any]:
        self.count += 1
        return []


def shard(lagging: set[tuple[str, int]], trouble: str = "", until: tuple[Any, ...] = (), name: str = "own") -> Any:
    """An open shard as far as the watch asks it."""
    return SimpleNamespace(
        shard=SimpleNamespace(id=name, until=until),
        monitor=None,
        monitors=[Ticks()],
        scores=None,
        bedsides=SimpleNamespace(has_left=lambda patient: False),
        reader=SimpleNamespace(trouble=trouble, lagging=lambda: frozenset(lagging)),
    )


def decided(watch: Watch, state: Any, stream: str, partition: int, seconds_ago: float) -> None:
    appended_ms = np.array([int((time.time() - seconds_ago) * 1000)])
    messages = MessageBatch(
        stream, "t", np.array([partition], np.int32), np.array([0]), appended_ms, [None], [None], {partition: (0, 1)}
    )
    watch.show(state, StreamBatch(messages=messages, tokens=None, subjects=None))


@pytest.fixture
def watch(tmp_path: Path) -> Watch:
    def nobody() -> Any:
        raise AssertionError("nothing is to be sent")

    return Watch(Settings.from_environment({"WARDSTREAM_HOME": str(tmp_path)}), nobody)


def ticks(watch: Watch, state: Any) -> int:
    watch.turn(state)
    return state.monitors[0].count


def test_where_all_was_read_time_passes(watch: Watch) -> None:
    assert ticks(watch, shard(set())) == 1


def test_a_partition_that_is_being_read_as_it_comes_lets_time_pass(watch: Watch) -> None:
    state = shard({(VITALS, 0)})
    decided(watch, state, VITALS, 0, seconds_ago=1.0)
    assert ticks(watch, state) == 1


@pytest.mark.parametrize(("stream", "partition"), [(RESULTS, 0), (VITALS, 1)])
def test_a_topic_or_partition_at_its_end_says_nothing_of_one_that_lags(
    watch: Watch, stream: str, partition: int
) -> None:
    """After a standstill thin topics are read to their end at once, and readings of minutes are still to come."""
    state = shard({(VITALS, 0)})
    decided(watch, state, stream, partition, seconds_ago=0.0)
    decided(watch, state, VITALS, 0, seconds_ago=600.0)
    assert ticks(watch, state) == 0


def test_another_shard_that_is_live_says_nothing_of_a_backlog_taken_over(watch: Watch) -> None:
    own, taken_over = shard(set()), shard({(VITALS, 0)}, name="stand-in")
    decided(watch, own, VITALS, 0, seconds_ago=0.0)
    assert ticks(watch, taken_over) == 0
    assert ticks(watch, own) == 1


@pytest.mark.parametrize("state", [shard(set(), trouble="the broker is away"), shard(set(), until=((VITALS, 0, 9),))])
def test_where_the_broker_is_away_or_the_run_is_bounded_silence_means_nothing(watch: Watch, state: Any) -> None:
    assert ticks(watch, state) == 0
