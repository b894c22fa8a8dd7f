"""Variability of the heart rate: worked by hand, against the annotated record 100, and its trend beside pressure."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.clinical.rule_packs import built_in
from pipelines.clinical.shock_trend import WINDOW_MS, Windows, trend
from pipelines.clinical.variability import by_window, rmssd_ms, sdnn_ms
from tests.examples import tried

RECORD = Path(__file__).parents[4] / "shared" / "data" / "waveforms" / "100.atr"
TOLD = built_in().rules["shock_trend"]
RATE_HZ = 360


def test_sdnn_and_rmssd_as_worked_by_hand():
    beats = np.cumsum([0.0, 0.8, 0.9, 1.0, 0.7])
    normal = np.ones(5, bool)
    assert sdnn_ms(beats, normal) == pytest.approx(129.0994, abs=1e-3)
    assert rmssd_ms(beats, normal) == pytest.approx(np.sqrt((100**2 + 100**2 + 300**2) / 3))


def test_intervals_that_touch_another_beat_are_left_out():
    beats = np.cumsum([0.0, 0.8, 0.4, 1.2, 0.8, 0.9])
    normal = np.array([True, True, False, True, True, True])
    assert sdnn_ms(beats, normal) == pytest.approx(np.std([800, 800, 900], ddof=1))
    assert rmssd_ms(beats, normal) == pytest.approx(100.0)


def annotations(path):
    """Sample number and type of every annotation of an MIT-format file (PhysioNet's WFDB), read from its definition."""
    words = np.frombuffer(path.read_bytes(), "<u2")
    found, at, now = [], 0, 0
    while words[at]:
        kind, step = int(words[at]) >> 10, int(words[at]) & 0x3FF
        at += 1
        if kind == 59:  # SKIP: four bytes, high half first
            now += (int(words[at]) << 16) + int(words[at + 1])
            at += 2
        elif kind == 63:  # AUX: that many bytes, padded to even
            at += (step + 1) // 2
        elif kind not in (60, 61, 62):  # NUM, SUB, CHN change other fields
            now += step
            found.append((now, kind))
    return found


BEATS = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 25, 30, 34, 35, 38, 41}


@pytest.mark.skipif(not RECORD.is_file(), reason="the annotated record 100 is not beside this checkout")
def test_the_windows_of_record_100_agree_with_its_annotations_one_by_one():
    """The record's beats, window by window, by the definitions alone: every interval looked at by itself."""
    beats = [(sample / RATE_HZ, kind == 1) for sample, kind in annotations(RECORD) if kind in BEATS]
    assert len(beats) == 2273, "the number of beats that the database's tables give for record 100"
    times, normal = (np.array(column) for column in zip(*beats, strict=True))
    count, sdnn, rmssd = by_window(times, normal)
    for window in range(6):
        intervals, differences, last = [], [], None
        for (before, was), (at, now) in pairwise(beats):
            if not (was and now):
                last = None
                continue
            interval = (at - before) * 1000
            if int(at // 300) == window:
                if last is not None and int(before // 300) == window:
                    differences.append((interval - last) ** 2)
                intervals.append(interval)
            last = interval
        assert count[window] == len(intervals)
        assert sdnn[window] == pytest.approx(np.std(intervals, ddof=1))
        assert rmssd[window] == pytest.approx(np.sqrt(np.mean(differences)))
    assert 20 < np.nanmean(sdnn) < 100
    assert sdnn_ms(times, normal) == pytest.approx(np.std(np.diff(times)[normal[1:] & normal[:-1]] * 1000, ddof=1))


def test_both_lines_must_fall():
    falling, level = np.linspace(4.0, 2.0, 12)[None, :], np.full((1, 12), 3.0)
    dropping, steady = np.linspace(85.0, 70.0, 12)[None, :], np.full((1, 12), 85.0)
    found = [trend(v, p).levels(TOLD)[0][0] for v, p in ((falling, dropping), (falling, steady), (level, dropping))]
    assert found == [1, 0, 0]


def test_too_few_windows_tell_nothing():
    falling, dropping = np.linspace(4.0, 2.0, 12)[None, :], np.linspace(85.0, 70.0, 12)[None, :]
    falling[0, 2:6] = np.nan
    level, clear = trend(falling, dropping).levels(TOLD)
    assert (level[0], clear[0]) == (0, False)
    assert trend(falling, dropping).windows[0] == 8


def readings(seed, rows):
    rng = np.random.default_rng(seed)
    at = rng.integers(0, 40 * WINDOW_MS, rows) if seed % 2 else np.sort(rng.integers(0, 40 * WINDOW_MS, rows))
    return (
        rng.integers(0, 3, rows),
        rng.random(rows) < 0.7,
        at + 10**12 // WINDOW_MS * WINDOW_MS,
        rng.uniform(60, 100, rows),
    )


def opened(columns, cuts):
    windows, found = Windows(capacity=1), []
    edges = [0, *sorted(cuts), len(columns[0])]
    for start, end in pairwise(edges):
        for turn in windows.advance(*(column[start:end] for column in columns), 12):
            for nth, row in enumerate(turn.row.tolist()):
                ends = (*turn.trend.variability, *turn.trend.pressure)
                found.append((start + row, int(turn.trend.windows[nth]), *(str(end[nth]) for end in ends)))
    return sorted(found), windows


@tried(20)
@given(st.integers(0, 1000), st.lists(st.integers(0, 800), max_size=6))
def test_any_cut_into_batches_judges_the_same_windows(seed, cuts):
    columns = readings(seed, 800)
    assert opened(columns, cuts)[0] == opened(columns, [])[0]


def test_sums_do_not_depend_on_the_order_of_arrival_within_a_window():
    slots, is_rate, at, values = readings(2, 800)
    at[:] = at[0] + np.arange(800) % WINDOW_MS
    order = np.random.default_rng(1).permutation(800)
    sums = [opened([column[by] for column in (slots, is_rate, at, values)], [])[1] for by in (np.arange(800), order)]
    for slot in range(3):
        first, second = ((w._rate[:, w._place[slot]], w._pressure[:, w._place[slot]]) for w in sums)
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
