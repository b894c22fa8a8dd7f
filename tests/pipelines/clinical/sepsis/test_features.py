"""A row's features: what they say, and that they rest on the window alone."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.clinical.sepsis import features as module
from pipelines.clinical.sepsis.features import FEATURES, WINDOW_H, features, newest_features
from pipelines.clinical.sepsis.panel import Panel, newest, of_stays
from pipelines.clinical.sepsis.variables import INDEX, VARIABLES
from tests.pipelines.clinical.sepsis.stays import made_up


def stay(**columns: list[float]) -> Panel:
    rows = len(next(iter(columns.values())))
    values = np.full((rows, len(VARIABLES)), np.nan, dtype=np.float32)
    for name, column in columns.items():
        values[:, INDEX[name]] = column
    hour = np.arange(1, rows + 1)
    one = np.full(rows, np.nan, dtype=np.float32)
    return Panel(values, np.array([0, rows]), hour, one, one, one, one)


def value(panel: Panel, name: str, row: int = -1) -> float:
    return float(features(panel)[row, FEATURES.index(name)])


@pytest.mark.parametrize("seed", range(4))
def test_a_ring_of_the_window_gives_the_bits_of_the_whole_stay(seed: int) -> None:
    panel, random = made_up(40, seed, longest=200), np.random.default_rng(seed)
    for _ in range(5):
        kept = np.array([random.integers(1, length + 1) for length in np.diff(panel.starts)])
        cut = first_hours(panel, kept)
        whole = features(panel)[panel.starts[:-1] + kept - 1]
        assert newest_features(newest(cut, WINDOW_H)).tobytes() == whole.tobytes()


def test_one_hour_less_than_the_window_is_not_enough() -> None:
    panel = made_up(40, 7, longest=200)
    assert newest_features(newest(panel, WINDOW_H - 1)).tobytes() != newest_features(panel).tobytes()


def test_no_row_depends_on_a_later_one() -> None:
    panel = made_up(60, 11)
    kept = np.maximum(np.diff(panel.starts) // 2, 1)
    cut = first_hours(panel, kept)
    rows = np.concatenate([np.arange(start, start + hours) for start, hours in zip(panel.starts, kept, strict=False)])
    assert features(cut).tobytes() == features(panel)[rows].tobytes()


def test_stays_do_not_know_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = made_up(30, 3)
    alone = [features(of_stays(panel, np.array([number]))) for number in range(panel.stays)]
    monkeypatch.setattr(module, "BLOCK_ROWS", 10**6)
    assert features(panel).tobytes() == np.concatenate(alone).tobytes()


def test_leading_hours_without_a_measurement_change_nothing() -> None:
    readings = [90.0, 95.0, 80.0]
    late = stay(HR=[np.nan] * 9 + readings)
    assert np.array_equal(features(stay(HR=readings))[:, :-1], features(late)[-3:, :-1], equal_nan=True)


def test_windows_say_what_a_plain_reckoning_says() -> None:
    panel = made_up(4, 5)
    got = features(panel)
    for name in ("HR", "DBP", "Lactate", "WBC"):
        column = panel.values[:, INDEX[name]].astype(np.float64)
        for row, first in enumerate(panel.starts[panel.stay_of_row()]):
            seen = column[max(first, row - WINDOW_H + 1) : row + 1]
            known = seen[~np.isnan(seen)]
            expected = {
                "last": known[-1] if len(known) else np.nan,
                "since_h": len(seen) - 1 - np.flatnonzero(~np.isnan(seen))[-1] if len(known) else WINDOW_H,
            }
            if name in ("HR", "DBP"):
                day, short = seen[-24:][~np.isnan(seen[-24:])], seen[-6:][~np.isnan(seen[-6:])]
                expected |= {
                    "mean_6h": np.mean(short) if len(short) else np.nan,
                    "min_6h": short.min() if len(short) else np.nan,
                    "max_24h": day.max() if len(day) else np.nan,
                    "mean_24h": np.mean(day) if len(day) else np.nan,
                    "spread_24h": np.std(day) if len(day) else np.nan,
                    "count_24h": len(day),
                }
            else:
                expected |= {
                    "change": known[-1] - known[-2] if len(known) > 1 else np.nan,
                    "min": known.min() if len(known) else np.nan,
                    "max": known.max() if len(known) else np.nan,
                    "count": len(known),
                }
            for word, truth in expected.items():
                np.testing.assert_allclose(got[row, FEATURES.index(f"{name}_{word}")], truth, rtol=2e-4, atol=5e-2)


def test_partial_scores_are_those_worked_by_hand() -> None:
    septic = stay(
        HR=[118.0], Resp=[26.0], Temp=[39.2], SBP=[88.0], DBP=[46.0], MAP=[60.0], O2Sat=[92.0], FiO2=[40.0],
        WBC=[17.0], Platelets=[80.0], Bilirubin_total=[2.5], Creatinine=[2.2],
    )  # fmt: skip
    assert value(septic, "sirs") == 4
    assert value(septic, "qsofa_partial") == 2
    assert value(septic, "sofa_partial") == 2 + 2 + 2 + 1 + 2
    assert value(septic, "news2_partial") == 3 + 2 + 2 + 3 + 2 + 2
    assert value(septic, "shock_index") == pytest.approx(118 / 88)


def test_what_was_never_measured_scores_nothing_and_is_not_normal() -> None:
    blank = stay(HR=[np.nan, np.nan])
    assert value(blank, "news2_partial") == 0
    assert np.isnan(value(blank, "Lactate_last"))
    assert value(blank, "Lactate_since_h") == WINDOW_H


def first_hours(panel: Panel, kept: np.ndarray) -> Panel:
    """The first `kept` hours of each stay, cut by hand and not by the product's own cutting."""
    rows = np.concatenate([np.arange(start, start + hours) for start, hours in zip(panel.starts, kept, strict=False)])
    starts = np.concatenate([[0], np.cumsum(kept)])
    columns = (panel.hour, panel.age, panel.sex, panel.admission_h, panel.unit)
    return Panel(panel.values[rows], starts, *(column[rows] for column in columns))
