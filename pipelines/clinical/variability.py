"""Variability of the heart rate: pure functions over beats, and over samples of the rate where beats are not known.

Source: Task Force of the European Society of Cardiology and the North American Society of Pacing and
Electrophysiology, Heart rate variability, Circulation 1996;93:1043: SDNN is the standard deviation of the intervals
between normal beats, RMSSD the root mean square of their successive differences; both here over windows of five
minutes. Intervals that touch a beat that is not normal are left out, and so is a difference across one.

Holds: the measures. Does not hold: the finding of beats in an electrocardiogram, windows in time, or alerts.
"""

from __future__ import annotations

import numpy as np

WINDOW_S = 300


def intervals_between_normal_beats(beats_s: np.ndarray, is_normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64[k]: intervals between successive beats that are both normal, in milliseconds; int64[k]: the index of the
    beat that ends each.

    Args:
        beats_s: float64[n], times of beats in seconds, rising. is_normal: bool[n].
    """
    both = is_normal[1:] & is_normal[:-1]
    ends = np.flatnonzero(both) + 1
    return (beats_s[ends] - beats_s[ends - 1]) * 1000, ends


def sdnn_ms(beats_s: np.ndarray, is_normal: np.ndarray) -> float:
    """Standard deviation (n - 1) of the intervals between normal beats, milliseconds; NaN with fewer than two."""
    intervals, _ = intervals_between_normal_beats(beats_s, is_normal)
    return float(np.std(intervals, ddof=1)) if len(intervals) > 1 else float("nan")


def rmssd_ms(beats_s: np.ndarray, is_normal: np.ndarray) -> float:
    """Root mean square of differences between successive intervals, milliseconds; NaN without any."""
    intervals, ends = intervals_between_normal_beats(beats_s, is_normal)
    successive = np.flatnonzero(np.diff(ends) == 1)
    differences = intervals[successive + 1] - intervals[successive]
    return float(np.sqrt(np.mean(differences**2))) if len(differences) else float("nan")


def by_window(
    beats_s: np.ndarray, is_normal: np.ndarray, window_s: float = WINDOW_S
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number of intervals, SDNN and RMSSD (milliseconds) of each window from time 0; an interval belongs where it ends.

    Every window at once, by sums: none is looked at twice.
    """
    intervals, ends = intervals_between_normal_beats(beats_s, is_normal)
    window = (beats_s[ends] // window_s).astype(np.int64)
    size = int(window.max(initial=-1)) + 1
    count = np.bincount(window, minlength=size)
    mean = np.bincount(window, intervals, size) / np.maximum(count, 1)
    squares = np.bincount(window, (intervals - mean[window]) ** 2, size)
    sdnn = np.sqrt(np.where(count > 1, squares / np.maximum(count - 1, 1), np.nan))
    pair = np.flatnonzero((np.diff(ends) == 1) & (np.diff(window) == 0))
    differences = (intervals[pair + 1] - intervals[pair]) ** 2
    pairs = np.bincount(window[pair], minlength=size)
    summed = np.bincount(window[pair], differences, size)
    return count, sdnn, np.sqrt(np.where(pairs > 0, summed / np.maximum(pairs, 1), np.nan))


def deviation(count: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """float64: standard deviation (n - 1) from whole-number sums, which do not depend on the order of adding; NaN with
    fewer than two. Of samples of the heart rate: what can be said of variability where beats are not known."""
    above = count * squares - total * total
    return np.sqrt(np.where(count > 1, above / np.maximum(count * (count - 1), 1), np.nan))
