"""The official utility of the PhysioNet/CinC Challenge 2019: what an alert in an hour is worth.

Holds: gains by row, and the normalised utility of alerts.
Does not hold: other measures (`evaluate`).

Source: Reyna et al., Critical Care Medicine 48(2):210-217, 2020. Onset is six hours after the first row labelled 1. An
alert pays from 12 hours before onset, most 6 hours before it, until 3 hours after; silence costs from 6 hours before.
Utility adds up over rows, so what one row's alert gains over silence is all that a decision needs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipelines.clinical.sepsis.panel import Integers

Bools = NDArray[np.bool_]
Doubles = NDArray[np.float64]

EARLIEST_H, BEST_H, LATEST_H = -12, -6, 3
MOST, TOO_EARLY, MISSED, FALSE_ALARM = 1.0, -0.05, -2.0, -0.05
LABEL_AHEAD_H = 6
NEVER_H = np.iinfo(np.int64).max


def hours_from_onset(labels: Bools, starts: Integers) -> Integers:
    """int64[n]: hours since onset, negative before it; `NEVER_H` in stays without sepsis."""
    rows, lengths = np.arange(len(labels)), np.diff(starts)
    first = np.minimum.reduceat(np.where(labels, rows, len(labels)), starts[:-1])
    onset = np.where(first < len(labels), first + LABEL_AHEAD_H, -1)
    by_row = np.repeat(onset, lengths)
    return np.where(by_row >= 0, rows - by_row, NEVER_H)


def alert_and_silence(labels: Bools, starts: Integers) -> tuple[Doubles, Doubles]:
    """float64[n] each: the utility of alerting in a row, and of not alerting in it."""
    since = hours_from_onset(labels, starts)
    septic = since != NEVER_H
    h = np.where(septic, since, 0).astype(np.float64)
    rising = np.maximum(MOST * (h - EARLIEST_H) / (BEST_H - EARLIEST_H), TOO_EARLY)
    falling = MOST * (LATEST_H - h) / (LATEST_H - BEST_H)
    paid = np.where(h <= BEST_H, rising, falling)
    missed = np.where(h <= BEST_H, 0.0, MISSED * (h - BEST_H) / (LATEST_H - BEST_H))
    over = h > LATEST_H
    alert = np.where(septic, np.where(over, 0.0, paid), FALSE_ALARM)
    silence = np.where(septic & ~over, missed, 0.0)
    return alert, silence


def gains(labels: Bools, starts: Integers) -> Doubles:
    """float64[n]: what an alert in a row gains over silence in it."""
    alert, silence = alert_and_silence(labels, starts)
    return alert - silence


def total_utility(labels: Bools, starts: Integers, alerts: Bools) -> float:
    """The utility of these alerts, not normalised."""
    alert, silence = alert_and_silence(labels, starts)
    return float(np.where(alerts, alert, silence).sum())


def normalised_utility(labels: Bools, starts: Integers, alerts: Bools) -> float:
    """1 for alerts in just the hours from 12 before to 3 after onset, 0 for none. NaN where nobody is septic."""
    since = hours_from_onset(labels, starts)
    best = (since >= EARLIEST_H) & (since <= LATEST_H)
    none = total_utility(labels, starts, np.zeros(len(labels), dtype=bool))
    reach = total_utility(labels, starts, best) - none
    return (total_utility(labels, starts, alerts) - none) / reach if reach else float("nan")


def utility_by_threshold(gain: Doubles, scores: Doubles) -> tuple[Doubles, Doubles]:
    """Scores in descending order, each once, and the summed gain of alerting at and above each."""
    order = np.argsort(-scores, kind="stable")
    ranked, summed = scores[order], np.cumsum(gain[order])
    last = np.append(ranked[1:] != ranked[:-1], True)
    return ranked[last], summed[last]
