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


def lead_on(stretch: Stretch, new: Sequence[float]) -> tuple[Stretch, Change | None]:
    """The detector after these numbers, none of them negative, and the change that came to light, if any: what it let
    go of against what it keeps."""
    from river.drift import ADWIN  # river takes a second and more to import

    # Asked at every number: river asks at every 32nd, and of a stretch that is cut to the same length at each look
    # these would never be new ones. None of 2,400 looks at full stretches that stay as they are told a change.
    detector, kept, gone = ADWIN(delta=DELTA, clock=1), [], []
    # Among those fed again too: a stretch that was cut begins elsewhere, and may show there what it did not before.
    for value in (*stretch.values, *new):
        kept.append(value)
        detector.update(sqrt(value))
        if detector.drift_detected and (width := int(detector.width)) < len(kept):
            gone += kept[:-width]
            kept = kept[-width:]
    change = Change(_mean(gone), _mean(kept), len(gone), len(kept)) if gone else None
    return Stretch(tuple(kept[-MOST:]), stretch.stays + len(new)), change


def cause(monitor: str, change: Change) -> Cause | None:
    """What a monitor's change points to: errors that grew ask for a retraining, scores that moved for a look. None for
    one that is small, or of errors that shrank."""
    moved = change.after - change.before
    if abs(moved) < LEAST_CHANGE[monitor] or (monitor == ERRORS and moved < 0):
        return None
    what = "squared error of risks" if monitor == ERRORS else "mean risk of a stay's first day"
    because = (
        f"{what} went from {change.before:.4f} to {change.after:.4f} "
        f"(ADWIN; {change.stays_before} stays before, {change.stays_after} since)"
    )
    return Cause(PERFORMANCE if monitor == ERRORS else SCORE_CHANGE, (monitor,), "all stays", abs(moved), because)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
