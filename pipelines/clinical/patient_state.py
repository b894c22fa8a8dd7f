"""What is known of each patient over all streams, and what the rules find in it as rows come.

Holds: signals, results, vasopressors, glucose, windows and silences side by side, and the way of a stream's rows
through them to findings.
Does not hold: what a rule says (one module a rule), its numbers (`rule_packs.py`), or what becomes of a finding
(`monitor.py`).

A rule that looks at one stream finds by that stream's positions alone. SIRS and SOFA look at several, between which
there is no order but time: they are judged at each moment of `device.vitals`, with the results whose specimens were
taken by then, and at each result, with the signals as they stand.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipelines.clinical import shock_trend, vital_rules
from pipelines.clinical.carry_forward import Moments, NewestReadings
from pipelines.clinical.cases import Case
from pipelines.clinical.findings import Found
from pipelines.clinical.glucose import GlucoseWindows
from pipelines.clinical.patients import Register, Whereabouts
from pipelines.clinical.readings import Readings, dictionary, effective_ms, milliseconds, null, scorable
from pipelines.clinical.remembered import Remembered
from pipelines.clinical.results import LabResults, Results, Taken, results, rounds
from pipelines.clinical.rule_packs import ShockTrendRule
from pipelines.clinical.rulebook import (
    FIRST_ANALYTE,
    GLUCOSE_HIGH,
    GLUCOSE_LOW,
    SHOCK_TREND,
    SIRS,
    SOFA,
    Rulebook,
)
from pipelines.clinical.signals import ANALYTES, INDEX
from pipelines.clinical.silences import Silences
from pipelines.clinical.stream_rules import LABS, MEDICATION, VITALS, WEARABLES, excursions, limits_of
from pipelines.clinical.vasopressors import Vasopressors
from warehouse.vocabulary import CGM_GLUCOSE, HEART_RATE, MAP

_PULSE, _MEAN = INDEX[HEART_RATE], INDEX[MAP]


@dataclass(frozen=True, slots=True)
class Correction:
    """A version of a result that no longer holds: the row that replaced it, whose it was, what and of when."""

    row: int
    slot: int
    code: str
    at_ms: int


Turn = tuple[list[Found], list[Correction]]
"""Findings that are to be decided before the next turn is asked for, and the corrections that came before them."""


class PatientState:
    """All patients of the partitions of a shard. Not thread-safe.

    Attributes:
        patients: whose place is which. whereabouts: who they are and where they lie.
        silences: when each was last heard of.
    """

    def __init__(self) -> None:
        self.patients, self.whereabouts, self.silences = Register(), Whereabouts(), Silences()
        self._newest = NewestReadings(self.patients)
        self._results, self._drugs = LabResults(), Vasopressors()
        self._glucose, self._windows = GlucoseWindows(), shock_trend.Windows()

    def find(self, rows: pa.Table, stream: str, book: Rulebook) -> Iterator[Turn]:
        """Take in the next rows of a stream; what the rules of a pack find, turn by turn."""
        if stream == VITALS:
            yield self._of_vitals(rows, book), []
        elif stream == WEARABLES:
            yield self._of_glucose(rows, book), []
        elif stream == LABS:
            yield from self._of_results(rows, book)
        elif stream == MEDICATION:
            self._drugs.take(self.patients.slots_in(rows), rows)

    def find_again(self, rows: pa.Table, stream: str, book: Rulebook) -> Iterator[list[Found]]:
        """As `find`, of rows that a restart remembers: but for windows, which come whole."""
        if stream == VITALS:
            yield self._of_moments(rows, scorable(rows), book)
        else:
            yield from (found for found, _ in self.find(rows, stream, book))

    def restore(self, others: Remembered) -> None:
        """Take up what a restart knows of drugs and windows."""
        self._drugs.take(self.patients.slots_in(others.medication), others.medication)
        windows = others.windows
        if len(windows):
            slots = self.patients.slots_of(windows["subject_token"].to_pylist())
            rate, pressure = (
                np.stack([windows[name].to_numpy() for name in names])
                for names in (("rates", "rate_sum", "rate_squares"), ("pressures", "pressure_sum"))
            )
            self._windows.restore(slots, windows["window"].to_numpy(), rate, pressure)

    def forget(self, tokens: Iterable[str]) -> np.ndarray:
        """Nothing is known of these patients any more; who comes back begins anew. int64: the places they had."""
        slots = self.patients.forget(tokens)
        memories = (self._newest, self._results, self._drugs, self._glucose, self._windows)
        for memory in (*memories, self.silences, self.whereabouts):
            memory.forget(slots)
        return slots

    def level_now(self, case: Case) -> int:
        """The level that the case's rule would find as of its time, by what is known of its results now."""
        slot, time = np.array([case.slot]), np.array([case.clock_ms])
        values, _ = self._results.as_of(slot, time)
        if case.rule >= FIRST_ANALYTE:
            analyte = case.rule - FIRST_ANALYTE
            return int(case.book.analytes.levels(np.array([analyte]), values[analyte])[0][0])
        known = vital_rules.known_by(case.evidence, values)
        judged = vital_rules.ACROSS[case.rule](known, case.book)
        return 0 if judged is None else int(judged.level[0])

    # --- vital signs

    def _of_vitals(self, rows: pa.Table, book: Rulebook) -> list[Found]:
        readings = scorable(rows)
        return [*self._of_moments(rows, readings, book), *self._trends(readings, book)]

    def _of_moments(self, rows: pa.Table, readings: Readings, book: Rulebook) -> list[Found]:
        """What the newest readings say, after each that was not late."""
        moments = self._newest.advance(readings)
        self._hear(rows, readings)
        return [*vital_rules.of_readings(moments, book), *self._across(moments, book)]

    def _hear(self, rows: pa.Table, readings: Readings) -> None:
        slots = self._slots(readings)
        self.whereabouts.note(slots, rows, readings.row)
        partitions, offsets = (rows[name].to_numpy() for name in ("kafka_partition", "kafka_offset"))
        self.silences.hear(slots, readings, milliseconds(rows["kafka_time"]), partitions, offsets)

    def _slots(self, readings: Readings) -> np.ndarray:
        return self.patients.slots_of(readings.tokens)[readings.subject]

    def _across(self, moments: Moments, book: Rulebook) -> list[Found]:
        """SIRS at every moment; SOFA where more is known of the subject than its arterial pressure."""
        found = self._at_moments(moments, slice(None), SIRS, book)
        more = np.flatnonzero(self._results.has(moments.slot) | self._drugs.has(moments.slot))
        return found + self._at_moments(moments, more, SOFA, book)

    def _at_moments(self, moments: Moments, at: slice | np.ndarray, rule: int, book: Rulebook) -> list[Found]:
        slot, clock_ms = moments.slot[at], moments.clock_ms[at]
        signals = moments.values[:, at], moments.at_ms[:, at]
        return self._judged(moments.row[at], slot, clock_ms, signals, rule, book)

    def _judged(
        self,
        row: np.ndarray,
        slot: np.ndarray,
        clock_ms: np.ndarray,
        signals: tuple[np.ndarray, np.ndarray],
        rule: int,
        book: Rulebook,
    ) -> list[Found]:
        """What a rule over several streams finds of these subjects at these times, of which the signals are known."""
        if not len(row):
            return []
        known = vital_rules.Known(*signals, *self._results.as_of(slot, clock_ms), *self._drugs.as_of(slot, clock_ms))
        judged = vital_rules.ACROSS[rule](known, book)
        if judged is None:
            return []
        return [Found(np.full(len(row), rule), row, slot, judged.level, judged.clear, clock_ms, judged.tell)]

    def _trends(self, readings: Readings, book: Rulebook) -> list[Found]:
        told = book.told(SHOCK_TREND, ShockTrendRule)
        chosen = np.flatnonzero((readings.signal == _PULSE) | (readings.signal == _MEAN))
        if told is None or not len(chosen):
            return []
        slots = self._slots(readings)
        is_rate, at_ms = readings.signal[chosen] == _PULSE, readings.effective_ms[chosen]
        opened = self._windows.advance(slots[chosen], is_rate, at_ms, readings.value[chosen], told.windows)
        return [_trend(turn, chosen[turn.row], slots, readings, told) for turn in opened]

    # --- glucose

    def _of_glucose(self, rows: pa.Table, book: Rulebook) -> list[Found]:
        slots = self.patients.slots_in(rows)
        value = rows["numeric_value"].to_numpy().astype(np.float64)
        codes, names = dictionary(rows["code"])
        is_glucose = np.array([*(name == CGM_GLUCOSE for name in names.to_pylist()), False])[codes]
        row = np.flatnonzero((slots >= 0) & is_glucose & null(rows["quality_flag"]) & ~np.isnan(value))
        if not len(row):
            return []
        parts = self._glucose.advance(slots[row], effective_ms(rows)[row], value[row])
        return [
            found
            for samples in parts
            for rule, is_low in ((GLUCOSE_LOW, True), (GLUCOSE_HIGH, False))
            if (found := excursions(samples, row, rule, is_low, book)) is not None
        ]

    # --- results

    def _of_results(self, rows: pa.Table, book: Rulebook) -> Iterator[Turn]:
        found = results(rows)
        slots = self.patients.slots_of(found.tokens)[found.subject] if len(found) else np.empty(0, np.int64)
        for at in rounds(slots):
            taken = self._results.take(slots[at], found, at)
            yield self._of_round(found, slots[at], at, taken, book), _corrections(found, slots, at, taken)

    def _of_round(self, found: Results, slots: np.ndarray, at: np.ndarray, taken: Taken, book: Rulebook) -> list[Found]:
        """What the results of a round say, no two of them of one subject."""
        made = [limits_of(found, slots, at, taken, book)]
        clock_ms = np.maximum(self._newest.clock_ms(slots), found.at_ms[at])
        for rule, inputs in ((SIRS, vital_rules.SIRS_INPUTS[1]), (SOFA, vital_rules.SOFA_INPUTS[1])):
            mine = np.flatnonzero(np.isin(found.analyte[at], inputs))
            slot, times = slots[mine], clock_ms[mine]
            made += self._judged(found.row[at[mine]], slot, times, self._newest.as_of(slot, times), rule, book)
        return made


def _trend(
    turn: shock_trend.Opened, at: np.ndarray, slots: np.ndarray, readings: Readings, told: ShockTrendRule
) -> Found:
    level, clear = turn.trend.levels(told)
    rule = np.full(len(at), SHOCK_TREND)
    return Found(rule, readings.row[at], slots[at], level, clear, readings.effective_ms[at], turn.trend.account)


def _corrections(found: Results, slots: np.ndarray, at: np.ndarray, taken: Taken) -> list[Correction]:
    return [
        Correction(
            int(found.row[at[nth]]),
            int(slots[at[nth]]),
            ANALYTES[found.analyte[at[nth]]].code,
            int(taken.corrected_ms[nth]),
        )
        for nth in np.flatnonzero(taken.corrected_ms > 0).tolist()
    ]
