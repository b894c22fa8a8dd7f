"""Readings that a sensor explains better than a patient: stuck, too steep, flat, taken without a probe.

Holds: the limits of each signal with their sources, and the pure function that marks a day of readings.
Does not hold: what becomes of a mark. A reading is never changed or left out here; rules and people decide.

Limits are wide on purpose: a mark should rarely fall on a true reading. One is known to: a paced heart beats like a
clock, so an unchanged heart rate is marked only after an hour, and stays a suspicion.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse import vocabulary
from warehouse.vocabulary import CODES

STUCK, IMPOSSIBLE_SLOPE, FLAT_LINE, PROBE_OFF = "stuck", "impossible_slope", "flat_line", "probe_off"
FAULTS = (STUCK, IMPOSSIBLE_SLOPE, FLAT_LINE, PROBE_OFF)

FLAT_SECONDS, SHORTEST_FLAT_SECONDS = 2.0, 1.0
"""A wave is flat where it does not move at all for so long, or for all of a shorter wave of at least a second. Flatness
as a measure of an ECG's quality: fSQI of Clifford et al., Physiological Measurement 33:1419 (2012); that an amplifier
on a body never repeats a value for two seconds, and a pulse comes within two, is ours."""

_SERIES = ("device_id", "code", "subject_token")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a signal, in its canonical unit, does not do.

    Attributes:
        stuck_seconds, stuck_readings: unchanged for both so long and so many readings it is stuck; None: may be still.
        jump, per_second: a change by more than `jump` that is also faster than `per_second` is no body's; None: may be.
    """

    stuck_seconds: float | None
    stuck_readings: int
    jump: float | None
    per_second: float
    source: str


_OURS = "ours"
LIMITS: Mapping[str, Limits] = MappingProxyType(
    {
        vocabulary.HEART_RATE: Limits(3600, 30, 100, 20, f"{_OURS}; arrhythmias jump, but not so far in five seconds"),
        vocabulary.SPO2: Limits(None, 0, 20, 5, f"{_OURS}; 100 % for hours is healthy, so it is never called stuck"),
        vocabulary.SBP: Limits(900, 10, 60, 30, f"{_OURS}; a flushed line does this, a heart does not"),
        vocabulary.DBP: Limits(900, 10, 60, 30, f"{_OURS}; as systolic"),
        vocabulary.MAP: Limits(900, 10, 60, 30, f"{_OURS}; as systolic"),
        vocabulary.TEMPERATURE: Limits(None, 0, 1.0, 0.5 / 60, f"{_OURS}; no cooling or warming is so fast"),
        vocabulary.ETCO2: Limits(3600, 60, None, 0, f"{_OURS}; may fall to nothing at once, and truly"),
        vocabulary.CGM_GLUCOSE: Limits(
            3600, 12, 25, 10 / 60,
            "well beyond the 4 mg/dL a minute that are rarely reached: Dunn et al., Diabetes Care 27:2161 (2004)",
        ),
        vocabulary.BODY_WEIGHT: Limits(None, 0, 10, 5 / 3600, f"{_OURS}; somebody else on the scales"),
    }
)  # fmt: skip


def sensor_faults(readings: pa.Table) -> pa.Table:
    """Marks as rows of `reading` (int64, row number in `readings`) and `fault`, in that order.

    `readings` are sorted by device_id, code, subject_token and event_time, and have these, numeric_value (canonical
    unit), quality_flag, samples and period_ms. A reading may have several faults.
    """
    codes = readings["code"].to_pylist()
    values = _floats(readings["numeric_value"])
    off = _off(readings, codes, values)
    series = _series(readings)
    times = readings["event_time"].cast(pa.int64()).to_numpy() / 1e6
    found = {
        STUCK: _each_signal(stuck, codes, series, times, np.where(off, np.nan, values)),
        IMPOSSIBLE_SLOPE: _each_signal(too_steep, codes, series, times, np.where(off, np.nan, values)),
        FLAT_LINE: _flat(readings, codes),
        PROBE_OFF: np.flatnonzero(off),
    }
    rows = np.concatenate([found[fault] for fault in FAULTS]).astype(np.int64)
    names = np.repeat(np.arange(len(FAULTS)), [len(found[fault]) for fault in FAULTS])
    order = np.lexsort((names, rows))
    return pa.table({"reading": rows[order], "fault": pa.array(FAULTS).take(pa.array(names[order]))})


def stuck(times: np.ndarray, values: np.ndarray, series: np.ndarray, limits: Limits) -> np.ndarray:
    """bool[n]: part of a run of equal values, of one series, that lasts too long. Times in seconds; sorted."""
    if limits.stuck_seconds is None or not len(values):
        return np.zeros(len(values), bool)
    new = np.ones(len(values), bool)
    gap = np.diff(times) > limits.stuck_seconds / 2
    new[1:] = (values[1:] != values[:-1]) | (series[1:] != series[:-1]) | gap
    starts = np.flatnonzero(new)
    counts = np.diff([*starts, len(values)])
    lasts = times[starts + counts - 1] - times[starts]
    return np.repeat((lasts >= limits.stuck_seconds) & (counts >= limits.stuck_readings), counts)


def too_steep(times: np.ndarray, values: np.ndarray, series: np.ndarray, limits: Limits) -> np.ndarray:
    """bool[n]: reached by a change that no body makes, from the reading before of the same series. The way back from a
    single such reading is not held against the reading it leads to, however often the signal flaps; after two, it is.
    """
    steep = np.zeros(len(values) + 1, np.int8)  # of the change that leads to each reading: -1, 0, 1
    if limits.jump is not None and len(values) > 1:
        change, elapsed = np.diff(values), np.maximum(np.diff(times), 1e-3)
        impossible = (np.abs(change) > limits.jump) & (np.abs(change) / elapsed > limits.per_second)
        steep[1:-1] = np.where(impossible & (series[1:] == series[:-1]), np.sign(change), 0)
    before = np.concatenate([[0], steep[:-1]])[: len(values)]
    steep = steep[: len(values)]
    # Of changes to and fro without a pause every second one is a way back.
    at = np.arange(len(values))
    first = np.maximum.accumulate(np.where((steep != 0) & (before * steep >= 0), at, 0))
    return (steep != 0) & ((at - first) % 2 == 0)


def longest_still(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """int64[waves]: how many neighbours at most have the same value in each wave. `values`: those of all waves, one
    after another; `lengths`: how many each has, none 0."""
    starts = np.cumsum(lengths) - lengths
    new = np.ones(len(values), bool)
    new[1:] = values[1:] != values[:-1]
    new[starts] = True
    runs = np.flatnonzero(new)
    counts = np.diff([*runs, len(values)])
    return np.maximum.reduceat(counts, np.searchsorted(runs, starts)) if len(starts) else np.empty(0, np.int64)


def _each_signal(mark, codes: list[str], series: np.ndarray, times: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Row numbers that `mark` finds, signal by signal, among rows with a number."""
    code = np.array(codes, object)
    found = [np.empty(0, np.int64)]
    for name, limits in LIMITS.items():
        rows = np.flatnonzero((code == name) & ~np.isnan(values))
        found.append(rows[mark(times[rows], values[rows], series[rows], limits)])
    return np.concatenate(found)


def _off(readings: pa.Table, codes: list[str], values: np.ndarray) -> np.ndarray:
    """bool[rows]: flagged so by `normalise`, or zero where nobody living shows zero."""
    flagged = pc.equal(readings["quality_flag"], PROBE_OFF).fill_null(False).to_numpy()
    never_zero = {name for name, known in CODES.items() if known.numeric and known.low is not None and known.low > 0}
    return flagged | ((values == 0) & np.array([code in never_zero for code in codes], bool))


def _flat(readings: pa.Table, codes: list[str]) -> np.ndarray:
    periods = _floats(readings["period_ms"]) / 1000
    lengths = _floats(pc.list_value_length(readings["samples"]))
    sampled = np.array([code in CODES and CODES[code].sampled for code in codes], bool)
    waves = np.flatnonzero(sampled & (lengths > 0) & (periods > 0))
    values = pc.list_flatten(readings["samples"].take(pa.array(waves))).to_numpy()
    still = longest_still(values, lengths[waves].astype(np.int64)) * periods[waves]
    needed = np.clip(lengths[waves] * periods[waves], SHORTEST_FLAT_SECONDS, FLAT_SECONDS)
    return waves[still >= needed - 1e-9]


def _series(readings: pa.Table) -> np.ndarray:
    """int64[rows]: the same number for rows of one device, code and patient; rows are sorted by them."""
    changed = np.zeros(readings.num_rows, bool)
    for name in _SERIES:
        keys = pc.fill_null(readings[name].combine_chunks().dictionary_encode().indices, -1).to_numpy()
        changed[1:] |= keys[1:] != keys[:-1]
    return np.cumsum(changed)


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    return column.cast(pa.float64()).to_numpy()
