"""Which findings become alerts: episodes, and what is withheld and why.

Holds: the policy's settings, the open episodes, and the decision. Deterministic whatever way the same findings are cut
into batches: the loop runs over runs of equal findings, and only of those pairs that alert or have an episode open.
Does not hold: medicine, texts, or who is told.

For one rule and subject, finding by finding in position order (a finding has a level; level 0 may be `clear`):
1. An alerting finding (level 1 or more) opens an episode if none is open. The episode starts at the subject's clock.
2. A level above all levels sent in the episode is due. It is withheld if its reading has expired (`expired`), or if it
   is no higher than the last alert sent for the same rule and subject and that was less than `cool_down` ago by the
   subject's clock (`cool_down`). Otherwise it is sent. What is withheld is recorded once for each rise and stays due:
   it is sent as soon as an alerting finding of the same episode meets neither reason. So a patient still unwell when
   a cool-down ends, or when a stopped stream has caught up, is alerted on.
3. An episode ends when clear findings, one after another, have lasted `rearm` by the subject's clock; or when the
   subject's clock is more than `lapse` past the episode's last alerting finding. (The second bounds how far back a
   restart has to look, and lets a patient who falls ill again after hours of silence be alerted on again.) Findings of
   before the episode's last alerting one end nothing: rules over several streams may meet such, since between topics
   there is no order but time.
4. A retraction takes an alert back as if it had never been sent: the episode stands as its other alerts left it, and
   without any it is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

COOL_DOWN = "cool_down"
EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class AlertPolicy:
    """Durations of the policy.

    Attributes:
        rearm: clear for this long, by the subject's clock, ends an episode.
        cool_down: an alert no higher than the last one sent waits until this long after it.
        lapse: an episode without an alerting finding for longer than this is over. At least `rearm`.
        time_to_live: an alert expires this long after the broker appended its reading.
        late_after: an alert is marked late if its reading was appended this long after its event time.
    """

    rearm: timedelta = timedelta(minutes=10)
    cool_down: timedelta = timedelta(minutes=30)
    lapse: timedelta = timedelta(hours=4)
    time_to_live: timedelta = timedelta(minutes=15)
    late_after: timedelta = timedelta(minutes=5)

    def __post_init__(self) -> None:
        if not timedelta(0) < self.rearm <= self.lapse:
            raise ValueError("rearm must be above zero and no longer than lapse")


@dataclass(frozen=True, slots=True)
class Findings:
    """k findings of rules, each of one (rule, subject) pair; in position order within a pair.

    Attributes:
        moment: int64[k], whatever the caller knows the finding by.
        pair: int64[k], number of the (rule, subject) pair.
        level: int8[k], 0 none, rising with urgency.
        clear: bool[k], well again with a margin.
        clock_ms: int64[k], the subject's clock, never falling within a pair.
        appended_ms: int64[k], when the broker appended the reading.
    """

    moment: np.ndarray
    pair: np.ndarray
    level: np.ndarray
    clear: np.ndarray
    clock_ms: np.ndarray
    appended_ms: np.ndarray

    def __len__(self) -> int:
        return len(self.pair)

    def take(self, index: np.ndarray) -> Findings:
        return Findings(*(getattr(self, name)[index] for name in self.__slots__))


@dataclass(frozen=True, slots=True)
class Decision:
    """An alert to be sent, or, with `withheld_because`, only recorded."""

    moment: int
    pair: int
    level: int
    episode_start_ms: int
    withheld_because: str | None


@dataclass(frozen=True, slots=True)
class PastAlert:
    """An alert of before a restart, as its table tells it; `clock_ms` is its effective time."""

    pair: int
    level: int
    episode_start_ms: int
    clock_ms: int
    withheld_because: str | None


@dataclass(slots=True)
class _Episode:
    start_ms: int
    last_alerting_ms: int
    recorded: int = 0
    sent: int = 0
    clear_since_ms: int | None = None


class Episodes:
    """The open episodes and the last alert sent of every (rule, subject) pair."""

    def __init__(self, policy: AlertPolicy, capacity: int = 1024) -> None:
        self._rearm_ms = _milliseconds(policy.rearm)
        self._cool_down_ms = _milliseconds(policy.cool_down)
        self._lapse_ms = _milliseconds(policy.lapse)
        self._time_to_live_ms = _milliseconds(policy.time_to_live)
        self._open: dict[int, _Episode] = {}
        self._last_sent: dict[int, tuple[int, int]] = {}
        self._watched = np.zeros(capacity, bool)

    def decide(self, findings: Findings, now: datetime | None) -> list[Decision]:
        """Carry the episodes through the findings; what is due, in no particular order.

        Args:
            now: readings appended longer than `time_to_live` before it have expired; None: none has.
        """
        expired_to_ms = _moment_ms(now) - self._time_to_live_ms if now else None
        findings = self._relevant(findings)
        decisions: list[Decision] = []
        for run in _runs(findings, self._lapse_ms):
            if run.level:
                decisions += self._alerting(run, findings, expired_to_ms)
            else:
                self._quiet(run)
        self._watch(np.unique(findings.pair))
        return decisions

    def recall(self, alerts: Iterable[PastAlert]) -> None:
        """Take up the newest episode of each pair, and its last alert sent, from alerts in any order."""
        for alert in alerts:
            episode = self._open.get(alert.pair)
            if episode is None or episode.start_ms < alert.episode_start_ms:
                episode = self._open[alert.pair] = _Episode(alert.episode_start_ms, alert.clock_ms)
            if alert.episode_start_ms == episode.start_ms:
                _note(episode, alert)
            if alert.withheld_because is None:
                # Of two sent at the same clock, the later one is the higher: it was a rise.
                sent = (alert.clock_ms, alert.level)
                self._last_sent[alert.pair] = max(sent, self._last_sent.get(alert.pair, sent))
        self._watch(np.fromiter(self._open, np.int64, len(self._open)))

    def follow(self, batches: Iterable[Findings]) -> set[int]:
        """Carry recalled episodes on through the findings of the lookback, deciding nothing. The pairs of which these
        tell nothing for sure: what was found before them may have ended the episode, or carried it on.

        At the newest alert of a pair its episode was open. So it was at every alerting finding since, whatever clear
        ones came between: had it ended, that finding would have opened another, and its alert would be the newest.
        So whoever has an alerting finding is sure from there on; and so is who was clear for `rearm`, since nothing
        before can undo that.
        """
        recalled, sure = dict(self._open), set[int]()
        for batch in batches:
            findings = self._relevant(batch)
            for run in _runs(findings, self._lapse_ms):
                if not run.level:
                    if self._quiet(run):
                        sure.add(run.pair)
                elif run.pair in recalled:
                    episode = self._open[run.pair] = recalled[run.pair]
                    episode.last_alerting_ms, episode.clear_since_ms = run.last_ms, None
                    sure.add(run.pair)
            self._watch(np.unique(findings.pair))
        return recalled.keys() - sure

    def open_pairs(self) -> list[int]:
        """Pairs with an episode open."""
        return list(self._open)

    def retract(
        self,
        pair: int,
        episode_start_ms: int,
        left: Sequence[tuple[int, int]],
        elsewhere: Sequence[tuple[int, int]] = (),
    ) -> None:
        """An alert of this episode was taken back; `left`: (clock, level) of its alerts that were sent and stand,
        `elsewhere`: of those of the pair's other episodes."""
        episode = self._open.get(pair)
        if episode is not None and episode.start_ms == episode_start_ms:
            episode.sent = episode.recorded = max((level for _, level in left), default=0)
            if not left:
                del self._open[pair]
                self._watched[pair : pair + 1] = False
        if left or elsewhere:
            self._last_sent[pair] = max([*left, *elsewhere])
        else:
            self._last_sent.pop(pair, None)

    def forget(self, pairs: Iterable[int]) -> None:
        """Nothing is known of these pairs any more."""
        for pair in pairs:
            self._open.pop(pair, None)
            self._last_sent.pop(pair, None)
            self._watched[pair : pair + 1] = False

    def relevant(self, pair: np.ndarray, level: np.ndarray) -> np.ndarray:
        """int64: which of these findings can matter: those of pairs that alert among them or have an episode open."""
        if len(pair):
            self._make_room(int(pair.max()))
        self._watched[pair[level > 0]] = True
        return np.flatnonzero(self._watched[pair])

    def _relevant(self, findings: Findings) -> Findings:
        """The findings of pairs that alert or have an episode open, pair by pair."""
        relevant = self.relevant(findings.pair, findings.level)
        return findings.take(relevant[np.argsort(findings.pair[relevant], kind="stable")])

    def _alerting(self, run: _Run, findings: Findings, expired_to_ms: int | None) -> list[Decision]:
        episode = self._open.get(run.pair)
        if episode is None or run.first_ms - episode.last_alerting_ms > self._lapse_ms:
            episode = self._open[run.pair] = _Episode(run.first_ms, run.first_ms)
        decisions = self._due(episode, run, findings, expired_to_ms) if run.level > episode.sent else []
        episode.last_alerting_ms, episode.clear_since_ms = max(episode.last_alerting_ms, run.last_ms), None
        return decisions

    def _due(self, episode: _Episode, run: _Run, findings: Findings, expired_to_ms: int | None) -> list[Decision]:
        """The run's first finding that may be sent; before it, for a rise, the record that it waits."""
        expired, cooling = self._withheld(run, findings, expired_to_ms)
        sendable = np.flatnonzero(~(expired | cooling))
        decisions = []
        if run.level > episode.recorded and (not len(sendable) or sendable[0]):
            decisions.append(_decision(findings, run, 0, episode, EXPIRED if expired[0] else COOL_DOWN))
        if len(sendable):
            decisions.append(_decision(findings, run, int(sendable[0]), episode, None))
            self._last_sent[run.pair] = (int(findings.clock_ms[run.start + sendable[0]]), run.level)
            episode.sent = run.level
        episode.recorded = max(episode.recorded, run.level)
        return decisions

    def _withheld(self, run: _Run, findings: Findings, expired_to_ms: int | None) -> tuple[np.ndarray, np.ndarray]:
        """bool[run], bool[run]: which findings have expired, and which fall into the cool-down."""
        within = slice(run.start, run.end)
        never = np.zeros(run.end - run.start, bool)
        expired = never if expired_to_ms is None else findings.appended_ms[within] <= expired_to_ms
        sent_ms, sent_level = self._last_sent.get(run.pair, (0, 0))
        cooling = findings.clock_ms[within] - sent_ms < self._cool_down_ms if run.level <= sent_level else never
        return expired, cooling

    def _quiet(self, run: _Run) -> bool:
        """Carry an episode on through a run that does not alert; whether it ended by having been clear for long."""
        episode = self._open.get(run.pair)
        if episode is None or run.last_ms < episode.last_alerting_ms:
            return False
        since_ms = run.first_ms if episode.clear_since_ms is None else episode.clear_since_ms
        episode.clear_since_ms = since_ms if run.clear else None
        cleared = run.clear and run.last_ms - since_ms >= self._rearm_ms
        lapsed = run.last_ms - episode.last_alerting_ms > self._lapse_ms
        if cleared or lapsed:
            del self._open[run.pair]
        return cleared

    def _watch(self, pairs: np.ndarray) -> None:
        if len(pairs):
            self._make_room(int(pairs.max()))
        self._watched[pairs] = [pair in self._open for pair in pairs.tolist()]

    def _make_room(self, pair: int) -> None:
        if pair >= len(self._watched):
            self._watched = np.pad(self._watched, (0, max(pair + 1, len(self._watched))))


@dataclass(frozen=True, slots=True)
class _Run:
    """Findings `start` to `end` of one pair, all of the same level and clearness."""

    start: int
    end: int
    pair: int
    level: int
    clear: bool
    first_ms: int
    last_ms: int


def _runs(f: Findings, lapse_ms: int) -> list[_Run]:
    """Findings, pair by pair, cut into runs: also where the clock leaps by more than a lapse, which ends an episode."""
    starts = _changes(f, lapse_ms)
    ends = np.append(starts, len(f))[1:]
    columns = (starts, ends, f.pair[starts], f.level[starts], f.clear[starts], f.clock_ms[starts], f.clock_ms[ends - 1])
    return list(map(_Run, *(column.tolist() for column in columns)))


def _changes(f: Findings, lapse_ms: int) -> np.ndarray:
    if not len(f):
        return np.empty(0, np.int64)
    differs = (np.diff(f.pair) != 0) | (np.diff(f.level) != 0) | (np.diff(f.clear) != 0)
    return np.flatnonzero(np.r_[True, differs | (np.diff(f.clock_ms) > lapse_ms)])


def _note(episode: _Episode, alert: PastAlert) -> None:
    episode.last_alerting_ms = max(episode.last_alerting_ms, alert.clock_ms)
    episode.recorded = max(episode.recorded, alert.level)
    if alert.withheld_because is None:
        episode.sent = max(episode.sent, alert.level)


def _decision(findings: Findings, run: _Run, nth: int, episode: _Episode, withheld_because: str | None) -> Decision:
    moment = int(findings.moment[run.start + nth])
    return Decision(moment, run.pair, run.level, episode.start_ms, withheld_because)


def _milliseconds(duration: timedelta) -> int:
    return duration // timedelta(milliseconds=1)


def _moment_ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000)
