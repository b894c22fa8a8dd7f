"""Alerts that stand on laboratory results, so that a correction can take them back.

Holds: what each such alert was reckoned from, and which of them a corrected result was part of.
Does not hold: the judgement whether the level still holds (`patient_state.py` asks the rule again), or the message
(`monitor.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from pipelines.alerts.message import Evidence
from pipelines.clinical.rulebook import ACROSS_STREAMS, FIRST_ANALYTE, Rulebook

KEPT = timedelta(hours=48)
"""Alerts older than this, by the clocks of alerts, before a subject's newest one are not taken back any more."""
_KEPT_MS = int(KEPT.total_seconds() * 1000)


def rests_on_results(rule: int) -> bool:
    """Whether a correction of a result can take alerts of this rule back."""
    return rule in ACROSS_STREAMS or rule >= FIRST_ANALYTE


@dataclass(frozen=True, slots=True)
class Case:
    """An alert that was sent and stands.

    Attributes:
        pair: number of its (rule, subject) pair in the policy. clock_ms: its effective time, as of which it held.
        identity: its id, were it the first of its identity.
        book: the pack by which it was found.
    """

    alert_id: str
    identity: str
    pair: int
    rule: int
    slot: int
    level: int
    severity: str
    episode_start_ms: int
    clock_ms: int
    evidence: tuple[Evidence, ...]
    book: Rulebook


class Cases:
    """The cases of each subject, oldest first."""

    def __init__(self) -> None:
        self._of: dict[int, list[Case]] = {}

    def add(self, case: Case) -> None:
        kept = [known for known in self._of.get(case.slot, []) if known.clock_ms > case.clock_ms - _KEPT_MS]
        self._of[case.slot] = [*kept, case]

    def resting_on(self, slot: int, code: str, at_ms: int) -> Iterator[Case]:
        """The subject's cases of which the result of this code and effective time was part."""
        for case in self._of.get(slot, ()):
            if any(each.code == code and each.at_ms == at_ms for each in case.evidence):
                yield case

    def forget(self, slot: int) -> list[Case]:
        """The subject's cases, which are known no more."""
        return self._of.pop(slot, [])

    def take_back(self, case: Case) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Forget the case; (clock, level) of the alerts of its pair that stand: of its episode, and of others."""
        self._of[case.slot].remove(case)
        left, elsewhere = list[tuple[int, int]](), list[tuple[int, int]]()
        for known in self._of[case.slot]:
            if known.pair == case.pair:
                of = left if known.episode_start_ms == case.episode_start_ms else elsewhere
                of.append((known.clock_ms, known.level))
        return left, elsewhere
