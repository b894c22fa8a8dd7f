"""The rules that look at results or at glucose alone, and what a triggering row tells of itself.

Holds: their findings in words, and `Context`. Does not hold: the state they look at (`results.py`, `glucose.py`), or
SIRS and SOFA, which look at several streams (`vital_rules.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.alerts.message import Evidence
from pipelines.clinical import glucose, vital_rules
from pipelines.clinical.findings import Account, Found
from pipelines.clinical.readings import milliseconds
from pipelines.clinical.results import Results, Taken
from pipelines.clinical.rule_packs import ExcursionRule
from pipelines.clinical.rulebook import FIRST_ANALYTE, Rulebook
from warehouse.vocabulary import CGM_GLUCOSE, CODES

VITALS, WEARABLES, LABS, MEDICATION = "device.vitals", "iot.patient", "lab.results", "medication.events"
_GLUCOSE = CODES[CGM_GLUCOSE]
_MOMENT = pa.timestamp("us", "UTC")


def limits_of(found: Results, slots: np.ndarray, at: np.ndarray, taken: Taken, book: Rulebook) -> Found:
    """Thresholds of single analytes, where the newest result changed."""
    new = np.flatnonzero(taken.is_newest)
    analyte, value, at_ms = found.analyte[at[new]], taken.value[new], taken.at_ms[new]
    level, clear = book.analytes.levels(analyte, value)

    def tell(nth: int, level: int) -> Account:
        limits = book.analytes.by_signal[int(analyte[nth])]
        evidence = Evidence(limits.signal.code, float(value[nth]), int(at_ms[nth])).text
        return vital_rules.limit_account(limits, level, float(value[nth]), (evidence,))

    rows = found.row[at[new]]
    return Found(FIRST_ANALYTE + analyte, rows, slots[new], level, clear, taken.clock_ms[new], tell)


def excursions(samples: glucose.Samples, row: np.ndarray, rule: int, is_low: bool, book: Rulebook) -> Found | None:
    told = book.told(rule, ExcursionRule)
    if told is None:
        return None
    judged, newest = glucose.excursion(samples.slot, samples.at_ms, samples.value, told, is_low), samples.newest

    def tell(nth: int, level: int) -> Account:
        value, side = float(samples.value[newest[nth]]), "below" if is_low else "above"
        said = f"{_GLUCOSE.name} ({CGM_GLUCOSE}) {value:g} {_GLUCOSE.unit}, {side}"
        minutes = judged.proven_ms[newest[nth]] / 60_000
        beyond = (
            f"{told.urgent:g}" if level == 2 else f"{told.limit:g} for {minutes:.0f} min, limit {told.minutes:g} min"
        )
        reason = f"{said} {beyond} (Danne et al. 2017)"
        return Account("urgent" if level == 2 else "warning", (reason,), code=CGM_GLUCOSE, value=value)

    rules = np.full(len(newest), rule)
    level, clear = judged.level[newest], judged.clear[newest]
    return Found(rules, row[samples.row], samples.slot[newest], level, clear, samples.at_ms[newest], tell)


@dataclass(frozen=True, slots=True)
class Context:
    """What the triggering rows say besides their values, one entry an alert."""

    patient_id: list[str]
    ward: list[str | None]
    knows_ward: bool
    received_ms: list[int | None]
    appended_ms: list[int]
    device_ms: list[int]
    partition: list[int]
    offset: list[int]

    @classmethod
    def of(cls, rows: pa.Table, triggering: np.ndarray, stream: str) -> Context:
        chosen = rows.take(pa.array(triggering))
        knows = stream in (VITALS, WEARABLES)
        unknown: list = [None] * len(chosen)
        received = chosen["received_at"].cast(_MOMENT).cast(pa.int64()).to_pylist() if knows else unknown
        device = chosen["collected_at" if stream == LABS else "event_time"]
        return cls(
            patient_id=chosen["patient_id"].to_pylist(),
            ward=chosen["ward"].to_pylist() if knows else unknown,
            knows_ward=knows,
            received_ms=[None if at is None else at // 1000 for at in received],
            appended_ms=milliseconds(chosen["kafka_time"]).tolist(),
            device_ms=milliseconds(device).tolist(),
            partition=chosen["kafka_partition"].to_pylist(),
            offset=chosen["kafka_offset"].to_pylist(),
        )
