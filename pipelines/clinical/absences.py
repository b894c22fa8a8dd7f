"""Alerts about silence: what the passing of time alone causes.

Holds: whose silence is told, the message, and the cool-down between two of one signal.
Does not hold: when each was last heard of (`silences.py`), or any clock (a tick brings it).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import timedelta

from pipelines.alerts.message import Alert
from pipelines.alerts.policy import COOL_DOWN, AlertPolicy
from pipelines.clinical.patient_state import PatientState
from pipelines.clinical.rulebook import Rulebook
from pipelines.clinical.signals import SIGNALS
from pipelines.clinical.silences import Silence

PREFIX = "absence."
_MILLISECOND = timedelta(milliseconds=1)


class Absences:
    """The silences of the patients of one shard, as far as they were told."""

    def __init__(self, policy: AlertPolicy, state: PatientState) -> None:
        self._policy, self._state = policy, state
        self._told_ms: dict[tuple[int, int], int] = {}

    def due(self, now_ms: int, book: Rulebook, is_gone: Callable[[str], bool]) -> list[Alert]:
        """Whose identifier is not known since the start cannot be named, and waits for it; nobody asks after whom
        `is_gone` calls gone."""
        told = []
        for silence in self._state.silences.due(book.absences, now_ms):
            patient, ward = self._state.whereabouts.of(silence.slot)
            wards = book.absences[silence.signal].wards
            if patient is not None and not is_gone(patient) and (not wards or ward in wards):
                told.append(self._tell(silence, patient, ward, now_ms, book))
        return told

    def forget(self, slots: Collection[int]) -> None:
        """Nothing was told of these places."""
        self._told_ms = {of: ms for of, ms in self._told_ms.items() if of[0] not in slots}

    def recall(self, token: str, rule: str, start_ms: int) -> None:
        """An alert of before a restart: the silence since then was told."""
        signal = next((at for at, each in enumerate(SIGNALS) if rule == PREFIX + each.name), None)
        if signal is not None:
            self._state.silences.tell(self._state.patients.slot(token), signal, start_ms)

    def _tell(self, silence: Silence, patient: str, ward: str | None, now_ms: int, book: Rulebook) -> Alert:
        signal, rule = SIGNALS[silence.signal], book.absences[silence.signal]
        self._state.silences.tell(silence.slot, silence.signal, silence.effective_ms)
        name = PREFIX + signal.name
        minutes = (now_ms - silence.appended_ms) / 60_000
        return Alert(
            rule=name, rule_version=book.pack.versions[name], severity="warning", level=1, code=signal.code, value=None,
            score=None, score_is_lower_bound=False, patient_id=patient,
            subject_token=self._state.patients.tokens[silence.slot], ward=ward, episode_start_ms=silence.effective_ms,
            reasons=(f"{signal.name} ({signal.code}) not heard of for {minutes:.0f} min, limit {rule.minutes:g} min",),
            missing=(signal.name,), device_ms=silence.effective_ms, received_ms=None,
            appended_ms=silence.appended_ms, effective_ms=silence.effective_ms,
            expires_ms=now_ms + self._policy.time_to_live // _MILLISECOND, partition=silence.partition,
            offset=silence.offset, late=False, withheld_because=self._withheld(silence, now_ms),
        )  # fmt: skip

    def _withheld(self, silence: Silence, now_ms: int) -> str | None:
        of = silence.slot, silence.signal
        if now_ms - self._told_ms.get(of, 0) < self._policy.cool_down // _MILLISECOND:
            return COOL_DOWN
        self._told_ms[of] = now_ms
        return None
