"""What is known of each patient hour by hour, from the rows in the lake: what a sepsis score may rest on.

Holds: values of the model's variables by hour of the clock, corrections applied, and where a stay's hours begin.
Does not hold: features (`score_features`), models, or any judgement.

A value stands in the hour of its effective time: event time, or when the specimen was taken, never later than Kafka's
append. In an hour the latest counts, of two at one time the larger. Of a laboratory result the version reported last
holds; one withdrawn or flagged counts as none. Names and codes: PhysioNet/CinC Challenge 2019 and LOINC.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .findings import plain
from .stay_start import Start, start_of

HOUR_MS = 3_600_000
SILENCE_H, LONGEST_STAY_H = 48, 336
CODES = {
    "8867-4": "HR", "59408-5": "O2Sat", "8310-5": "Temp", "8480-6": "SBP", "8478-0": "MAP", "8462-4": "DBP",
    "9279-1": "Resp", "19891-1": "EtCO2", "11555-0": "BaseExcess", "1963-8": "HCO3", "3150-0": "FiO2", "2744-1": "pH",
    "2019-8": "PaCO2", "2708-6": "SaO2", "1920-8": "AST", "3094-0": "BUN", "6768-6": "Alkalinephos",
    "17861-6": "Calcium", "2075-0": "Chloride", "2160-0": "Creatinine", "1968-7": "Bilirubin_direct",
    "2345-7": "Glucose", "2339-0": "Glucose", "2524-7": "Lactate", "19123-9": "Magnesium", "2777-1": "Phosphate",
    "2823-3": "Potassium", "1975-2": "Bilirubin_total", "10839-9": "TroponinI", "4544-3": "Hct", "718-7": "Hgb",
    "14979-9": "PTT", "6690-2": "WBC", "3255-7": "Fibrinogen", "777-3": "Platelets",
}  # fmt: skip
"""LOINC code -> the model's variable."""
_RANKS = {"P": 0, "F": 1, "C": 2, "X": 3}


@dataclass(slots=True)
class Hours:
    """One patient. `values`: hour since 1970 UTC -> variable -> (effective time, value); `measured`: hours in which
    anything was, superseded results among them."""

    values: dict[int, dict[str, tuple[int, np.float32]]] = field(default_factory=dict)
    measured: set[int] = field(default_factory=set)
    start: Start | None = None

    @property
    def newest(self) -> int:
        return max(self.measured)

    @property
    def began(self) -> int:
        """By admissions; else the first measurement that no long silence follows."""
        if self.start is not None:
            return self.start.hour
        first = self.newest
        for hour in sorted(self.measured, reverse=True):
            if first - hour > SILENCE_H or self.newest - hour >= LONGEST_STAY_H:
                break
            first = hour
        return first

    @property
    def is_longer_than_sought(self) -> bool:
        """No admission tells, and the beginning lies so far back that it moves on with every hour."""
        return self.start is None and self.newest - min(self.measured) >= LONGEST_STAY_H

    def number(self, hour: int) -> int:
        """Which hour of the stay this is, from 1."""
        return hour - self.began + 1

    def take(self, variable: str, at_ms: int, value: np.float32) -> None:
        of_hour = self.values.setdefault(at_ms // HOUR_MS, {})
        of_hour[variable] = max(of_hour.get(variable, (at_ms, value)), (at_ms, value))


def hours_of(
    readings: Sequence[pa.Table], labs: pa.Table | None, admissions: pa.Table | None, wards: Sequence[str] = ()
) -> dict[str, Hours]:
    """Subject token -> hours, of everybody of whom something was measured.

    Args:
        readings: rows of `vitals` and `wearables`; labs: of `labs`; admissions: of `adt_events`.
        wards: patterns of the wards that are intensive care; without any, by usual names.
    """
    known: dict[str, Hours] = {}
    for rows in readings:
        for token, variable, at_ms, value in _readings(rows):
            of = known.setdefault(token, Hours())
            of.measured.add(at_ms // HOUR_MS)
            of.take(variable, at_ms, value)
    if labs is not None:
        _take_results(known, labs)
    if admissions is not None:
        events: dict[str, list[dict]] = {}
        for event in admissions.to_pylist():
            events.setdefault(event["subject_token"], []).append(event)
        for token, of in known.items():
            of.start = start_of(events.get(token, ()), wards)
    return {token: of for token, of in known.items() if of.measured}


def _readings(rows: pa.Table) -> Iterator[tuple[str, str, int, np.float32]]:
    chosen = rows.filter(
        pc.and_(
            pc.and_(pc.is_valid(rows["subject_token"]), pc.is_null(rows["quality_flag"])),
            pc.and_(pc.is_valid(rows["numeric_value"]), pc.is_in(plain(rows["code"]), pa.array(list(CODES)))),
        )
    )
    value = chosen["numeric_value"].to_numpy().astype(np.float32)
    tokens, codes = (plain(chosen[name]).to_pylist() for name in ("subject_token", "code"))
    for token, code, at_ms, number in zip(tokens, codes, effective(chosen, "event_time"), value, strict=True):
        if not math.isnan(number):
            yield token, CODES[code], at_ms, number


def _take_results(known: dict[str, Hours], labs: pa.Table) -> None:
    """Of each order and variable the version that holds; every version with a value shows that there was an hour."""
    holds: dict[tuple[str, str, str], tuple] = {}
    reported = (labs["reported_at"].cast(pa.int64()).to_numpy() // 1000).tolist()
    names = ("subject_token", "code", "order_id", "status", "event_id", "numeric_value", "quality_flag")
    columns = [plain(labs[name]).to_pylist() for name in names]
    times = zip(effective(labs, "collected_at"), reported, strict=True)
    for (at_ms, reported_ms), row in zip(times, zip(*columns, strict=True), strict=True):
        token, code, order, status, event, number, flag = row
        if token is None or code not in CODES:
            continue
        counts = number is not None and flag is None and status != "X"
        value = np.float32(number if counts else math.nan)
        of = known.setdefault(token, Hours())
        if counts:
            of.measured.add(at_ms // HOUR_MS)
        version = (reported_ms, _RANKS[status], event[:8]), at_ms, value
        key = token, CODES[code], order
        holds[key] = max(holds.get(key, version), version, key=lambda each: each[0])
    for (token, variable, _), (_, at_ms, value) in holds.items():
        if not math.isnan(value):
            known[token].take(variable, at_ms, value)


def effective(rows: pa.Table, column: str) -> list[int]:
    """When each row counts from: milliseconds, no later than Kafka's append."""
    told, appended = (rows[name].cast(pa.int64()).to_numpy() // 1000 for name in (column, "kafka_time"))
    return np.minimum(told, appended).tolist()
