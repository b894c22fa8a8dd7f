"""What the sepsis model reads of an hour: one function for training, judging offline, and the stream.

Holds: `FEATURES`, their names in order, and `features`, which computes them.
Does not hold: state, scores, labels.

A row's features rest on the last `WINDOW_H` hours of its stay up to and with that row, on its hour and on its
demographics: on nothing later and nothing earlier. So the stream may hold a ring of `WINDOW_H` hours a patient and gets
the very bits that training got. That is why sums of a window are added up in an order given by the distance to the row
alone (doubling: 1, 2, 4, 8 … hours), never as the difference of two running totals, and why only operations are used
that IEEE 754 rounds in one way (no logarithm, no power). Leading hours without a measurement change nothing.

Absent is not normal: what was not measured within `WINDOW_H` hours is NaN, and the hours since are then `WINDOW_H`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipelines.clinical.sepsis.panel import Floats, Integers, Panel, blocks
from pipelines.clinical.sepsis.variables import INDEX, LAB, NAMES, VARIABLES, VITAL

WINDOW_H = 48
"""Hours back that any feature may look, the row's own among them."""
SHORT_H, DAY_H = 6, 24
BLOCK_ROWS = 4096  # rows worked at once: their arrays stay in the processor's cache

_VITALS = [at for at, variable in enumerate(VARIABLES) if variable.kind == VITAL]
_LABS = [at for at, variable in enumerate(VARIABLES) if variable.kind == LAB]
_CENTRE = np.array([80, 97, 37, 120, 80, 60, 18, 35], dtype=np.float32)[:, None]
"""Near the middle of each vital, taken off before squares are summed: float32 then keeps the spread's digits."""

_OF_VITALS = (
    "mean_6h", "min_6h", "max_6h", "mean_24h", "min_24h", "max_24h", "spread_24h", "count_24h", "from_mean_24h",
)  # fmt: skip
_OF_LABS = ("change", "min", "max", "count")
DERIVED = (
    "shock_index", "pulse_pressure", "pulse_pressure_to_map", "spo2_to_fio2", "rox_index", "bun_to_creatinine",
    "direct_to_total_bilirubin", "wbc_to_platelets", "heart_rate_to_temperature",
    "sirs", "qsofa_partial", "sofa_respiratory", "sofa_coagulation", "sofa_liver", "sofa_cardiovascular", "sofa_renal",
    "sofa_partial", "news2_partial",
)  # fmt: skip
CONTEXT = ("age", "sex", "admission_h", "hour")

FEATURES: tuple[str, ...] = (
    *(f"{name}_last" for name in NAMES),
    *(f"{name}_since_h" for name in NAMES),
    *(f"{NAMES[at]}_{word}" for word in _OF_VITALS for at in _VITALS),
    *(f"{NAMES[at]}_{word}" for word in _OF_LABS for at in _LABS),
    *DERIVED,
    *CONTEXT,
)


def features(panel: Panel) -> Floats:
    """float32[n, F], columns as in `FEATURES`, a row an hour of the panel. Pure; NaN where there is nothing to say."""
    out = np.empty((panel.rows, len(FEATURES)), dtype=np.float32)
    first = 0
    for block in blocks(panel, BLOCK_ROWS):
        out[first : first + block.rows] = np.concatenate(_block(block)).T
        first += block.rows
    return out


def newest_features(panel: Panel) -> Floats:
    """float32[stays, F]: of each stay's last hour only."""
    return features(panel)[panel.starts[1:] - 1]


def _block(panel: Panel) -> list[Floats]:
    """Features of whole stays, float32[k, n] each, in the order of `FEATURES`."""
    values = np.ascontiguousarray(panel.values.T)
    rows = _Rows(panel.at())
    last, since, change = _last(values, rows)
    context = np.stack([panel.age, panel.sex, panel.admission_h, panel.hour.astype(np.float32)])
    vitals = _of_vitals(values[_VITALS], last[_VITALS], rows)
    return [last, since, *vitals, change[_LABS], *_of_labs(values[_LABS], rows), _derived(last), context]


class _Rows:
    """The rows of whole stays: shifts that do not cross from one stay into another."""

    def __init__(self, at: Integers) -> None:
        self.at = at.astype(np.int32)
        self._short: dict[int, NDArray[np.int64]] = {}

    def earlier(self, columns: Floats, hours: int, empty: float) -> Floats:
        """[k, n]: each column's value `hours` rows earlier in the same stay; `empty` where there is none."""
        if hours not in self._short:
            self._short[hours] = np.flatnonzero(self.at < hours)
        out = np.empty_like(columns)
        out[:, hours:] = columns[:, :-hours] if hours < columns.shape[1] else empty
        out[:, self._short[hours]] = empty
        return out


@dataclass(frozen=True, slots=True)
class _Over:
    """How the hours of a window become one number; `again`: whether an hour may be taken twice (least, greatest)."""

    combine: Callable[[Floats, Floats], Floats]
    empty: float
    again: bool


_SUM = _Over(np.add, 0.0, False)
_LEAST = _Over(np.minimum, np.inf, True)
_GREATEST = _Over(np.maximum, -np.inf, True)


def _windows(columns: Floats, rows: _Rows, over: _Over, lengths: tuple[int, ...]) -> list[Floats]:
    """Of each row the `over` of its last 6, 24, … hours, built of windows of 1, 2, 4, 8 … hours."""
    powers, length = {1: columns}, 1
    while 2 * length <= max(lengths):
        powers[2 * length] = over.combine(powers[length], rows.earlier(powers[length], length, over.empty))
        length *= 2
    return [_joined(powers, rows, over, wanted) for wanted in lengths]


def _joined(powers: Mapping[int, Floats], rows: _Rows, over: _Over, wanted: int) -> Floats:
    length = max(power for power in powers if power <= wanted)
    out, rest = powers[length], wanted - length
    if over.again:
        return over.combine(out, rows.earlier(out, rest, over.empty)) if rest else out
    while rest:
        part = max(power for power in powers if power <= rest)
        out = over.combine(out, rows.earlier(powers[part], wanted - rest, over.empty))
        rest -= part
    return out


def _last(values: Floats, rows: _Rows) -> tuple[Floats, Floats, Floats]:
    """Newest measurement, hours since it, and its change from the one before; both within `WINDOW_H` hours."""
    here = np.arange(values.shape[1], dtype=np.int32)
    back = np.minimum(rows.at, np.int32(WINDOW_H - 1))
    measured = ~np.isnan(values)
    seen = np.maximum.accumulate(np.where(measured, here, np.int32(-1)), axis=1)
    known = seen >= here - back
    place = np.where(known, seen, 0)
    last = np.where(known, np.take_along_axis(values, place, axis=1), np.float32(np.nan))
    since = np.where(known, here - seen, WINDOW_H).astype(np.float32)
    before = np.take_along_axis(seen, np.maximum(place - 1, 0), axis=1)
    had = known & (place > 0) & (before >= here - back)
    earlier = np.take_along_axis(values, np.where(had, before, 0), axis=1)
    return last, since, np.where(had, last - earlier, np.float32(np.nan))


def _of_vitals(values: Floats, last: Floats, rows: _Rows) -> list[Floats]:
    measured = ~np.isnan(values)
    centred = np.where(measured, values - _CENTRE, np.float32(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        count_6h, count_24h = _windows(measured.astype(np.float32), rows, _SUM, (SHORT_H, DAY_H))
        sum_6h, sum_24h = _windows(centred, rows, _SUM, (SHORT_H, DAY_H))
        (squares,) = _windows(centred * centred, rows, _SUM, (DAY_H,))
        mean_6h, offset = sum_6h / count_6h + _CENTRE, sum_24h / count_24h
        mean_24h = offset + _CENTRE
        spread = np.sqrt(np.maximum(squares / count_24h - offset * offset, np.float32(0)))
    min_6h, min_24h = _finite(_windows(np.where(measured, values, np.float32(np.inf)), rows, _LEAST, (SHORT_H, DAY_H)))
    max_6h, max_24h = _finite(
        _windows(np.where(measured, values, np.float32(-np.inf)), rows, _GREATEST, (SHORT_H, DAY_H))
    )
    return [mean_6h, min_6h, max_6h, mean_24h, min_24h, max_24h, spread, count_24h, last - mean_24h]


def _of_labs(values: Floats, rows: _Rows) -> list[Floats]:
    measured = ~np.isnan(values)
    (count,) = _windows(measured.astype(np.float32), rows, _SUM, (WINDOW_H,))
    least = _windows(np.where(measured, values, np.float32(np.inf)), rows, _LEAST, (WINDOW_H,))
    greatest = _windows(np.where(measured, values, np.float32(-np.inf)), rows, _GREATEST, (WINDOW_H,))
    return [*_finite(least), *_finite(greatest), count]


def _finite(windows: list[Floats]) -> list[Floats]:
    return [np.where(np.isinf(window), np.float32(np.nan), window) for window in windows]


def _derived(last: Floats) -> Floats:
    """Ratios and partial scores of the newest values, in the order of `DERIVED`. A score counts what is known."""
    of = {name: last[at] for name, at in INDEX.items()}
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        ratios = _ratios(of)
        sirs, qsofa, news2 = _sirs(of), _qsofa(of), _news2(of)
        sofa = _sofa(of, ratios[3])
    scores = [*ratios, sirs, qsofa, *sofa, np.add.reduce(sofa), news2]
    return np.stack([np.asarray(score, dtype=np.float32) for score in scores])


def _ratios(of: Mapping[str, Floats]) -> list[Floats]:
    spo2_to_fio2 = of["O2Sat"] / of["FiO2"]
    pulse_pressure = of["SBP"] - of["DBP"]
    ratios = [
        of["HR"] / of["SBP"],
        pulse_pressure,
        pulse_pressure / of["MAP"],
        spo2_to_fio2,
        spo2_to_fio2 / of["Resp"],
        of["BUN"] / of["Creatinine"],
        of["Bilirubin_direct"] / of["Bilirubin_total"],
        of["WBC"] / of["Platelets"],
        of["HR"] / of["Temp"],
    ]
    return [np.where(np.isfinite(ratio), ratio, np.float32(np.nan)) for ratio in ratios]


def _points(value: Floats, *limits: tuple[str, float, int]) -> NDArray[np.int32]:
    """The most points of any limit that holds; 0 where the value is unknown."""
    points = np.zeros(len(value), dtype=np.int32)
    for relation, limit, worth in limits:
        holds = {"<": value < limit, "<=": value <= limit, ">": value > limit, ">=": value >= limit}[relation]
        points = np.maximum(points, np.where(holds, worth, 0))
    return points


def _sirs(of: Mapping[str, Floats]) -> NDArray[np.int32]:
    """0 to 4: Bone et al., Chest 101:1644 (1992), without immature neutrophils."""
    breathing = np.maximum(_points(of["Resp"], (">", 20, 1)), _points(of["PaCO2"], ("<", 32, 1)))
    heat = _points(of["Temp"], (">", 38, 1), ("<", 36, 1))
    return heat + _points(of["HR"], (">", 90, 1)) + breathing + _points(of["WBC"], (">", 12, 1), ("<", 4, 1))


def _qsofa(of: Mapping[str, Floats]) -> NDArray[np.int32]:
    """0 to 2: Sepsis-3, JAMA 315:801 (2016), without consciousness, which PhysioNet does not have."""
    return _points(of["Resp"], (">=", 22, 1)) + _points(of["SBP"], ("<=", 100, 1))


def _sofa(of: Mapping[str, Floats], spo2_to_fio2: Floats) -> list[NDArray[np.int32]]:
    """Respiratory (by SpO2 to FiO2 in percent: Pandharipande et al., Crit Care Med 37:1317, 2009), coagulation, liver,
    cardiovascular (pressure alone), renal (creatinine alone): Vincent et al., Intensive Care Med 22:707 (1996)."""
    return [
        _points(spo2_to_fio2, ("<", 5.12, 1), ("<", 3.57, 2), ("<", 2.14, 3), ("<", 0.89, 4)),
        _points(of["Platelets"], ("<", 150, 1), ("<", 100, 2), ("<", 50, 3), ("<", 20, 4)),
        _points(of["Bilirubin_total"], (">=", 1.2, 1), (">=", 2, 2), (">=", 6, 3), (">=", 12, 4)),
        _points(of["MAP"], ("<", 70, 1)),
        _points(of["Creatinine"], (">=", 1.2, 1), (">=", 2, 2), (">=", 3.5, 3), (">=", 5, 4)),
    ]


def _news2(of: Mapping[str, Floats]) -> NDArray[np.int32]:
    """Royal College of Physicians (2017), SpO2 scale 1, without consciousness; oxygen where FiO2 is over 21 %."""
    return (
        _points(of["Resp"], ("<=", 11, 1), (">=", 21, 2), ("<=", 8, 3), (">=", 25, 3))
        + _points(of["O2Sat"], ("<=", 95, 1), ("<=", 93, 2), ("<=", 91, 3))
        + _points(of["FiO2"], (">", 21, 2))
        + _points(of["SBP"], ("<=", 110, 1), ("<=", 100, 2), ("<=", 90, 3), (">=", 220, 3))
        + _points(of["HR"], ("<=", 50, 1), (">=", 91, 1), (">=", 111, 2), ("<=", 40, 3), (">=", 131, 3))
        + _points(of["Temp"], ("<=", 36, 1), (">", 38, 1), (">", 39, 2), ("<=", 35, 3))
    )
