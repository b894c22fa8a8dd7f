"""Laboratory results as state: the newest orders of each analyte of each subject, each at the version that holds.

Holds: the way from rows of `lab.results` to columns, and `LabResults`, which takes them in and answers as of a time.
Does not hold: limits, scores or alerts.

In words. A result is named by its order and its analyte; of its versions the greatest holds, by the time of its report,
its status, its event id (decision 13), whatever came first. A version without a number (withdrawn, or flagged) holds
like any other and counts as no result. Of each analyte the `KEPT` orders whose specimens are newest are remembered.
None of this depends on the order of arrival, as long as the versions of a result agree on when its specimen was taken.
Asked for a time, the state answers with the newest result whose specimen was taken by then and is not older than its
carry-forward. All times are effective times (`readings.py`): of the specimen, but never after the message's append.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.clinical.carry_forward import NEVER, stable_order
from pipelines.clinical.readings import dictionary, look_up, milliseconds, null, occurring
from pipelines.clinical.signals import ANALYTE, ANALYTES

KEPT = 4
STATUSES = {"P": 0, "F": 1, "C": 2, "X": 3}
_CARRY_MS = np.array([int(analyte.carry_forward.total_seconds() * 1000) for analyte in ANALYTES])[:, None]
_EMPTY = (
    ("_at_ms", NEVER), ("_order", 0), ("_rank", 0), ("_tie", ""), ("_value", np.nan), ("_newest_ms", NEVER),
    ("_clock_ms", NEVER), ("_newest", np.nan),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Results:
    """n rows of analytes that rules look at, in position order.

    Attributes:
        row: int64[n], index in the table they came from.
        subject: int64[n], index in `tokens`.
        analyte: int64[n], index in `ANALYTES`.
        value: float64[n], canonical unit; NaN: the version says that there is none, or is flagged.
        at_ms: int64[n], effective time of the specimen.
        order, rank: int64[n], which result it is a version of, and its place among the versions.
        tie: object[n], the event id, whole: of versions of one rank the greatest holds.
    """

    row: np.ndarray
    subject: np.ndarray
    tokens: list[str]
    analyte: np.ndarray
    value: np.ndarray
    at_ms: np.ndarray
    order: np.ndarray
    rank: np.ndarray
    tie: np.ndarray

    def __len__(self) -> int:
        return len(self.row)


def results(rows: pa.Table) -> Results:
    """The rows of `lab.results` that rules look at.

    Args:
        rows: columns `subject_token`, `event_id`, `order_id`, `code`, `numeric_value`, `status`, `quality_flag`,
            `collected_at`, `reported_at`, `kafka_time` and, unless restored from the lake, `patient_id`.
    """
    subject, tokens = dictionary(rows["subject_token"])
    analyte = look_up(rows["code"], ANALYTE, -1).astype(np.int64)
    keep = (subject >= 0) & (analyte >= 0)
    if "patient_id" in rows.column_names:
        keep &= ~null(rows["patient_id"])
    row = np.flatnonzero(keep)
    chosen = rows.take(pa.array(row)) if len(row) < len(rows) else rows
    value = chosen["numeric_value"].to_numpy().astype(np.float64)
    value[~null(chosen["quality_flag"])] = np.nan
    status = look_up(chosen["status"], STATUSES, 0).astype(np.int64)
    value[status == STATUSES["X"]] = np.nan
    subject, named = occurring(subject[row], tokens)
    at_ms = np.minimum(milliseconds(chosen["collected_at"]), milliseconds(chosen["kafka_time"]))
    reported_us = chosen["reported_at"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    return Results(
        row, subject, named, analyte[row], value, at_ms, _orders(chosen["order_id"]), reported_us * 4 + status,
        np.array(chosen["event_id"].to_pylist() or [""], object)[: len(chosen)],
    )  # fmt: skip


def _orders(column: pa.ChunkedArray) -> np.ndarray:
    """int64[n]: a number for each order, the same within a process."""
    indices, values = dictionary(column)
    return np.array([hash(order) for order in values.to_pylist()] or [0], np.int64)[indices]


def rounds(slots: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of the rows, in rounds: each subject's first, each one's second, and so on, none twice in a round."""
    if not len(slots):
        return
    order = stable_order(slots)
    sorted_slots = slots[order]
    starts = np.flatnonzero(np.r_[True, sorted_slots[1:] != sorted_slots[:-1]])
    nth = np.arange(len(slots)) - np.repeat(starts, np.diff(np.r_[starts, len(slots)]))
    by_round = stable_order(nth)
    ends = np.cumsum(np.bincount(nth))
    for start, end in zip(np.r_[0, ends[:-1]], ends, strict=True):
        yield order[by_round[start:end]]


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of n rows, one a subject.

    Attributes:
        is_newest: bool[n], whether the newest result of the analyte is another one now, or another version.
        corrected_ms: int64[n], where the row replaced a version: the time from which that one counted; else `NEVER`.
        value, at_ms: float64[n] and int64[n], the newest result of the analyte and its time.
        clock_ms: int64[n], the newest time that the analyte had a result for, withdrawn since or not.
    """

    is_newest: np.ndarray
    corrected_ms: np.ndarray
    value: np.ndarray
    at_ms: np.ndarray
    clock_ms: np.ndarray


class LabResults:
    """The newest orders of each analyte of each subject that has results; memory doubles with their number."""

    def __init__(self, capacity: int = 64) -> None:
        self._place = np.full(1024, -1)
        self._count = 0
        shape = (capacity, len(ANALYTES))
        self._at_ms = np.full((*shape, KEPT), NEVER)
        self._order, self._rank = (np.zeros((*shape, KEPT), np.int64) for _ in range(2))
        self._tie = np.full((*shape, KEPT), "", object)
        self._value = np.full((*shape, KEPT), np.nan)
        self._newest_ms, self._clock_ms = np.full(shape, NEVER), np.full(shape, NEVER)
        self._newest = np.full(shape, np.nan)

    def has(self, slots: np.ndarray) -> np.ndarray:
        """bool[n]: whether anything was reported of these subjects."""
        known = slots < len(self._place)
        return known & (self._place[np.where(known, slots, 0)] >= 0)

    def take(self, slots: np.ndarray, results: Results, at: np.ndarray) -> Taken:
        """Take in the rows `at` of `results`, whose subjects (`slots`) all differ."""
        place, analyte = self._places(slots), results.analyte[at]
        before = self._newest_ms[place, analyte], self._newest[place, analyte]
        goes_in, corrected = self._file(place, analyte, results, at)
        self._find_newest(place, analyte)
        self._clock_ms[place, analyte] = np.maximum(self._clock_ms[place, analyte], self._newest_ms[place, analyte])
        now = self._newest_ms[place, analyte], self._newest[place, analyte]
        same = (before[0] == now[0]) & ((before[1] == now[1]) | (np.isnan(before[1]) & np.isnan(now[1])))
        of_newest = goes_in & (results.at_ms[at] == now[0]) & ~np.isnan(results.value[at])
        return Taken(~same | of_newest, corrected, now[1], now[0], self._clock_ms[place, analyte])

    def as_of(self, slots: np.ndarray, times_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The results that count for these subjects at these times.

        Returns:
            float64[len(ANALYTES), n], NaN = none; int64 of the same shape, the effective time of each.
        """
        found = np.full((len(ANALYTES), len(slots)), np.nan)
        found_ms = np.full(found.shape, NEVER)
        some = np.flatnonzero(self.has(slots))
        if not len(some):
            return found, found_ms
        place, times = self._place[slots[some]], times_ms[some]
        at_ms, value = self._newest_ms[place].T.copy(), self._newest[place].T.copy()
        analyte, nth = np.nonzero(at_ms > times)
        if len(nth):
            at_ms[analyte, nth], value[analyte, nth] = self._latest(place[nth], analyte, times[nth])
        value[(times - at_ms > _CARRY_MS) | (at_ms > times)] = np.nan
        found[:, some], found_ms[:, some] = value, at_ms
        return found, found_ms

    def forget(self, slots: np.ndarray) -> None:
        """Nothing is known of these subjects any more."""
        slots = slots[self.has(slots)]
        place, self._place[slots] = self._place[slots], -1
        for name, empty in _EMPTY:
            getattr(self, name)[place] = empty

    def _file(
        self, place: np.ndarray, analyte: np.ndarray, results: Results, at: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Put each row where its order stands, or in the place of the oldest; which rows went in, and the times of the
        versions replaced."""
        at_ms, order, rank, tie = (getattr(results, name)[at] for name in ("at_ms", "order", "rank", "tie"))
        held_ms = self._at_ms[place, analyte]
        known = (self._order[place, analyte] == order[:, None]) & (held_ms != NEVER)
        is_version = known.any(axis=1)
        oldest = np.argmin(held_ms, axis=1)
        kept = np.where(is_version, np.argmax(known, axis=1), oldest)
        cell = (place, analyte, kept)
        held = self._at_ms[cell], self._order[cell], self._rank[cell], self._tie[cell]
        later = (rank > held[2]) | ((rank == held[2]) & (tie > held[3]))
        newer = (at_ms > held[0]) | ((at_ms == held[0]) & (order > held[1]))
        goes_in = np.where(is_version, later, newer)
        corrected = np.where(is_version & goes_in, held[0], NEVER)
        cell = tuple(part[goes_in] for part in cell)
        self._at_ms[cell], self._order[cell] = at_ms[goes_in], order[goes_in]
        self._rank[cell], self._tie[cell] = rank[goes_in], tie[goes_in]
        self._value[cell] = results.value[at][goes_in]
        return goes_in, corrected

    def _find_newest(self, place: np.ndarray, analyte: np.ndarray) -> None:
        chosen = self._latest(place, analyte, np.full(len(place), np.iinfo(np.int64).max))
        self._newest_ms[place, analyte], self._newest[place, analyte] = chosen

    def _latest(self, place: np.ndarray, analyte: np.ndarray, until_ms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Time and value of the newest result not after `until_ms`; of several of one time the last reported."""
        value, at_ms = self._value[place, analyte], self._at_ms[place, analyte]
        at_ms = np.where(np.isnan(value) | (at_ms > until_ms[:, None]), NEVER, at_ms)
        newest_ms = at_ms.max(axis=1)
        for order, least in ((self._rank, np.iinfo(np.int64).min), (self._tie, "")):
            among = np.where(at_ms == newest_ms[:, None], order[place, analyte], least)
            at_ms = np.where(among == among.max(axis=1)[:, None], at_ms, NEVER)
        nth = np.argmax(at_ms, axis=1)
        found = np.where(newest_ms == NEVER, np.nan, value[np.arange(len(nth)), nth])
        return newest_ms, found

    def _places(self, slots: np.ndarray) -> np.ndarray:
        most = int(slots.max(initial=0))
        if most >= len(self._place):
            self._place = np.pad(self._place, (0, max(most + 1, len(self._place))), constant_values=-1)
        new = slots[self._place[slots] < 0]
        if len(new):
            self._place[new] = np.arange(self._count, self._count + len(new))
            self._count += len(new)
            while self._count > len(self._newest):
                self._double()
        return self._place[slots]

    def _double(self) -> None:
        for name, empty in _EMPTY:
            held = getattr(self, name)
            setattr(self, name, np.concatenate([held, np.full_like(held, empty)]))
