"""The rules of one pack, numbered: what every part of the monitor looks up.

Holds: the fixed numbers of rules, their versions, where each looks. Does not hold: a rule's numbers (`rule_packs.py`)
or its medicine (one module a rule).

A threshold bears its signal's number; absence has none, since it is found by the clock and has no episodes.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from pipelines.clinical import news2, qsofa, shock_index, shock_trend, sirs, sofa
from pipelines.clinical.rule_packs import HIGH, LOW, AbsenceRule, Rule, RulePack
from pipelines.clinical.signals import ANALYTES, INDEX, SIGNALS
from pipelines.clinical.thresholds import LimitTable

R = TypeVar("R", bound=Rule)

NEWS2 = len(SIGNALS)
QSOFA, SHOCK_INDEX, SIRS, SOFA, SHOCK_TREND, GLUCOSE_LOW, GLUCOSE_HIGH = range(NEWS2 + 1, NEWS2 + 8)
FIRST_ANALYTE = GLUCOSE_HIGH + 1
RULES = FIRST_ANALYTE + len(ANALYTES)
NAMES = (
    *(f"threshold.{signal.name}" for signal in SIGNALS),
    news2.RULE,
    qsofa.RULE,
    shock_index.RULE,
    sirs.RULE,
    sofa.RULE,
    shock_trend.RULE,
    LOW,
    HIGH,
    *(f"threshold.{analyte.name}" for analyte in ANALYTES),
)
NUMBER = {name: at for at, name in enumerate(NAMES)}
ACROSS_STREAMS = frozenset((SIRS, SOFA))
"""Rules that look at several streams: when they find what depends on how topics are interleaved."""


class Rulebook:
    """What a pack says, by rule number."""

    def __init__(self, pack: RulePack) -> None:
        self.pack = pack
        self.limits, self.analytes = LimitTable.of(pack, SIGNALS), LimitTable.of(pack, ANALYTES)
        self._wards = {NUMBER[name]: frozenset(rule.wards) for name, rule in pack.rules.items() if name in NUMBER}
        self._is_on = np.array([name in pack.rules and pack.rules[name].enabled for name in NAMES])
        self.is_limited = any(rule.wards for rule in pack.rules.values())
        self.absences = {
            INDEX[signal.code]: rule
            for signal in SIGNALS
            if isinstance(rule := pack.rules.get(f"absence.{signal.name}"), AbsenceRule) and rule.enabled
        }

    def told(self, rule: int, kind: type[R]) -> R | None:
        """The rule's numbers; None where it is off."""
        told = self.pack.rules.get(NAMES[rule])
        return told if isinstance(told, kind) and told.enabled else None

    def version(self, rule: int) -> str | None:
        """The version that the rule's alerts bear; None where it is off."""
        return self.pack.versions[NAMES[rule]] if self._is_on[rule] else None

    def looks_in(self, rule: int, wards: np.ndarray) -> np.ndarray:
        """bool[n]: whether the rule looks in these wards (object[n], None where unknown)."""
        allowed = self._wards.get(rule)
        if not allowed:
            return np.ones(len(wards), bool)
        return np.array([ward in allowed for ward in wards.tolist()], bool)
