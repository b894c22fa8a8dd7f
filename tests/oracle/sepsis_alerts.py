"""Alerts of the sepsis model: do they follow from the scores as they were told, hour by hour?

Holds: the policy on scores as plain loops, the alerts that must come of a log of scores, and the retractions.
Does not hold: whether the scores are right (`score_checks`), or what else an alert says (`alert_checks`).

Every score that differs from what was told of its hour is told, so the log has all that the policy saw but two things:
that a score was worked out again and stayed the same, and how long a reading had waited. The first changes nothing that
an alert hangs on, but for retractions: one may come at any time once the alert's hours are clear, and must come when
its hour was told anew and is over. The second is taken from the record: what it calls expired was withheld.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .alerts import EXPIRED, Decided, Durations, RuleOfSubject
from .findings import Finding, plain
from .history import ALERTS, SCORES, WITHHELD, History
from .score_checks import ToldScore, told_scores

RULE = "sepsis"
HOUR_MS = 3_600_000
CLEAR = 0.8
"""A score below this part of the threshold is clear."""
DURATIONS = Durations(rearm_ms=HOUR_MS, cool_down_ms=6 * HOUR_MS, lapse_ms=12 * HOUR_MS)


@dataclass(frozen=True, slots=True)
class Sent:
    """An alert, or its retraction, as its message tells it; `at_us`: when it was decided."""

    alert_id: str
    token: str
    hour: int
    start_ms: int
    score: float
    retracts: str | None
    because: str | None
    at_us: int
    place: str


def check_sepsis(history: History) -> Iterator[Finding]:
    """Sent and withheld alerts are those that the scores told give; retractions come where they must and may."""
    sent, withheld = (_of_model(history.streams[name].log) for name in (ALERTS, WITHHELD))
    told: dict[str, list[ToldScore]] = {}
    for score in told_scores(history.streams[SCORES].log):
        if score.revision == 0:
            told.setdefault(score.token, []).append(score)
    tokens = sorted(told.keys() | {alert.token for alert in (*sent, *withheld)})
    for token in tokens:
        mine = [alert for alert in sent if alert.token == token]
        apart = [alert for alert in withheld if alert.token == token]
        yield from check_patient(token, told.get(token, []), mine, apart)


def check_patient(token: str, told: list[ToldScore], sent: list[Sent], withheld: list[Sent]) -> Iterator[Finding]:
    alerts = {alert.alert_id: alert for alert in sent if alert.retracts is None}
    retractions = [alert for alert in sent if alert.retracts is not None]
    kept = {alert.alert_id: alert for alert in withheld}
    expired = {identity for identity, alert in kept.items() if alert.because == EXPIRED}
    play = Play(token, expired - alerts.keys())
    for at_us in sorted({score.scored_us for score in told} | {alert.at_us for alert in retractions}):
        play.step([t for t in told if t.scored_us == at_us], [r for r in retractions if r.at_us == at_us])
    for name, made, wanted in (
        (ALERTS, alerts, {d.alert_id: d for d in play.decided if d.withheld_because is None}),
        (WITHHELD, kept, {d.alert_id: d for d in play.decided if d.withheld_because is not None}),
    ):
        missing = [identity for identity in wanted if identity not in made]
        forged = [alert for identity, alert in made.items() if identity not in wanted and identity not in expired]
        changed = [a for i, a in made.items() if i in wanted and not _same(a, wanted[i], told)]
        yield Finding("alerts_missing", len(missing), f"{name}: sepsis alert that the scores give")
        yield _finding("alerts_forged", forged, f"{name}: sepsis alert that the scores do not give")
        yield _finding("alerts_forged", changed, f"{name}: sepsis alert that the scores give otherwise")
    yield _finding("alerts_forged", play.unfounded, "retraction of a sepsis alert that holds, or of none")
    yield Finding("alerts_missing", len(play.due()), "retraction of a sepsis alert whose hours are clear")


def _same(alert: Sent, wanted: Decided, told: list[ToldScore]) -> bool:
    """The alert is about the hour it was due at, with a score that was told of that hour and reaches the threshold."""
    hour = wanted.clock_ms // HOUR_MS
    scores = {t.score for t in told if t.hour == hour and t.is_alerting}
    return (alert.hour, alert.start_ms, alert.because) == (
        hour, wanted.episode_start_ms, wanted.withheld_because,
    ) and alert.score in scores  # fmt: skip


@dataclass(slots=True)
class Play:
    """One patient: scores in the order of telling, through the policy."""

    token: str
    expired: set[str]
    decided: list[Decided] = field(default_factory=list)
    unfounded: list[Sent] = field(default_factory=list)

    _now: dict[int, ToldScore] = field(default_factory=dict)
    _reached: int = -(1 << 62)
    _raised: dict[str, Decided] = field(default_factory=dict)
    _overdue: set[str] = field(default_factory=set)
    _revisions: dict[int, int] = field(default_factory=dict)
    _rule: RuleOfSubject | None = None

    def step(self, told: list[ToldScore], retractions: list[Sent]) -> None:
        """What was told at one moment: scores, alerts on hours that are not over, then retractions."""
        for scored in _by_turn(told):
            self._now |= {score.hour: score for score in scored}
            self._alert()
            anew = {score.hour for score in scored}
            self._overdue |= {
                identity
                for identity, of in self._raised.items()
                if of.clock_ms // HOUR_MS in anew and self._clear(of, 2)
            }
        for retraction in retractions:
            self._take_back(retraction)

    def due(self) -> set[str]:
        """Alerts that should have been taken back and were not."""
        return self._overdue & self._raised.keys()

    def _alert(self) -> None:
        if self._rule is None:
            self._rule = RuleOfSubject(RULE, self.token, {}, DURATIONS, self._is_expired)
        ahead = sorted(hour for hour in self._now if hour >= self._reached)
        for hour in ahead:
            score = self._now[hour]
            clear = np.float32(score.score) < CLEAR * score.threshold
            decision = self._rule.find(int(score.is_alerting), bool(clear), hour * HOUR_MS, (0, 0))
            if decision is not None:
                self._note(self._named(decision))
        self._reached = max(ahead, default=self._reached)

    def _named(self, decision: Decided) -> Decided:
        return decision._replace(revision=self._revisions.get(decision.episode_start_ms, 0))

    def _is_expired(self, decision: Decided) -> bool:
        return self._named(decision).alert_id in self.expired

    def _note(self, decision: Decided) -> None:
        self.decided.append(decision)
        if decision.withheld_because is None:
            self._raised[decision.alert_id] = decision

    def _clear(self, of: Decided, at_least: int) -> bool:
        """Whether the alert's hour and all since, up to the episode of the next alert that stands, are told and clear,
        and so many hours have begun."""
        hour, newest = of.clock_ms // HOUR_MS, max(self._now)
        later = [other.episode_start_ms for other in self._raised.values()]
        end = min((start // HOUR_MS for start in later if start > of.episode_start_ms), default=newest + 1)
        scores = [self._now.get(each) for each in range(hour, end)]
        return newest - hour + 1 >= at_least and all(
            score is not None and np.float32(score.score) < CLEAR * score.threshold for score in scores
        )

    def _take_back(self, retraction: Sent) -> None:
        of = self._raised.get(retraction.retracts or "")
        right = of is not None and self._clear(of, 1)
        if of is None or not right or retraction.alert_id != of._replace(retracts=retraction.retracts).alert_id:
            self.unfounded.append(retraction)
            return
        del self._raised[of.alert_id]
        start_ms = of.episode_start_ms
        self._revisions[start_ms] = self._revisions.get(start_ms, 0) + 1
        if self._rule is not None:
            self._rule.take_back(start_ms, [], [(other.clock_ms, other.level) for other in self._raised.values()])


def _by_turn(told: list[ToldScore]) -> list[list[ToldScore]]:
    """The scores of one moment, turn by turn of scoring: within a turn hours rise."""
    turns: list[list[ToldScore]] = []
    for score in told:
        if not turns or score.hour <= turns[-1][-1].hour:
            turns.append([])
        turns[-1].append(score)
    return turns


def _of_model(log: pa.Table) -> list[Sent]:
    """The model's alerts of a log; of several with one id the first."""
    mine = log.filter(pc.equal(plain(log["rule"]), RULE))
    names = ("alert_id", "subject_token", "score", "retracts", "withheld_because", "source_partition", "source_offset")
    columns = [mine[name].to_pylist() for name in names]
    effective, start, processed = (
        (mine[name].cast(pa.int64()).to_pylist()) for name in ("effective_at", "episode_start", "processed_at")
    )
    found: dict[str, Sent] = {}
    for at, began, us, (identity, token, score, retracts, because, partition, offset) in zip(
        effective, start, processed, zip(*columns, strict=True), strict=True
    ):
        place = f"reading at partition {partition} offset {offset}"
        hour = at // 1000 // HOUR_MS
        found.setdefault(identity, Sent(identity, token, hour, began // 1000, score, retracts, because, us, place))
    return list(found.values())


def _finding(heading: str, wrong: list[Sent], what: str) -> Finding:
    return Finding(heading, len(wrong), what, wrong[0].place if wrong else "")
