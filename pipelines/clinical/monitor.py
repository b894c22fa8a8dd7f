"""The ward's monitor: readings in, alerts out, the same whatever way the readings are cut into batches.

Holds: which rules there are, the way a batch takes through them, and the rebuilding of state after a restart.
Does not hold: what a rule says (`thresholds.py`, `news2.py`), what becomes of it (`pipelines/alerts/policy.py`).

A threshold looks only at the readings of its own signal; NEWS2 looks at every moment of the subject.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from pipelines.alerts.message import Alert
from pipelines.alerts.policy import AlertPolicy, Decision, Episodes, Findings, PastAlert
from pipelines.clinical import news2, thresholds
from pipelines.clinical.carry_forward import Moments, NewestReadings
from pipelines.clinical.news2 import News2
from pipelines.clinical.readings import milliseconds, scorable
from pipelines.clinical.signals import INDEX, LONGEST_CARRY_FORWARD, SIGNALS

_NEWS2 = len(SIGNALS)  # a threshold bears its signal's number, NEWS2 the next one
_RULES = _NEWS2 + 1
_RULE_OF_NAME = {limits.rule: at for at, limits in thresholds.BY_SIGNAL.items()} | {news2.RULE: _NEWS2}
_NEWS2_ROWS = [INDEX[parameter.signal.code] for parameter in news2.PARAMETERS]
_THRESHOLD_SEVERITY = {thresholds.WARNING: "warning", thresholds.CRITICAL: "urgent"}
_NEWS2_SEVERITY = {1: "warning", 2: "urgent", 3: "emergency"}
_REPLAY_ROWS = 100_000


class WardMonitor:
    """Every rule over every patient of one topic's partitions."""

    def __init__(self, policy: AlertPolicy | None = None) -> None:
        self.policy = policy or AlertPolicy()
        self._newest = NewestReadings()
        self._episodes = Episodes(self.policy)

    @property
    def lookback(self) -> timedelta:
        """How far before a subject's newest scorable reading `restore` has to see."""
        return LONGEST_CARRY_FORWARD + self.policy.lapse

    def observe(self, rows: pa.Table, now: datetime | None = None) -> list[Alert]:
        """Take in the next rows; the alerts they cause, ordered by triggering row.

        Those with `withheld_because` are to be recorded, not sent.

        Args:
            rows: the rows behind those of the call before, each partition in offset order. Columns `patient_id`,
                `subject_token`, `ward`, `code`, `numeric_value` (canonical unit), `text_value`, `quality_flag`,
                `event_time`, `received_at`, `kafka_partition`, `kafka_offset`, `kafka_time`.
            now: what was appended longer than the policy's time to live before it has expired; None: nothing has.
        """
        findings, scene = self._find(rows)
        decisions = self._episodes.decide(findings, now)
        if not decisions:
            return []
        decisions.sort(key=lambda d: (scene.moments.row[d.moment], d.pair % _RULES))
        context = _Context.of(rows, scene.moments.row[[d.moment for d in decisions]])
        return [self._alert(decision, scene, context, nth) for nth, decision in enumerate(decisions)]

    def restore(self, rows: pa.Table, past: pa.Table) -> None:
        """Become, from an empty monitor, what one that never stopped would be; no alert comes of it.

        The alerts that follow are exactly those of a monitor that saw everything, if `rows` and `past` hold at least
        what is named here; more does no harm.

        Args:
            rows: rows below the position to go on from, columns as for `observe` (`patient_id`, `ward` and
                `received_at` may be absent), each partition in offset order: of a subject with an alert in `past`,
                all with an effective time from `lookback` before their newest scorable one; of any other, the newest
                scorable row of each code (the last one of those with the same effective time).
            past: rows of the tables `alerts` and `alerts_withheld`, triggered below the position to go on from, in
                any order, repeated or not: all of the newest episode of every rule and subject, withheld ones too
                (else an episode whose first alert was withheld would begin anew), and the newest one sent. Columns
                `rule`, `rule_version`, `subject_token`, `level`, `episode_start`, `effective_at`, `withheld_because`.
        """
        self._episodes.recall(self._past_alerts(past))
        slices = (rows.slice(start, _REPLAY_ROWS) for start in range(0, len(rows), _REPLAY_ROWS))
        self._episodes.follow(self._find(batch)[0] for batch in slices)

    def _find(self, rows: pa.Table) -> tuple[Findings, _Scene]:
        """The findings of all rules after each of the rows that counts."""
        moments = self._newest.advance(scorable(rows))
        at = np.arange(len(moments))
        levels, clear = thresholds.threshold_levels(moments.signal, moments.values[moments.signal, at])
        score = news2.news2({p.name: moments.values[row] for p, row in zip(news2.PARAMETERS, _NEWS2_ROWS, strict=True)})
        findings = Findings(
            moment=np.tile(at, 2),
            pair=np.concatenate([moments.slot * _RULES + moments.signal, moments.slot * _RULES + _NEWS2]),
            level=np.concatenate([levels, score.levels()]),
            clear=np.concatenate([clear, score.clear()]),
            clock_ms=np.tile(moments.clock_ms, 2),
            appended_ms=np.tile(milliseconds(rows["kafka_time"])[moments.row], 2),
        )
        return findings, _Scene(moments, score)

    def _past_alerts(self, past: pa.Table) -> Iterator[PastAlert]:
        """Alerts of the rules in force."""
        starts, clocks = milliseconds(past["episode_start"]), milliseconds(past["effective_at"])
        for row, start, clock in zip(past.to_pylist(), starts.tolist(), clocks.tolist(), strict=True):
            rule = _RULE_OF_NAME.get(row["rule"])
            if rule is not None and row["rule_version"] == _version(rule):
                pair = self._newest.slot(row["subject_token"]) * _RULES + rule
                yield PastAlert(pair, row["level"], start, clock, row["withheld_because"])

    def _alert(self, decision: Decision, scene: _Scene, context: _Context, nth: int) -> Alert:
        slot, rule = divmod(decision.pair, _RULES)
        account = _account(decision, scene, rule)
        appended_ms, device_ms = context.appended_ms[nth], context.device_ms[nth]
        return Alert(
            rule=account.rule,
            rule_version=_version(rule),
            severity=account.severity,
            level=decision.level,
            code=account.code,
            value=account.value,
            score=account.score,
            score_is_lower_bound=bool(account.missing),
            reasons=account.reasons,
            missing=account.missing,
            patient_id=context.patient_id[nth],
            subject_token=self._newest.tokens[slot],
            ward=context.ward[nth],
            episode_start_ms=decision.episode_start_ms,
            device_ms=device_ms,
            received_ms=context.received_ms[nth],
            appended_ms=appended_ms,
            effective_ms=int(scene.moments.clock_ms[decision.moment]),
            expires_ms=appended_ms + self.policy.time_to_live // timedelta(milliseconds=1),
            partition=context.partition[nth],
            offset=context.offset[nth],
            late=appended_ms - device_ms > self.policy.late_after // timedelta(milliseconds=1),
            withheld_because=decision.withheld_because,
        )


@dataclass(frozen=True, slots=True)
class _Scene:
    """What the rules saw."""

    moments: Moments
    score: News2


@dataclass(frozen=True, slots=True)
class _Context:
    """What the triggering rows say besides their values, one entry an alert."""

    patient_id: list[str]
    ward: list[str | None]
    received_ms: list[int | None]
    appended_ms: list[int]
    device_ms: list[int]
    partition: list[int]
    offset: list[int]

    @classmethod
    def of(cls, rows: pa.Table, triggering: np.ndarray) -> _Context:
        chosen = rows.take(pa.array(triggering))
        received = chosen["received_at"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist()
        return cls(
            patient_id=chosen["patient_id"].to_pylist(),
            ward=chosen["ward"].to_pylist(),
            received_ms=[None if at is None else at // 1000 for at in received],
            appended_ms=milliseconds(chosen["kafka_time"]).tolist(),
            device_ms=milliseconds(chosen["event_time"]).tolist(),
            partition=chosen["kafka_partition"].to_pylist(),
            offset=chosen["kafka_offset"].to_pylist(),
        )


def _version(rule: int) -> str:
    return news2.RULE_VERSION if rule == _NEWS2 else thresholds.RULE_VERSION


@dataclass(frozen=True, slots=True)
class _Account:
    """A finding in words."""

    rule: str
    severity: str
    reasons: tuple[str, ...]
    missing: tuple[str, ...] = ()
    code: str | None = None
    value: float | None = None
    score: float | None = None


def _account(decision: Decision, scene: _Scene, rule: int) -> _Account:
    return _news2_account(decision, scene) if rule == _NEWS2 else _threshold_account(decision, scene, rule)


def _threshold_account(decision: Decision, scene: _Scene, rule: int) -> _Account:
    limits = thresholds.BY_SIGNAL[rule]
    signal, value = limits.signal, float(scene.moments.values[rule, decision.moment])
    kind = "critical" if decision.level == thresholds.CRITICAL else "warning"
    limit = signal.text(limits.crossed(decision.level, value))
    reason = f"{signal.name} ({signal.code}) {signal.text(value)}, {kind} limit {limit} ({limits.source})"
    return _Account(limits.rule, _THRESHOLD_SEVERITY[decision.level], (reason,), code=signal.code, value=value)


def _news2_account(decision: Decision, scene: _Scene) -> _Account:
    score, at = scene.score, decision.moment
    missing = tuple(score.missing_names(at))
    bound = f", a lower bound without {', '.join(missing)}" if missing else ""
    reasons = [f"NEWS2 {score.aggregate[at]}, trigger {_TRIGGERS[decision.level]}{bound}"]
    for nth, parameter in enumerate(news2.PARAMETERS):
        if points := score.points[nth, at]:
            value, signal = float(scene.moments.values[_NEWS2_ROWS[nth], at]), parameter.signal
            reasons.append(
                f"{signal.name} ({signal.code}) {signal.text(value)} scores {points} ({parameter.band(value)})"
            )
    severity = _NEWS2_SEVERITY[decision.level]
    return _Account(news2.RULE, severity, tuple(reasons), missing, score=float(score.aggregate[at]))


_TRIGGERS = {
    1: f"{news2.RED_SCORE} in one parameter",
    2: f"{news2.URGENT_AGGREGATE} or more",
    3: f"{news2.EMERGENCY_AGGREGATE} or more",
}
