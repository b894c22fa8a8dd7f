"""Changes along the stream of scores and of outcomes, in the order in which they came: one number a stay.

Holds: leading a detector on by new numbers, and what a change points to. Pure.
Does not hold: where the numbers come from, where a detector stands between two days (`warehouse/models/looks.py`).

The detector is ADWIN (Bifet and Gavaldà, 2007): it keeps the stretch of numbers since the last change and lets its
older part go where that has another mean for certain. It is fed a number a stay, since hours of one stay resemble each
other and would be taken for changes. What is kept of it is the stretch, numbers without names: fed anew, it stands
where it stood. It is fed their square roots: its bound is made for numbers between 0 and 1, and a mean risk of some
hundredths would have to double for thousands of stays before it were sure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from pipelines.clinical.sepsis.drift import PERFORMANCE, SCORE_CHANGE, Cause

SCORES, ERRORS = "scores", "errors"
DELTA = 0.002
"""ADWIN's bound on the chance of a false change at a look."""
MOST = 5000
"""Stays that a stretch keeps at most."""
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
    from river.drift import ADWIN  # river takes a second and more to import

    detector, kept, changes = ADWIN(delta=DELTA), list(stretch.values), []
    for value in kept:
        detector.update(sqrt(value))
    for value in new:
        kept.append(value)
        detector.update(sqrt(value))
        if detector.drift_detected and (width := int(detector.width)) < len(kept):
            old, kept = kept[:-width], kept[-width:]
            changes.append(Change(_mean(old), _mean(kept), len(old), len(kept)))
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


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
