"""The contract with Beam 2.77 that `EmbeddedRunner` stands on: delay, order, stop, failure, flat memory."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

import apache_beam as beam
import psutil
import pytest
from apache_beam.transforms.userstate import TimerSpec, on_timer
from apache_beam.utils.timestamp import Duration, Timestamp

from pipelines.runner import EmbeddedRunner
from pipelines.source import PositionProvider

SEEN: list[tuple[float, str, int]] = []


class Count(beam.DoFn):
    """Counts up to a limit, one number a call, asking for a pause between calls; None as limit counts for ever."""

    def __init__(self, limit: int | None, pause_s: float) -> None:
        self._limit, self._pause_s = limit, pause_s

    @beam.DoFn.unbounded_per_element()
    def process(self, name: str, tracker=beam.DoFn.RestrictionParam(PositionProvider())):  # noqa: B008
        position = tracker.current_restriction()[0].get((name, 0), 0)
        if self._limit is not None and position >= self._limit:
            tracker.try_claim(None)
            return
        tracker.try_claim({(name, 0): position + 1})
        yield name, position
        tracker.defer_remainder(Duration(seconds=self._pause_s))


class Note(beam.DoFn):
    def process(self, element):
        SEEN.append((time.monotonic(), *element))
        yield element


class Fail(beam.DoFn):
    def process(self, element):
        raise ValueError("planted")


class SetTimer(beam.DoFn):
    ALARM = TimerSpec("alarm", beam.TimeDomain.REAL_TIME)

    def process(self, element, alarm=beam.DoFn.TimerParam(ALARM)):  # noqa: B008
        alarm.set(Timestamp(0))

    @on_timer(ALARM)
    def ring(self):
        yield 1


@pytest.fixture(autouse=True)
def _nothing_seen_yet():
    SEEN.clear()


def run(limit, pause_s, names=("a",), runner=None, then=Note) -> EmbeddedRunner:
    runner = runner or EmbeddedRunner()
    pipeline = beam.Pipeline(runner=runner)
    counted = pipeline | beam.Create(list(names)) | beam.Reshuffle() | beam.ParDo(Count(limit, pause_s))
    counted | beam.ParDo(then())
    pipeline.run()
    return runner


def test_a_deferred_source_resumes_where_it_stood_and_the_run_ends_with_it():
    run(limit=20, pause_s=0)
    assert [position for _, _, position in SEEN] == list(range(20))


def test_two_sources_take_turns_and_lose_nothing():
    run(limit=20, pause_s=0, names=("a", "b"))
    for name in ("a", "b"):
        assert [p for _, n, p in SEEN if n == name] == list(range(20))


def test_the_delay_a_source_asks_for_is_kept():
    run(limit=5, pause_s=0.1)
    gaps = [later[0] - earlier[0] for earlier, later in pairwise(SEEN)]
    assert min(gaps) >= 0.095


def test_stop_ends_an_endless_run_between_bundles():
    runner = EmbeddedRunner()
    threading.Thread(target=_stop_once_it_runs, args=(runner,), daemon=True).start()
    run(limit=None, pause_s=0.01, runner=runner)
    assert SEEN


def _stop_once_it_runs(runner: EmbeddedRunner) -> None:
    while not SEEN:
        time.sleep(0.01)
    runner.stop.set()


def test_an_exception_in_a_step_ends_the_run():
    with pytest.raises(ValueError, match="planted"):
        run(limit=3, pause_s=0, then=Fail)


def test_timers_are_refused_rather_than_fired_early():
    pipeline = beam.Pipeline(runner=EmbeddedRunner())
    pipeline | beam.Create([("k", 1)]) | beam.ParDo(SetTimer())
    with pytest.raises(NotImplementedError, match="no timers"):
        pipeline.run()


def test_memory_stays_flat_over_two_thousand_bundles():
    run(limit=300, pause_s=0)
    before = psutil.Process().memory_info().rss
    run(limit=2_000, pause_s=0)
    assert psutil.Process().memory_info().rss - before < 16 << 20
