"""SIRS and SOFA, which look at several streams: is each alert borne out by the rows it names, and is none missing that
one stream alone must have given.

Holds: both scores restated as plain arithmetic on what an alert says it reckoned with, and the search for the rows.
Does not hold: when exactly such an alert is due: between topics there is no order but time.

Sources: Bone et al., Chest 1992;101:1644; Vincent et al., Intensive Care Med 1996;22:707.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from .alerts import CODES, HOUR_MS, MAP, OXYGEN, PULSE, RR, TEMPERATURE, WORDS

WBC, PLATELETS, BILIRUBIN, CREATININE, PACO2, PAO2, FIO2 = (
    "6690-2", "777-3", "1975-2", "2160-0", "2019-8", "2703-7", "3150-0",
)  # fmt: skip
CARRY_MS = dict.fromkeys((WBC, PLATELETS, BILIRUBIN, CREATININE), 24 * HOUR_MS) | dict.fromkeys(
    (PACO2, PAO2, FIO2), 6 * HOUR_MS
)
CARRY_MS |= dict.fromkeys(CODES, HOUR_MS) | {CODES[at]: 4 * HOUR_MS for at in (2, 5, 6)}
DOPAMINE, DOBUTAMINE, EPINEPHRINE, NOREPINEPHRINE = "3628", "3616", "3992", "7512"
DRUGS = (DOPAMINE, DOBUTAMINE, EPINEPHRINE, NOREPINEPHRINE)
CARRY_MS |= dict.fromkeys(DRUGS, 6 * HOUR_MS)

Told = tuple[str, float, int]
"""code, value, effective time in milliseconds"""


def read_evidence(texts: Iterable[str]) -> list[Told]:
    """What an alert says it was reckoned from."""
    told = []
    for text in texts:
        code, value, at = text.split(" ")
        told.append((code, float(value), round(datetime.fromisoformat(at).timestamp() * 1000)))
    return told


def sirs_level(known: Mapping[str, float]) -> int:
    """1 with two criteria of four or more."""
    met = 0
    if (t := known.get(CODES[TEMPERATURE])) is not None:
        met += not 360 <= math.floor(t * 10 + 0.5) <= 380
    met += math.floor(known.get(CODES[PULSE], 0) + 0.5) > 90
    met += math.floor(known.get(CODES[RR], 0) + 0.5) > 20 or math.floor(known.get(PACO2, 99) + 0.5) < 32
    if (cells := known.get(WBC)) is not None:
        met += not 40 <= math.floor(cells * 10 + 0.5) <= 120
    return int(met >= 2)


def sofa_level(known: Mapping[str, float]) -> int:
    """1 with two points or more of what can be known here."""
    points = _steps(known.get(BILIRUBIN), (1.2, 2.0, 6.0, 12.0)) + _steps(known.get(CREATININE), (1.2, 2.0, 3.5, 5.0))
    if (platelets := known.get(PLATELETS)) is not None:
        points += sum(math.floor(platelets + 0.5) < limit for limit in (150, 100, 50, 20))
    fio2 = known.get(FIO2, 21.0 if known.get(CODES[OXYGEN]) == 0 else None)
    if (pao2 := known.get(PAO2)) is not None and fio2:
        points += sum(pao2 / (fio2 / 100) < limit for limit in (400, 300))
    return int(points + _circulation(known) >= 2)


def _circulation(known: Mapping[str, float]) -> int:
    dopamine, catecholamine = known.get(DOPAMINE, 0), max(known.get(EPINEPHRINE, 0), known.get(NOREPINEPHRINE, 0))
    if dopamine > 15 or catecholamine > 0.1:
        return 4
    if dopamine > 5 or catecholamine > 0:
        return 3
    if dopamine > 0 or known.get(DOBUTAMINE, 0) > 0:
        return 2
    return int(math.floor(known.get(CODES[MAP], 99) + 0.5) < 70)


def _steps(value: float | None, limits: tuple[float, ...]) -> int:
    return 0 if value is None else sum(math.floor(value * 10 + 0.5) >= round(limit * 10) for limit in limits)


LEVELS = {"sirs": sirs_level, "sofa": sofa_level}


def is_borne_out(rule: str, level: int, clock_ms: int, evidence: list[Told], rows: set[tuple], token: str) -> bool:
    """Whether every input is a row of the subject's, still counts at the alert's time, and the level follows."""
    current = all(0 <= clock_ms - at <= CARRY_MS.get(code, -1) for code, _, at in evidence)
    there = all((token, code, value, at) in rows for code, value, at in evidence)
    return bool(evidence) and current and there and LEVELS[rule]({c: v for c, v, _ in evidence}) == level


def inputs(vitals: pa.Table, labs: pa.Table | None, medication: pa.Table | None) -> set[tuple]:
    """(token, code, value, effective milliseconds) of everything that these scores may look at."""
    found = _of(vitals, "event_time", [*CODES])
    if labs is not None:
        found |= _of(labs, "collected_at", [WBC, PLATELETS, BILIRUBIN, CREATININE, PACO2, PAO2, FIO2])
    if medication is not None:
        found |= _rates(medication)
    return found


def _of(rows: pa.Table, time: str, codes: list[str]) -> set[tuple]:
    rows = rows.filter(
        pc.and_(pc.is_in(rows["code"].cast(pa.string()), pa.array(codes)), pc.is_null(rows["quality_flag"]))
    )
    at_us = pc.min_element_wise(*(rows[name].cast(pa.int64()) for name in (time, "kafka_time")))
    values = rows["numeric_value"].to_pylist()
    words = rows["text_value"].to_pylist() if "text_value" in rows.column_names else [None] * len(rows)
    told = [WORDS.get(word) if value is None else value for value, word in zip(values, words, strict=True)]
    oxygen = CODES[OXYGEN]
    return {
        (token, code, float(value > 0) if code == oxygen else value, at // 1000)
        for token, code, value, at in zip(
            rows["subject_token"].to_pylist(), rows["code"].to_pylist(), told, at_us.to_pylist(), strict=True
        )
        if value is not None and token is not None
    }


def _rates(medication: pa.Table) -> set[tuple]:
    found = set()
    for row in medication.filter(pc.is_in(medication["code"].cast(pa.string()), pa.array(DRUGS))).to_pylist():
        if row["action"] == "administered":
            at_us = min(row[name].timestamp() for name in ("event_time", "kafka_time"))
            is_rate = row["unit"] == "ug/kg/min" and row["dose"] is not None
            found.add((row["subject_token"], row["code"], row["dose"] if is_rate else 1e-9, math.floor(at_us * 1000)))
    return found
