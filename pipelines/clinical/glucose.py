"""Glucose out of range for too long: a pure function over samples, and the samples of each subject it needs.

Source: Danne et al., International Consensus on Use of Continuous Glucose Monitoring, Diabetes Care 2017;40:1631, and
Battelino et al., 2019;42:1593: below 70 or above 180 mg/dL for 15 minutes or longer is an event; below 54 mg/dL is
clinically significant at once.

Holds: the excursion and the window of samples. Does not hold: the numbers (a rule pack), or alerts.

In words, for the samples of one subject by event time: the time between two consecutive samples that are both beyond
the limit is proven time out of range, unless they lie more than `GAPS` sensor intervals apart: such a gap neither
proves nor resets. A sample inside the limit by the margin ends the excursion; one between limit and margin neither
proves nor ends. More proven time than the limit allows, at a sample that is beyond it, alerts; beyond the urgent limit
a single sample does. Of each subject the last `KEPT` samples within `LOOKBACK` of the newest count, in whatever order
they came: sensors send what they could not send before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from pipelines.clinical.carry_forward import NEVER, running_maximum, stable_order
from pipelines.clinical.rule_packs import ExcursionRule

GAPS = 3
KEPT = 48
LOOKBACK = timedelta(hours=4)
_LOOKBACK_MS = int(LOOKBACK.total_seconds() * 1000)
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Excursion:
    """n samples: level (1 too long, 2 urgent, 0 none), whether clear, and the proven time out of range until then."""

    level: np.ndarray
    clear: np.ndarray
    proven_ms: np.ndarray


def excursion(group: np.ndarray, at_ms: np.ndarray, value: np.ndarray, told: ExcursionRule, is_low: bool) -> Excursion:
    """Judge samples in the order of group and time.

    Args:
        group: int64[n], whose sample; at_ms: int64[n], rising within a group; value: float64[n], mg/dL.
        is_low: whether the limit is a lower one.
    """
    sign = -1.0 if is_low else 1.0
    beyond = sign * value > sign * told.limit
    clear = sign * value <= sign * told.limit - told.margin
    first = np.r_[True, group[1:] != group[:-1]][: len(group)]
    gap_ms = np.diff(at_ms, prepend=at_ms[:1])
    counts = beyond & np.r_[False, beyond[:-1]][: len(group)] & ~first
    counts &= gap_ms <= GAPS * told.interval_minutes * _MINUTE_MS
    total_ms = np.cumsum(np.where(counts, gap_ms, 0))
    proven_ms = total_ms - total_ms[_starts(group, at_ms, first | clear)] if len(group) else total_ms
    level = (beyond & (proven_ms > told.minutes * _MINUTE_MS)).astype(np.int8)
    if told.urgent is not None:
        level[sign * value > sign * told.urgent] = 2
    return Excursion(level, clear, proven_ms)


def _starts(group: np.ndarray, at_ms: np.ndarray, resets: np.ndarray) -> np.ndarray:
    """int64[n]: from which sample on each one's excursion may count: since the last reset, and no longer than kept."""
    index = np.arange(len(group))
    since_reset = np.maximum.accumulate(np.where(resets, index, 0))
    key = _key(group, at_ms)
    within = np.searchsorted(key, key - _LOOKBACK_MS, side="right")
    return np.maximum(np.maximum(since_reset, within), index - KEPT + 1)


def _key(group: np.ndarray, at_ms: np.ndarray) -> np.ndarray:
    """int64[n]: one rising number for group and time, groups further apart than any lookback."""
    rank = np.cumsum(np.r_[0, group[1:] != group[:-1]])[: len(group)]
    below = int(at_ms.min(initial=1 << 62))
    return at_ms - below + rank * (int(at_ms.max(initial=NEVER)) - below + 2 * _LOOKBACK_MS)


@dataclass(frozen=True, slots=True)
class Samples:
    """n samples in the order of subject and time, and which of them each new sample is judged by.

    Attributes:
        slot, at_ms, value: int64[n], int64[n], float64[n].
        row: int64[k], index of each new sample in what was given to `advance`.
        newest: int64[k], index of the subject's newest sample once it was there.
    """

    slot: np.ndarray
    at_ms: np.ndarray
    value: np.ndarray
    row: np.ndarray
    newest: np.ndarray


class GlucoseWindows:
    """The last samples of each subject that wears a sensor; memory doubles with their number."""

    def __init__(self, capacity: int = 16) -> None:
        self._place: dict[int, int] = {}
        self._at_ms = np.full((capacity, KEPT), NEVER)
        self._value = np.full((capacity, KEPT), np.nan)

    def advance(self, slots: np.ndarray, at_ms: np.ndarray, values: np.ndarray) -> list[Samples]:
        """Take in samples in position order; a part for each time that some subject's samples ceased to rise."""
        order = stable_order(slots)
        slot, at = slots[order], at_ms[order]
        newest = np.maximum(running_maximum(slot, at), self._newest_ms(slot))
        first = np.r_[True, slot[1:] != slot[:-1]][: len(slot)]
        before = np.where(first, self._newest_ms(slot), np.r_[NEVER, newest[:-1]][: len(slot)])
        part = _count_within(slot, at <= before)
        parts = []
        for nth in range(int(part.max(initial=-1)) + 1):
            chosen = np.flatnonzero(part == nth)
            if not len(chosen):  # every subject's first sample followed later ones
                continue
            parts.append(self._merged(slot[chosen], at[chosen], values[order][chosen], order[chosen], newest[chosen]))
        return parts

    def forget(self, slots: np.ndarray) -> None:
        """Nothing is known of these subjects any more; their places stay empty."""
        for slot in slots.tolist():
            if (place := self._place.get(slot)) is not None:
                self._at_ms[place], self._value[place] = NEVER, np.nan

    def _newest_ms(self, slots: np.ndarray) -> np.ndarray:
        owners, whose = np.unique(slots, return_inverse=True)
        places = np.array([self._place.get(owner, -1) for owner in owners.tolist()], np.int64)
        return np.where(places >= 0, self._at_ms[places].max(axis=1, initial=NEVER), NEVER)[whose]

    def _merged(
        self, slot: np.ndarray, at_ms: np.ndarray, value: np.ndarray, row: np.ndarray, newest_ms: np.ndarray
    ) -> Samples:
        owners = np.unique(slot)
        places = self._places(owners)
        held = self._at_ms[places] != NEVER
        slots = np.concatenate([np.repeat(owners, held.sum(axis=1)), slot])
        times = np.concatenate([self._at_ms[places][held], at_ms])
        all_values = np.concatenate([self._value[places][held], value])
        order = np.lexsort((all_values, times, slots))
        slots, times, all_values = slots[order], times[order], all_values[order]
        self._keep(owners, places, slots, times, all_values)
        return Samples(slots, times, all_values, row, _last_until(slots, times, slot, newest_ms))

    def _keep(
        self, owners: np.ndarray, places: np.ndarray, slots: np.ndarray, times: np.ndarray, values: np.ndarray
    ) -> None:
        """The last `KEPT` samples of each owner that lie within the lookback of its newest."""
        ends = np.searchsorted(slots, owners, side="right")
        back = ends[np.searchsorted(owners, slots)] - 1 - np.arange(len(slots))
        newest = times[ends - 1][np.searchsorted(owners, slots)]
        kept = (back < KEPT) & (times > newest - _LOOKBACK_MS)
        place = places[np.searchsorted(owners, slots)]
        self._at_ms[places], self._value[places] = NEVER, np.nan
        self._at_ms[place[kept], back[kept]] = times[kept]
        self._value[place[kept], back[kept]] = values[kept]

    def _places(self, owners: np.ndarray) -> np.ndarray:
        places = [self._place.setdefault(owner, len(self._place)) for owner in owners.tolist()]
        while len(self._place) > len(self._at_ms):
            self._at_ms = np.concatenate([self._at_ms, np.full_like(self._at_ms, NEVER)])
            self._value = np.concatenate([self._value, np.full_like(self._value, np.nan)])
        return np.array(places, np.int64)


def _count_within(group: np.ndarray, flags: np.ndarray) -> np.ndarray:
    """int64[n]: how many flags stood in the group up to each element; equal groups stand together."""
    if not len(group):
        return np.empty(0, np.int64)
    total = np.cumsum(flags)
    start = np.maximum.accumulate(np.where(np.r_[True, group[1:] != group[:-1]], np.arange(len(group)), 0))
    return total - (total[start] - flags[start])


def _last_until(slots: np.ndarray, times: np.ndarray, wanted: np.ndarray, until_ms: np.ndarray) -> np.ndarray:
    """int64[k]: index of the last sample of each wanted slot not after a time."""
    rank = np.cumsum(np.r_[0, slots[1:] != slots[:-1]])
    owners = slots[np.r_[True, slots[1:] != slots[:-1]]]
    below = min(int(times.min()), int(until_ms.min()))
    span = max(int(times.max()), int(until_ms.max())) - below + 1
    key = rank * span + times - below
    return np.searchsorted(key, np.searchsorted(owners, wanted) * span + until_ms - below, side="right") - 1
