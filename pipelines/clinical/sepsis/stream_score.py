"""The sepsis model beside the rules: rows of the streams in, scores and alerts out.

Holds: `SepsisMonitor`: when a patient is scored, what of it is told, episodes, what a restart recalls.
Does not hold: hours and values (`history.py`), the model (`scoring.py`), the policy (`pipelines/alerts/policy.py`),
Kafka, or any clock: time is the newest append it has seen.

**When.** A patient with a new hour, or with a result that was new or corrected, is scored at the next round; one with
other new values no more often than `EVERY`. Rounds are `PAUSE` apart by append time and take `AT_ONCE` patients, so
that an hour that begins for all of them at once holds no alert back; nobody waits so long that an hour falls out of
reach. Every hour that changed is scored anew, up to `REACH_H` hours back, and told where its score, or its number in
the stay, differs from what was told: an admission read late moves the numbers, and may leave a score as it was.

**Alerts** count by hours: an episode begins with the hour whose score reaches the threshold, so that the same messages
give the same alert ids however they are cut into batches. A score that no longer holds, since a result was corrected or
the hour ended otherwise than it began, takes its alert back unless a later hour of the episode stands; so it goes with
each alert whose hour is within reach, whatever was alerted on since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.alerts.message import Alert
from pipelines.alerts.policy import AlertPolicy, Decision, Episodes, Findings, PastAlert
from pipelines.clinical.carry_forward import running_maximum, stable_order
from pipelines.clinical.readings import milliseconds
from pipelines.clinical.sepsis.features import FEATURES, WINDOW_H, features
from pipelines.clinical.sepsis.history import HOUR_MS, NO_HOUR, REACH_H, SILENCE_H, UNCHANGED, HourlyHistory
from pipelines.clinical.sepsis.intensive_care import IntensiveCare
from pipelines.clinical.sepsis.newest_rows import NewestRows
from pipelines.clinical.sepsis.panel import Floats
from pipelines.clinical.sepsis.score_message import Score
from pipelines.clinical.sepsis.scoring import ModelSource, SepsisModel, missing_items, reasons

RULE = "sepsis"
RULE_VERSION = "1"
SEVERITY, LEVEL = "urgent", 1
VITALS, WEARABLES, RESULTS, ADMISSIONS = "device.vitals", "iot.patient", "lab.results", "adt.events"
STREAMS = (VITALS, WEARABLES, RESULTS, ADMISSIONS)
POLICY = AlertPolicy(rearm=timedelta(hours=1), cool_down=timedelta(hours=6), lapse=timedelta(hours=12))
CLEAR = 0.8
"""A score below this part of the threshold is clear."""
EVERY = timedelta(minutes=1)
PAUSE = timedelta(milliseconds=200)
AT_ONCE = 32
"""160 patients a second at most, so that 9,600 have their turn within `EVERY`; and a few milliseconds of scoring each
time, which is what a reading appended behind it waits."""

_EVERY_MS, _PAUSE_MS = EVERY // timedelta(milliseconds=1), PAUSE // timedelta(milliseconds=1)
_NEVER_MS = -(1 << 62)
_EMPTY = (
    ("_clock_ms", _NEVER_MS),
    ("_scored_ms", _NEVER_MS),
    ("_scored_hour", NO_HOUR),
    ("_is_urgent", False),
    ("_is_known", False),
    ("_told", np.nan),
    ("_told_hour", NO_HOUR),
    ("_told_number", 0),
)


@dataclass(frozen=True, slots=True)
class Told:
    """What one call gives: scores to be sent, and alerts with the stream of the reading that gave rise to each; of an
    alert with `withheld_because` only the record. `explained`: alert id -> its score and the row of features."""

    scores: tuple[Score, ...] = ()
    alerts: tuple[tuple[str, Alert], ...] = ()
    explained: tuple[tuple[SepsisModel, Score, Floats], ...] = ()

    def __add__(self, other: Told) -> Told:
        return Told(self.scores + other.scores, self.alerts + other.alerts, self.explained + other.explained)


NOTHING = Told()


@dataclass(frozen=True, slots=True)
class Before:
    """What a restart reads of the patients' hours (`warehouse/score_history.py`).

    Attributes:
        rows: stream -> rows below the positions to go on from, with the columns that `HourlyHistory` takes of it.
        measured: `subject_token`, `hour`: the hours in which something was measured, further back.
    """

    rows: Mapping[str, pa.Table]
    measured: Sequence[pa.Table] = ()


@dataclass(frozen=True, slots=True)
class _Raised:
    """An alert that was sent and stands: what a retraction of it needs."""

    alert_id: str
    hour: int
    episode_start_ms: int
    level: int
    model: str | None


@dataclass(frozen=True, slots=True)
class _Scored:
    """Rows that were scored: m patient-hours, by patient and hour."""

    model: SepsisModel
    slot: np.ndarray
    at_hour: np.ndarray
    hour_of_stay: np.ndarray
    rows: Floats
    score: Floats

    def __len__(self) -> int:
        return len(self.slot)


class SepsisMonitor:
    """The patients of one shard. Not thread-safe."""

    def __init__(
        self,
        source: ModelSource,
        policy: AlertPolicy = POLICY,
        reach_h: int = REACH_H,
        wards: IntensiveCare | None = None,
    ) -> None:
        self.history = HourlyHistory(WINDOW_H, reach_h, wards=wards)
        self.policy = policy
        self._source = source
        self._episodes = Episodes(policy)
        self._seen = NewestRows()
        self._raised: dict[int, dict[int, _Raised]] = {}  # patient -> start of the episode -> what stands
        self._taken_back: dict[tuple[int, int], int] = {}
        self._appended_ms, self._round_ms, self._version = _NEVER_MS, _NEVER_MS, ""
        self._clock_ms = np.empty(0, np.int64)
        self._scored_ms = np.empty(0, np.int64)
        self._scored_hour = np.empty(0, np.int64)
        self._is_urgent = np.empty(0, bool)
        self._is_known = np.empty(0, bool)
        self._told = np.empty((0, reach_h), np.float32)
        self._told_hour = np.empty((0, reach_h), np.int64)
        self._told_number = np.empty((0, reach_h), np.int32)
        self._fit()

    # --- what comes in

    def observe(self, stream: str, rows: pa.Table, now: datetime | None = None) -> Told:
        """Take in the next rows of one of `STREAMS`; what is due to be told.

        Args:
            rows: the rows behind those of the call before, with `subject_token`, `kafka_partition`, `kafka_offset`,
                `kafka_time`, and the columns that `HourlyHistory` takes of the stream.
            now: alerts on readings appended longer than the policy's time to live before it have expired; None: none.
        """
        if stream not in STREAMS or not len(rows):
            return NOTHING
        told = NOTHING
        pieces = [(rows, False)] if stream == ADMISSIONS else list(self._pieces(stream, rows))
        for piece, leaps in pieces:
            # Before anybody is scored: which model is in force depends on it, and after a restart there is no time yet.
            self._appended_ms = max(self._appended_ms, pc.max(piece["kafka_time"]).value // 1000)
            if leaps:
                told += self._before_leap(stream, piece, now)
            self._take(stream, piece)
            overdue = self._overdue()
            if len(overdue):
                told += self._score(overdue, now)
        return told + self.round(now)

    def round(self, now: datetime | None = None) -> Told:
        """Score some of those who are due, if the last round is long enough ago by append time."""
        if self._appended_ms - self._round_ms < _PAUSE_MS:
            return NOTHING
        due = self._due()
        self._round_ms = self._appended_ms
        return self._score(due[:AT_ONCE], now) if len(due) else NOTHING

    def pass_time(self, appended_ms: int, now: datetime | None = None) -> Told:
        """Nothing was appended up to this time: score those who were waiting for more."""
        self._appended_ms = max(self._appended_ms, appended_ms)
        return self.round(now)

    def hasten(self, now: datetime | None = None) -> Told:
        """No round comes after this: score everybody whose turn has come, however many they are. Who goes on cannot:
        nobody's identity is known there before their next message."""
        return self._score(self._due(), now)

    def settle(self, now: datetime | None = None) -> Told:
        """Score everybody who has something new, at once."""
        return self._score(self._waiting(), now)

    # --- who is erased

    def people(self) -> list[str]:
        """The tokens of everybody of whom something is remembered."""
        return self.history.patients.named()

    def forget(self, tokens: Iterable[str]) -> None:
        """Nothing is remembered of these patients any more."""
        slots = set(self.history.forget(tokens))
        self._taken_back = {key: n for key, n in self._taken_back.items() if key[0] not in slots}
        self._episodes.forget(slots)
        for slot in slots:
            self._seen.forget(slot)
            self._raised.pop(slot, None)
            for name, empty in _EMPTY:
                getattr(self, name)[slot] = empty

    # --- a restart

    def restore(self, before: Before, told: pa.Table, past: pa.Table) -> None:
        """Become, from an empty monitor, what one that never stopped would be; no score and no alert comes of it.

        Args:
            before: what lies below the positions to go on from.
            told: the last score of each patient's hours: `subject_token`, `hour_start`, `hour_of_stay`, `score`,
                `threshold`, `model_version`, `scored_at`.
            past: past alerts and withheld ones, as `WardMonitor.restore` takes them, with `alert_id` and `retracts`.
        """
        for stream in STREAMS:
            if stream in before.rows and len(before.rows[stream]):
                self._feed(stream, before.rows[stream])
        for measured in before.measured:
            self.history.note_measured(measured["subject_token"].to_pylist(), milliseconds(measured["hour"]) // HOUR_MS)
        self._fit()
        meant = self._recall_told(told)
        self._recall_alerts(past)
        # Of an hour at or before its alert nothing more is to be followed.
        since = np.array([self._last_raised(slot) for slot in meant.pair.tolist()])
        self._episodes.follow([meant.take(np.flatnonzero(meant.clock_ms > since * HOUR_MS))])

    def _recall_told(self, told: pa.Table) -> Findings:
        """What was told of the hours within reach (whatever else changed is told anew), and what it meant then."""
        slot = np.array([self.history.slot(token) for token in told["subject_token"].to_pylist()], np.int64)
        self._fit()
        hour = milliseconds(told["hour_start"]) // HOUR_MS
        score, threshold = told["score"].to_numpy(), told["threshold"].to_numpy()
        version = told["model_version"].to_pylist()
        newest = int(np.argmax(milliseconds(told["scored_at"]))) if len(told) else 0
        self._version = version[newest] if len(told) else ""
        within = np.flatnonzero(hour > self.history.newest[slot] - self.history.reach_h)
        ours = within[np.array([version[at] == self._version for at in within.tolist()], bool)]
        place = hour[ours] % self.history.reach_h
        self._told[slot[ours], place] = score[ours].astype(np.float32)
        self._told_hour[slot[ours], place] = hour[ours]
        self._told_number[slot[ours], place] = told["hour_of_stay"].to_numpy()[ours]
        # Hours that another model scored are over too: nobody is called about them by its successor.
        np.maximum.at(self._scored_hour, slot[within], hour[within])
        at = within[np.lexsort((hour[within], slot[within]))]
        alerts = (score[at] >= threshold[at]).astype(np.int8) * np.int8(LEVEL)
        clear = score[at] < CLEAR * threshold[at]
        return Findings(at, slot[at], alerts, clear, hour[at] * HOUR_MS, np.zeros(len(at), np.int64))

    def _recall_alerts(self, past: pa.Table) -> None:
        mine = past.filter(pc.equal(past["rule"], RULE)).to_pylist() if len(past) else []
        taken_back = {row["retracts"] for row in mine} - {None}
        told = {(row["alert_id"], row["withheld_because"]): row for row in mine if row["retracts"] is None}
        standing = []
        for (alert_id, _), row in sorted(told.items(), key=lambda item: item[1]["effective_at"]):
            slot, start_ms = self.history.slot(row["subject_token"]), _ms(row["episode_start"])
            if alert_id in taken_back:
                if row["withheld_because"] is None:  # one that was withheld before it was sent has the same id
                    self._taken_back[slot, start_ms] = self._taken_back.get((slot, start_ms), 0) + 1
                continue
            hour = _ms(row["effective_at"]) // HOUR_MS
            standing.append(PastAlert(slot, row["level"], start_ms, hour * HOUR_MS, row["withheld_because"]))
            if row["withheld_because"] is None:
                self._note_raised(slot, _Raised(alert_id, hour, start_ms, row["level"], row["model"]))
        self._fit()
        self._episodes.recall(standing)

    # --- within

    def _pieces(self, stream: str, rows: pa.Table) -> Iterator[tuple[pa.Table, bool]]:
        """The rows, cut where a patient's newest hour moves on by half the reach: else hours would go by unscored; and
        whether anybody's moves on so far with a piece."""
        step = self.history.reach_h // 2
        token = rows["subject_token"]
        encoded = (token if pa.types.is_dictionary(token.type) else token.dictionary_encode()).combine_chunks()
        subject = encoded.indices.fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False).astype(np.int64)
        hour = np.minimum(milliseconds(rows[_moment(stream)]), milliseconds(rows["kafka_time"])) // HOUR_MS
        order = stable_order(subject)
        ahead = running_maximum(subject[order], hour[order])
        first = np.r_[True, np.diff(subject[order]) != 0]
        begins = ahead[first][np.cumsum(first) - 1]
        known = self._known_newest(encoded.dictionary)[subject[order]]
        base = np.where(known > NO_HOUR, np.minimum(known, begins), begins)
        # A patient back after a silence begins anew: the hours between are nobody's.
        returns = begins - base > self.history.hours
        base = np.where(returns, begins, base)
        nth = np.empty(len(order), np.int64)
        nth[order] = np.maximum(ahead - base, 0) // step
        if not nth.any():
            yield rows, bool(returns.any())
            return
        for at in np.unique(nth).tolist():
            yield rows.filter(pa.array(nth == at)), bool(at > 0 or returns.any())

    def _before_leap(self, stream: str, rows: pa.Table, now: datetime | None) -> Told:
        """Score those whose hours are about to fall out of reach, and the hours of a gap that is longer than it. What
        is told is due to the row that ends the gap. One that ends a stay has no hours."""
        history = self.history
        to = history.until_results(rows) if stream == RESULTS else history.until_readings(rows)
        self._fit()
        to = to.take(history.newest[to.slot] > NO_HOUR)
        last = rows.take(pa.array(to.row))
        self._name(stream, last, to.slot)
        self._set_clocks(stream, last, to.slot)
        lost = to.hour - history.changed[to.slot] >= history.reach_h
        told = self._score(np.intersect1d(self._waiting(), to.slot[lost]), now)
        longest = np.where(history.is_admitted(to.slot), history.hours, SILENCE_H)
        to = to.take(to.hour - history.newest[to.slot] <= longest)
        while len(to := to.take(to.hour - history.newest[to.slot] > history.reach_h)):
            history.pass_hours(to.slot, history.newest[to.slot] + history.reach_h)
            told += self._score(np.intersect1d(self._waiting(), to.slot), now)
        return told

    def _known_newest(self, tokens: pa.Array) -> np.ndarray:
        slots = [self.history.patients.find(token) for token in tokens.to_pylist()]
        return np.array([*(NO_HOUR if slot is None else int(self.history.newest[slot]) for slot in slots), NO_HOUR])

    def _take(self, stream: str, rows: pa.Table) -> None:
        slot = self._feed(stream, rows)
        self._fit()
        if stream == ADMISSIONS:
            return
        if stream == RESULTS:
            self._is_urgent[slot[slot >= 0]] = True
        self._name(stream, rows, slot)

    def _name(self, stream: str, rows: pa.Table, slot: np.ndarray) -> None:
        """Who patients are and where they lie, by the newest of these rows; `slot` -1: nobody's."""
        self._is_known[self._seen.note(stream, _moment(stream), rows, slot)] = True

    def _feed(self, stream: str, rows: pa.Table) -> np.ndarray:
        if stream == ADMISSIONS:
            self.history.take_admissions(rows)
            return np.empty(0, np.int64)
        take = self.history.take_results if stream == RESULTS else self.history.take_readings
        slot = take(rows)
        self._fit()
        self._set_clocks(stream, rows, slot)
        return slot

    def _set_clocks(self, stream: str, rows: pa.Table, slot: np.ndarray) -> None:
        said = slot >= 0
        effective_ms = np.minimum(milliseconds(rows[_moment(stream)]), milliseconds(rows["kafka_time"]))
        np.maximum.at(self._clock_ms, slot[said], effective_ms[said])

    def _waiting(self) -> np.ndarray:
        """Patients with something new whose identity is known since the start: nobody else can be told of."""
        many = len(self.history.patients.tokens)
        return np.flatnonzero((self.history.changed[:many] != UNCHANGED) & self._is_known[:many])

    def _due(self) -> np.ndarray:
        """Of those who wait the ones whose turn has come: who has a new result, then who waited longest."""
        slots = self._waiting()
        new_hour = self.history.newest[slots] > self._scored_hour[slots]
        long_ago = self._appended_ms - self._scored_ms[slots] >= _EVERY_MS
        due = slots[new_hour | long_ago | self._is_urgent[slots]]
        return due[np.lexsort((self._scored_ms[due], ~self._is_urgent[due]))]

    def _overdue(self) -> np.ndarray:
        """Those whose first changed hour is about to fall out of reach."""
        slots = self._waiting()
        behind = self.history.newest[slots].astype(np.int64) - self.history.changed[slots]
        return slots[behind >= self.history.reach_h // 2]

    def _score(self, slots: np.ndarray, now: datetime | None) -> Told:
        if not len(slots):
            return NOTHING
        scored = self._scored(slots)
        fresh = self._note_told(scored)
        decided = self._alerts(scored, now)
        retracted = self._retractions(scored)
        self._scored_ms[slots] = self._appended_ms
        self._scored_hour[slots] = self.history.newest[slots]
        self._is_urgent[slots] = False
        scores = {at: self._message(scored, at) for at in fresh.tolist()}
        explained = tuple(
            (
                scored.model,
                replace(scores.get(at) or self._message(scored, at), alert_id=alert.alert_id),
                scored.rows[at],
            )
            for at, (_, alert) in decided
            if alert.withheld_because is None
        )
        return Told(tuple(scores.values()), (*(pair for _, pair in decided), *retracted), explained)

    def _scored(self, slots: np.ndarray) -> _Scored:
        model = self._source.in_force(self._appended_ms)
        if model.version != self._version:  # another model's scores are other scores
            self._version = model.version
            self._told_hour[:] = NO_HOUR
        slots = np.sort(slots)
        first = self.history.settle(slots)
        hours = self.history.panel(slots, first)
        wanted = np.flatnonzero(hours.at_hour >= first[np.searchsorted(slots, hours.slot)])
        rows = features(hours.panel)[wanted] if len(wanted) else np.empty((0, len(FEATURES)), np.float32)
        score = model.scores(rows) if len(wanted) else np.empty(0, np.float32)
        return _Scored(model, hours.slot[wanted], hours.at_hour[wanted], hours.panel.hour[wanted], rows, score)

    def _note_told(self, scored: _Scored) -> np.ndarray:
        """Indices of the rows that differ from what was told of that hour, in score or in number."""
        at = scored.slot, scored.at_hour % self.history.reach_h
        said = (self._told_hour, scored.at_hour), (self._told, scored.score), (self._told_number, scored.hour_of_stay)
        same = np.logical_and.reduce([told[at] == now for told, now in said])
        for told, now in said:
            told[at] = now
        return np.flatnonzero(~same)

    def _alerts(self, scored: _Scored, now: datetime | None) -> list[tuple[int, tuple[str, Alert]]]:
        """(row, (stream, alert)) of what is due."""
        threshold = scored.model.threshold
        findings = Findings(
            moment=np.arange(len(scored)),
            pair=scored.slot,
            level=np.where(scored.score >= threshold, LEVEL, 0).astype(np.int8),
            clear=scored.score < CLEAR * threshold,
            clock_ms=scored.at_hour * HOUR_MS,
            appended_ms=self._seen.appended_ms(scored.slot),
        )
        # Nobody is called about an hour that was scored and is over.
        ahead = scored.at_hour >= self._scored_hour[scored.slot]
        decisions = self._episodes.decide(findings.take(np.flatnonzero(ahead)), now)
        decided = [(decision.moment, self._alert(decision, scored)) for decision in decisions]
        for decision, (at, (_, alert)) in zip(decisions, decided, strict=True):
            if alert.withheld_because is None:
                hour = int(scored.at_hour[at])
                raised = _Raised(alert.alert_id, hour, alert.episode_start_ms, alert.level, alert.model)
                self._note_raised(decision.pair, raised)
        return sorted(decided, key=lambda each: each[0])

    def _alert(self, decision: Decision, scored: _Scored) -> tuple[str, Alert]:
        at, slot, model = decision.moment, decision.pair, scored.model
        alert = Alert(
            rule=RULE, rule_version=RULE_VERSION, severity=SEVERITY, level=decision.level, code=None, value=None,
            score=float(scored.score[at]), score_is_lower_bound=False, reasons=self._reasons(scored, at),
            missing=missing_items(scored.rows[at]), episode_start_ms=decision.episode_start_ms,
            withheld_because=decision.withheld_because, model=f"{model.name}@{model.version}",
            revision=self._taken_back.get((slot, decision.episode_start_ms), 0),
            **self._of_reading(slot, int(scored.at_hour[at])),
        )  # fmt: skip
        return self._seen.stream(slot), alert

    def _of_reading(self, slot: int, hour: int) -> dict[str, Any]:
        """What an alert says of the patient and of the newest reading."""
        seen, policy = self._seen.of(slot), self.policy
        return {
            "patient_id": seen.patient_id,
            "subject_token": self.history.patients.tokens[slot],
            "ward": seen.ward,
            "device_ms": seen.device_ms,
            "received_ms": seen.received_ms,
            "appended_ms": seen.appended_ms,
            "effective_ms": min(int(self._clock_ms[slot]), (hour + 1) * HOUR_MS - 1),
            "expires_ms": seen.appended_ms + policy.time_to_live // timedelta(milliseconds=1),
            "partition": seen.partition,
            "offset": seen.offset,
            "late": seen.appended_ms - seen.device_ms > policy.late_after // timedelta(milliseconds=1),
        }

    def _reasons(self, scored: _Scored, at: int) -> tuple[str, ...]:
        model, score = scored.model, scored.score[at : at + 1]
        said = f"sepsis risk {model.risks(score)[0]:.3f}, score {score[0]:.3f}, threshold {model.threshold:.3f}"
        return (f"{said}, model {model.name} {model.version}", *reasons(model, scored.rows[at]))

    def _retractions(self, scored: _Scored) -> list[tuple[str, Alert]]:
        """Alerts whose hour was scored anew and no hour since stands: after a correction, or once the hour is over."""
        anew = set(zip(scored.slot.tolist(), scored.at_hour.tolist(), strict=True))
        gone = [
            (slot, raised)
            for slot, episodes in self._raised.items()
            for raised in episodes.values()
            if (slot, raised.hour) in anew and self._holds_no_more(slot, raised, scored.model.threshold)
        ]
        return [self._take_back(slot, raised) for slot, raised in gone]

    def _note_raised(self, slot: int, raised: _Raised) -> None:
        """Beside the patient's others whose hours may still be scored anew."""
        oldest = int(self.history.newest[slot]) - self.history.reach_h
        within = {start: other for start, other in self._raised.get(slot, {}).items() if other.hour > oldest}
        self._raised[slot] = within | {raised.episode_start_ms: raised}

    def _last_raised(self, slot: int) -> int:
        """The hour of the patient's newest alert that stands."""
        return max((raised.hour for raised in self._raised.get(slot, {}).values()), default=NO_HOUR)

    def _holds_no_more(self, slot: int, raised: _Raised, threshold: float) -> bool:
        newest = int(self.history.newest[slot])
        if not self._is_urgent[slot] and newest == raised.hour:
            return False  # the hour is not over and no result was corrected: readings come and go
        # What was withheld since rests on this alert; what was sent in an episode of its own does not.
        follows = min((start for start in self._raised[slot] if start > raised.episode_start_ms), default=None)
        hours = np.arange(raised.hour, newest + 1 if follows is None else follows // HOUR_MS)
        place = hours % self.history.reach_h
        told = self._told_hour[slot, place] == hours
        return bool(told.all() and (self._told[slot, place] < CLEAR * threshold).all())

    def _take_back(self, slot: int, raised: _Raised) -> tuple[str, Alert]:
        others = self._raised[slot]
        del others[raised.episode_start_ms]
        elsewhere = [(other.hour * HOUR_MS, other.level) for other in others.values()]
        self._episodes.retract(slot, raised.episode_start_ms, [], elsewhere)
        key = (slot, raised.episode_start_ms)
        self._taken_back[key] = self._taken_back.get(key, 0) + 1
        score = float(self._told[slot, raised.hour % self.history.reach_h])
        of_reading = self._of_reading(slot, raised.hour)
        reason = f"the score of that hour is {score:.3f} after what came later, and no longer alerts"
        alert = Alert(
            rule=RULE, rule_version=RULE_VERSION, severity=SEVERITY, level=raised.level, code=None, value=None,
            score=score, score_is_lower_bound=False, reasons=(reason,), missing=(),
            episode_start_ms=raised.episode_start_ms, model=raised.model, retracts=raised.alert_id, **of_reading,
        )  # fmt: skip
        return self._seen.stream(slot), alert

    def _message(self, scored: _Scored, at: int) -> Score:
        slot, model, row = int(scored.slot[at]), scored.model, scored.rows[at]
        seen, score = self._seen.of(slot), scored.score[at]
        return Score(
            patient_id=seen.patient_id,
            subject_token=self.history.patients.tokens[slot],
            ward=seen.ward,
            model=model.name,
            model_version=model.version,
            hour_ms=int(scored.at_hour[at]) * HOUR_MS,
            hour_of_stay=int(scored.hour_of_stay[at]),
            score=float(score),
            risk=float(model.risks(scored.score[at : at + 1])[0]),
            threshold=model.threshold,
            reasons=self._reasons(scored, at) if score >= model.threshold else (),
            missing=missing_items(row),
            effective_ms=int(self._clock_ms[slot]),
            stream=seen.stream,
            partition=seen.partition,
            offset=seen.offset,
        )

    def _fit(self) -> None:
        """Room for as many patients as the history has."""
        self._seen.fit(self.history.capacity)
        more = self.history.capacity - len(self._clock_ms)
        if more <= 0:
            return
        for name, empty in _EMPTY:
            array = getattr(self, name)
            room = np.full((more, *array.shape[1:]), empty, array.dtype)
            setattr(self, name, np.concatenate([array, room]))


def _moment(stream: str) -> str:
    """The column that says when a value was so."""
    return "collected_at" if stream == RESULTS else "event_time"


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
