"""Scores are behind the rules in every way: neither an error in them nor a broker that takes none holds anything up."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from pipelines.clinical.sepsis.stream_score import NOTHING
from pipelines.score_producer import ScoreProducer
from pipelines.score_watch import ScoreWatch
from warehouse.settings import Settings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Broken:
    """A model's monitor that fails when it is shown anything."""

    def observe(self, *_: object) -> None:
        raise ZeroDivisionError("P000001 has a heart rate of 0")


class Whole:
    """One that finds nothing, and counts."""

    shown = 0

    def __init__(self) -> None:
        self.asked: list[str] = []

    def observe(self, *_: object) -> object:
        self.shown += 1
        return NOTHING

    def settle(self, *_: object) -> object:
        self.asked.append("settle")
        return NOTHING

    def hasten(self, *_: object) -> object:
        self.asked.append("hasten")
        return NOTHING


def nowhere(home: object) -> Settings:
    return Settings.from_environment({"WARDSTREAM_HOME": str(home), "WARDSTREAM_KAFKA_BOOTSTRAP": "127.0.0.1:1"})


def no_producer() -> Any:
    raise AssertionError("no alert was due")


def test_an_error_in_scoring_ends_the_scores_of_its_shard_and_nothing_else(tmp_path, caplog) -> None:
    watch = ScoreWatch(nowhere(tmp_path), no_producer)
    broken, whole = SimpleNamespace(scores=Broken()), SimpleNamespace(scores=Whole())
    shown = whole.scores
    for _ in range(2):
        watch.show(broken, "device.vitals", pa.table({}), NOW)  # ty: ignore[invalid-argument-type]
        watch.show(whole, "device.vitals", pa.table({}), NOW)  # ty: ignore[invalid-argument-type]
    assert (broken.scores, whole.scores, shown.shown) == (None, shown, 2)
    assert "scoring ended (ZeroDivisionError)" in str(watch.said()["trouble"])
    assert "P000001" not in caplog.text + str(watch.said())


@pytest.mark.parametrize(("has_ended", "asked"), [(True, "settle"), (False, "hasten")])
def test_before_the_end_all_are_scored_where_nothing_comes_and_else_those_whose_turn_it_is(
    tmp_path, has_ended: bool, asked: str
) -> None:
    scores = Whole()
    state = SimpleNamespace(scores=scores, reader=SimpleNamespace(trouble=None), ended=lambda: has_ended)
    ScoreWatch(nowhere(tmp_path), no_producer).settle(state)  # ty: ignore[invalid-argument-type]
    assert scores.asked == [asked]


def test_a_broker_that_takes_no_score_holds_nobody_up(tmp_path) -> None:
    scores = ScoreProducer(nowhere(tmp_path))
    began = time.monotonic()
    scores.hand_over("clinical.scores", [(b"P000001", b"{}")] * 1000)
    assert time.monotonic() - began < 1.0
    assert scores.handed == {"clinical.scores": 1000}
    scores.settle(0.1)
    assert time.monotonic() - began < 2.0
