"""Of two scores of one hour the one made later is told to be later, whatever the clock says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipelines.clinical.sepsis.score_times import ScoreTimes

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
MS = timedelta(milliseconds=1)


def scores(*hours: tuple[str, int]) -> list[Any]:
    return [SimpleNamespace(subject_token=token, hour_ms=hour) for token, hour in hours]


def test_a_look_has_one_time_but_for_an_hour_that_is_told_twice() -> None:
    look = ScoreTimes().look(scores(("t", 1), ("t", 2), ("u", 1), ("t", 1), ("t", 1)), NOW)
    assert look.at == NOW
    assert look.scored_at == (NOW - 2 * MS, NOW, NOW, NOW - MS, NOW)
    assert look.before == NOW - 3 * MS


def test_a_look_within_the_millisecond_or_under_a_clock_that_was_set_back_is_later_all_the_same() -> None:
    times = ScoreTimes()
    assert times.look(scores(("t", 1)), NOW).scored_at == (NOW,)
    assert times.look(scores(("t", 1), ("t", 1)), NOW).scored_at == (NOW + MS, NOW + 2 * MS)
    assert times.look(scores(("t", 1)), NOW - timedelta(hours=1)).scored_at == (NOW + 3 * MS,)
    assert times.look(scores(("t", 1)), NOW + timedelta(hours=1)).at == NOW + timedelta(hours=1)


@given(st.lists(st.tuples(st.integers(0, 5), st.lists(st.integers(0, 2), max_size=5)), max_size=6))
def test_the_times_of_an_hour_rise_and_nothing_is_later_than_its_look(looks: list[tuple[int, list[int]]]) -> None:
    times, told, ends = ScoreTimes(), dict[int, list[datetime]](), [datetime.min.replace(tzinfo=UTC)]
    for late_ms, hours in looks:
        look = times.look(scores(*(("t", hour) for hour in hours)), NOW + late_ms * MS)
        for hour, at in zip(hours, look.scored_at, strict=True):
            assert look.before < at <= look.at
            told.setdefault(hour, []).append(at)
        assert ends[-1] <= look.before
        ends.append(look.at)
    assert all(a < b for of_hour in told.values() for a, b in pairwise(of_hour))
