"""The arithmetic behind the figures, on cases worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from infra.bench.freshness import freshness
from infra.bench.ingest import steady_cost
from infra.bench.pair import Share, cost
from infra.bench.report import Spread, percentiles
from infra.bench.soak import Sample, slope_mib_a_minute

START = datetime(2026, 11, 22, tzinfo=UTC)


def _sent(rows: list[tuple[int, int, float]]) -> pa.Table:
    """Rows of (partition, offset, seconds after START)."""
    times = [START + timedelta(seconds=at) for _, _, at in rows]
    return pa.table(
        {
            "kafka_partition": pa.array([partition for partition, _, _ in rows], pa.int32()),
            "kafka_offset": pa.array([offset for _, offset, _ in rows], pa.int64()),
            "event_time": pa.array(times, pa.timestamp("us", "UTC")),
        }
    )


def _answer(at: float, **newest: int) -> dict:
    return {"at": START.timestamp() + at, "newest": {name[1:]: offset for name, offset in newest.items()}}


def test_a_row_is_seen_in_the_first_answer_that_reaches_its_position():
    sent = _sent([(0, 0, 0.0), (0, 1, 1.0), (1, 0, 1.0)])
    answers = [_answer(2.0, p0=0), _answer(3.0, p0=1), _answer(4.5, p0=1, p1=7)]
    np.testing.assert_allclose(freshness(sent, answers, from_ms=0), [2.0, 2.0, 3.5], atol=1e-6)


def test_rows_of_the_warm_up_are_left_out():
    sent = _sent([(0, 0, 0.0), (0, 1, 1.0)])
    waits = freshness(sent, [_answer(5.0, p0=1)], from_ms=(START.timestamp() + 0.5) * 1000)
    np.testing.assert_allclose(waits, [4.0], atol=1e-6)


def test_a_row_that_was_never_seen_is_no_figure():
    with pytest.raises(ValueError, match="never seen"):
        freshness(_sent([(0, 5, 0.0)]), [_answer(1.0, p0=4)], from_ms=0)


def test_steady_cost_is_of_the_rows_between_first_and_last_commit():
    course = [(0.0, 0.0), (10.0, 4.0), (20.0, 10.0), (30.0, 40.0)]
    assert steady_cost(
        [(10.0, 1_000_000), (12.0, 1_500_000), (15.0, 2_000_000), (20.0, 3_000_000)], course
    ) == pytest.approx(3.0)


def test_a_few_commits_have_no_steady_cost():
    assert steady_cost([(1.0, 5), (2.0, 9), (3.0, 12)], [(0.0, 0.0), (4.0, 4.0)]) is None


def test_a_spread_shows_median_least_and_most():
    assert str(Spread.of([3.0, 1.0, 2.0])) == "2.00 (1.00 to 3.00)"


def test_the_hundredth_percentile_is_called_the_maximum():
    assert percentiles(np.array([1.0, 2.0, 3.0])) == pytest.approx({"p50": 2.0, "p95": 2.9, "p99": 2.98, "max": 3.0})
    assert percentiles(np.array([])) == {}


def _grown(minute: float, mib: int, life: int = 0, age_s: float = 100.0) -> Sample:
    return Sample(minute * 60, {"stream": mib << 20, "store": 7 << 20}, life, age_s)


def test_the_slope_of_memory_is_that_within_lives_and_not_of_their_levels() -> None:
    samples = [_grown(0, 100), _grown(1, 102), _grown(2, 104), _grown(3, 10, 1), _grown(4, 12, 1)]
    assert slope_mib_a_minute(samples, "stream") == pytest.approx(2.0)
    assert slope_mib_a_minute(samples, "store") == 0.0


def test_young_processes_have_no_slope() -> None:
    with pytest.raises(ValueError, match="too few samples"):
        slope_mib_a_minute([_grown(n, 100 * n, age_s=10.0) for n in range(5)], "stream")


def test_the_cost_of_two_is_what_both_used_for_what_both_wrote() -> None:
    assert cost([Share(2.0, 1_000_000, 5, 0), Share(4.0, 1_000_000, 5, 1)]) == 3.0
