"""The rules that look at a subject's signals as they stand at a moment, alone or beside results and vasopressors.

Holds: which columns each rule is given, and its findings in words. Does not hold: the rules' arithmetic (one module a
rule), the state they look at, or whether an alert goes out.

Thresholds look only at the reading that came; the scores look at every moment of the subject.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.alerts.message import Evidence
from pipelines.clinical import news2, qsofa, shock_index, sirs, sofa, thresholds
from pipelines.clinical.carry_forward import Moments
from pipelines.clinical.findings import Account, Found
from pipelines.clinical.rule_packs import News2Rule, QsofaRule, ShockIndexRule, SirsRule, SofaRule
from pipelines.clinical.rulebook import NEWS2, QSOFA, SHOCK_INDEX, SIRS, SOFA, Rulebook
from pipelines.clinical.signals import ANALYTE, ANALYTES, INDEX, SIGNALS, Signal
from warehouse import vocabulary

_NEWS2_ROWS = [INDEX[parameter.signal.code] for parameter in news2.PARAMETERS]
_THRESHOLD_SEVERITY = {thresholds.WARNING: "warning", thresholds.CRITICAL: "urgent"}
_NEWS2_SEVERITY = {1: "warning", 2: "urgent", 3: "emergency"}
_SEVERITY = {1: "warning", 2: "urgent"}
_RATE, _PRESSURE, _PULSE = (
    INDEX[code] for code in (vocabulary.RESPIRATORY_RATE, vocabulary.SBP, vocabulary.HEART_RATE)
)
_MIND, _TEMPERATURE, _MEAN = (INDEX[c] for c in (vocabulary.CONSCIOUSNESS, vocabulary.TEMPERATURE, vocabulary.MAP))
_OXYGEN = INDEX[vocabulary.SUPPLEMENTAL_OXYGEN]
_LACTATE, _CELLS, _PLATELETS, _BILIRUBIN, _CREATININE, _PACO2, _PAO2, _FIO2 = (
    ANALYTE[code]
    for code in (
        vocabulary.LACTATE, vocabulary.LEUKOCYTES, vocabulary.PLATELETS, vocabulary.BILIRUBIN, vocabulary.CREATININE,
        vocabulary.PACO2, vocabulary.PAO2, vocabulary.FIO2,
    )
)  # fmt: skip
_ROOM_AIR = 21.0


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of n subjects, each at a time of its own.

    Attributes:
        vitals, vitals_ms: float64 and int64 [len(SIGNALS), n], NaN = not known; and since when.
        results, results_ms: of `ANALYTES`, likewise.
        rates, rates_ms: of `sofa.VASOPRESSORS`, 0 = does not run.
    """

    vitals: np.ndarray
    vitals_ms: np.ndarray
    results: np.ndarray
    results_ms: np.ndarray
    rates: np.ndarray
    rates_ms: np.ndarray

    def evidence(
        self, at: int, signals: tuple[int, ...], analytes: tuple[int, ...], drugs: bool = False
    ) -> list[Evidence]:
        """The named inputs of one subject, as far as they are known."""
        told = [
            Evidence(named[i].code, float(values[i, at]), int(times[i, at]))
            for named, values, times, wanted in (
                (SIGNALS, self.vitals, self.vitals_ms, signals),
                (ANALYTES, self.results, self.results_ms, analytes),
            )
            for i in wanted
            if not np.isnan(values[i, at])
        ]
        running = [i for i in range(len(sofa.VASOPRESSORS)) if drugs and self.rates[i, at] > 0]
        return told + [
            Evidence(sofa.VASOPRESSORS[i], float(self.rates[i, at]), int(self.rates_ms[i, at])) for i in running
        ]


def of_readings(moments: Moments, book: Rulebook) -> list[Found]:
    """What readings of `device.vitals` alone say: thresholds, NEWS2, qSOFA, shock index."""
    made = [_thresholds(moments, book), _news2(moments, book), _qsofa(moments, book), _shock_index(moments, book)]
    return [found for found in made if found is not None]


def _of_rule(moments: Moments, rule: int, level: np.ndarray, clear: np.ndarray, tell) -> Found:
    every = np.full(len(moments), rule)
    return Found(every, moments.row, moments.slot, level, clear, moments.clock_ms, tell)


def _thresholds(moments: Moments, book: Rulebook) -> Found:
    at = np.arange(len(moments))
    level, clear = book.limits.levels(moments.signal, moments.values[moments.signal, at])

    def tell(nth: int, level: int) -> Account:
        signal = int(moments.signal[nth])
        return limit_account(book.limits.by_signal[signal], level, float(moments.values[signal, nth]))

    return Found(moments.signal, moments.row, moments.slot, level, clear, moments.clock_ms, tell)


def limit_account(limits: thresholds.Limits, level: int, value: float, evidence: tuple[str, ...] = ()) -> Account:
    """A threshold's finding in words."""
    reasons = (limits.reason(level, value),)
    return Account(_THRESHOLD_SEVERITY[level], reasons, code=limits.signal.code, value=value, evidence=evidence)


def _news2(moments: Moments, book: Rulebook) -> Found | None:
    told = book.told(NEWS2, News2Rule)
    if told is None:
        return None
    columns = {p.name: moments.values[row] for p, row in zip(news2.PARAMETERS, _NEWS2_ROWS, strict=True)}
    score = news2.news2(columns)

    def tell(nth: int, level: int) -> Account:
        missing = tuple(score.missing_names(nth))
        bound = f", a lower bound without {', '.join(missing)}" if missing else ""
        trigger = {1: f"{told.red_score} in one parameter", 2: f"{told.urgent} or more", 3: f"{told.emergency} or more"}
        reasons = [f"NEWS2 {score.aggregate[nth]}, trigger {trigger[level]}{bound}"]
        for at, parameter in enumerate(news2.PARAMETERS):
            if points := score.points[at, nth]:
                value = float(moments.values[_NEWS2_ROWS[at], nth])
                reasons.append(f"{_said(parameter.signal, value)} scores {points} ({parameter.band(value)})")
        return Account(_NEWS2_SEVERITY[level], tuple(reasons), missing, score=float(score.aggregate[nth]))

    return _of_rule(moments, NEWS2, score.levels(told), score.clear(told), tell)


def _qsofa(moments: Moments, book: Rulebook) -> Found | None:
    told = book.told(QSOFA, QsofaRule)
    if told is None:
        return None
    rows = (_RATE, _PRESSURE, _MIND)
    score = qsofa.qsofa(*(moments.values[row] for row in rows), told)

    def tell(nth: int, level: int) -> Account:
        missing = tuple(name for name, absent in zip(qsofa.SIGNS, score.missing[:, nth], strict=True) if absent)
        met = [
            _said(SIGNALS[row], float(moments.values[row, nth]))
            for row, is_met in zip(rows, score.met[:, nth], strict=True)
            if is_met
        ]
        reasons = (f"qSOFA {score.points[nth]} of 3, trigger {told.points} (Sepsis-3, JAMA 2016)", *met)
        evidence = _texts(moments.values, moments.at_ms, rows, nth)
        return Account(_SEVERITY[level], reasons, missing, score=float(score.points[nth]), evidence=evidence)

    return _of_rule(moments, QSOFA, score.levels(told), score.clear(told), tell)


def _shock_index(moments: Moments, book: Rulebook) -> Found | None:
    told = book.told(SHOCK_INDEX, ShockIndexRule)
    if told is None:
        return None
    rows = (_PULSE, _PRESSURE)
    index = shock_index.shock_index(*(moments.values[row] for row in rows))
    level, clear = shock_index.levels(index, told)

    def tell(nth: int, level: int) -> Account:
        limit = told.critical if level == thresholds.CRITICAL else told.warning
        reasons = [f"shock index {index[nth]:.2f}, limit {limit:g} (Rady et al. 1994, Berger et al. 2013)"]
        reasons += [_said(SIGNALS[row], float(moments.values[row, nth])) for row in rows]
        evidence = _texts(moments.values, moments.at_ms, rows, nth)
        return Account(_SEVERITY[level], tuple(reasons), score=float(index[nth]), evidence=evidence)

    return _of_rule(moments, SHOCK_INDEX, level, clear, tell)


@dataclass(frozen=True, slots=True)
class Judged:
    """Levels and words of a score over several streams."""

    level: np.ndarray
    clear: np.ndarray
    tell: Callable[[int, int], Account]


SIRS_INPUTS = ((_TEMPERATURE, _PULSE, _RATE), (_PACO2, _CELLS))
SOFA_INPUTS = ((_MEAN, _OXYGEN), (_PAO2, _FIO2, _PLATELETS, _BILIRUBIN, _CREATININE))


def known_by(evidence: Sequence[Evidence], results: np.ndarray) -> Known:
    """What an alert was reckoned from, its results replaced by these (float64[len(ANALYTES), 1])."""
    vitals, rates = np.full((len(SIGNALS), 1), np.nan), np.zeros((len(sofa.VASOPRESSORS), 1))
    for each in evidence:
        if each.code in INDEX:
            vitals[INDEX[each.code], 0] = each.value
        elif each.code in sofa.VASOPRESSORS:
            rates[sofa.VASOPRESSORS.index(each.code), 0] = each.value
    never = np.zeros(1, np.int64)
    return Known(vitals, never, results, never, rates, never)


def sirs_of(known: Known, book: Rulebook) -> Judged | None:
    """SIRS; None where the pack has it off."""
    told = book.told(SIRS, SirsRule)
    if told is None:
        return None
    vitals, labs = known.vitals, known.results
    score = sirs.sirs(vitals[_TEMPERATURE], vitals[_PULSE], vitals[_RATE], labs[_PACO2], labs[_CELLS], told)

    def tell(nth: int, level: int) -> Account:
        missing = [name for name, absent in zip(sirs.CRITERIA, score.missing[:, nth], strict=True) if absent]
        reasons = [f"SIRS {score.count[nth]} of 4 criteria, trigger {told.criteria} (Bone et al. 1992), a lower bound"]
        given = [(SIGNALS[i], vitals[i, nth]) for i in SIRS_INPUTS[0]] + [
            (ANALYTES[i], labs[i, nth]) for i in SIRS_INPUTS[1]
        ]
        reasons += [_said(signal, float(value)) for signal, value in given if not np.isnan(value)]
        evidence = tuple(each.text for each in known.evidence(nth, *SIRS_INPUTS))
        return Account(
            _SEVERITY[level], tuple(reasons), (*missing, *sirs.NEVER_KNOWN), score=float(score.count[nth]),
            evidence=evidence,
        )  # fmt: skip

    return Judged(score.levels(told), score.clear(told), tell)


def sofa_of(known: Known, book: Rulebook) -> Judged | None:
    """SOFA as far as it is known; None where the pack has it off."""
    told = book.told(SOFA, SofaRule)
    if told is None:
        return None
    vitals, labs = known.vitals, known.results
    fio2 = np.where(np.isnan(labs[_FIO2]) & (vitals[_OXYGEN] == 0), _ROOM_AIR, labs[_FIO2])
    score = sofa.sofa(
        labs[_PAO2], fio2, labs[_PLATELETS], labs[_BILIRUBIN], vitals[_MEAN], known.rates, labs[_CREATININE]
    )

    def tell(nth: int, level: int) -> Account:
        missing = [organ for organ, absent in zip(sofa.ORGANS, score.missing[:, nth], strict=True) if absent]
        reasons = [f"SOFA {score.total[nth]}, a lower bound, trigger {told.points} (Vincent et al. 1996, Sepsis-3)"]
        reasons += [
            f"{organ} scores {points}"
            for organ, points in zip(sofa.ORGANS, score.points[:, nth], strict=True)
            if points
        ]
        evidence = tuple(each.text for each in known.evidence(nth, *SOFA_INPUTS, drugs=True))
        return Account(
            _SEVERITY[level], tuple(reasons), (*missing, *sofa.NEVER_KNOWN), score=float(score.total[nth]),
            evidence=evidence,
        )  # fmt: skip

    return Judged(score.levels(told), score.clear(told), tell)


ACROSS = {SIRS: sirs_of, SOFA: sofa_of}
"""The rules that look at several streams: what is known of n subjects, and a pack -> levels and words."""


def _said(signal: Signal, value: float) -> str:
    return f"{signal.name} ({signal.code}) {signal.text(value)}"


def _texts(values: np.ndarray, at_ms: np.ndarray, rows: tuple[int, ...], nth: int) -> tuple[str, ...]:
    return tuple(
        Evidence(SIGNALS[row].code, float(values[row, nth]), int(at_ms[row, nth])).text
        for row in rows
        if not np.isnan(values[row, nth])
    )
