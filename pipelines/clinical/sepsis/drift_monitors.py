"""Changes along the stream of scores and of outcomes, in the order in which they came: one number a stay.

Holds: leading a detector on by new numbers, and what a change points to. Pure.
Does not hold: where the numbers come from, where a detector stands between two days (`warehouse/models/looks.py`).

The detector is ADWIN (Bifet and Gavaldà, 2007): it says when the older part of the stretch of numbers since the last
change has another mean for certain. It is fed a number a stay, since hours of one stay resemble each other and would be
taken for changes. What is kept of it is the stretch, numbers without names: fed anew, without a test, it stands where
it stood. It is fed their square roots: its bound is made for numbers between 0 and 1, and a mean risk of some
hundredths would have to double for thousands of stays before it were sure.

Each number is tested once, when it is new (decision 34). The stretch then begins anew where its two parts differ most:
ADWIN's own way, a few numbers at a time, tells one change over and over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from pipelines.clinical.sepsis.drift import PERFORMANCE, SCORE_CHANGE, Cause

if TYPE_CHECKING:
    from river.drift import ADWIN

SCORES, ERRORS = "scores", "errors"
DELTA = 0.002
"""ADWIN's bound on the chance of a false change at a look."""
MOST = 5000
"""Stays that a stretch keeps at most."""
LEAST_PART = 5
"""Numbers on either side of a change, at least; ADWIN's own least."""
LEAST_CHANGE = {SCORES: 0.005, ERRORS: 0.005}
"""Of the mean; less is sure, perhaps, but small."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where a detector stands: the numbers since the last change, and how many stays it has seen in all."""

    values: tuple[float, ...] = ()
    stays: int = 0

    @property
    def mean(self) -> float:
        return sum(self.values) / len(self.values) if self.values else 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """A mean that changed: before, after, and over how many stays each."""

    before: float
    after: float
    stays_before: int
    stays_after: int


def lead_on(stretch: Stretch, new: Sequence[float]) -> tuple[Stretch, tuple[Change, ...]]:
    """The detector after these numbers, none of them negative, and the changes they brought to light."""
    kept, changes = list(stretch.values), []
    detector = _standing_after(kept)
    for value in new:
        kept.append(value)
        detector.update(sqrt(value))
        if detector.drift_detected:
            at = _parting(kept)
            old, kept = kept[:at], kept[at:]
            changes.append(Change(_mean(old), _mean(kept), len(old), len(kept)))
            detector = _standing_after(kept)
    return Stretch(tuple(kept[-MOST:]), stretch.stays + len(new)), tuple(changes)


def causes(monitor: str, changes: Sequence[Change]) -> tuple[Cause, ...]:
    """What the changes of a monitor point to: errors that grew ask for a retraining, scores that moved for a look."""
    told = []
    for each in changes:
        moved = each.after - each.before
        if abs(moved) < LEAST_CHANGE[monitor] or (monitor == ERRORS and moved < 0):
            continue
        what = "squared error of risks" if monitor == ERRORS else "mean risk of a stay's first day"
        because = (
            f"{what} went from {each.before:.4f} to {each.after:.4f} "
            f"(ADWIN; {each.stays_before} stays before, {each.stays_after} since)"
        )
        kind = PERFORMANCE if monitor == ERRORS else SCORE_CHANGE
        told.append(Cause(kind, (monitor,), "all stays", abs(moved), because))
    return tuple(told)


def _standing_after(values: Sequence[float]) -> ADWIN:
    """A detector that knows these numbers and tests from the next one on, at each: at every 32nd, as is usual, those
    of a day with few stays would never be tested, since each look counts from the stretch's first number."""
    from river.drift import ADWIN  # river takes a second and more to import

    detector = ADWIN(delta=DELTA, clock=1, grace_period=max(2 * LEAST_PART, len(values)))
    for value in values:
        detector.update(sqrt(value))
    return detector


def _parting(values: Sequence[float]) -> int:
    """How many numbers lie before the change: where the means of both parts differ most, for their lengths."""
    fed = np.sqrt(values)
    before = np.arange(LEAST_PART, len(fed) - LEAST_PART + 1)
    after, summed = len(fed) - before, np.cumsum(fed)
    apart = summed[before - 1] / before - (summed[-1] - summed[before - 1]) / after
    return int(before[np.argmax(np.abs(apart) * np.sqrt(before * after))])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
