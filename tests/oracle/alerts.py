"""The alerts that must follow from the rows of one stream, worked out patient by patient and reading by reading.

Holds: NEWS2, qSOFA, the shock index, the trend towards shock and the limits of single signals, restated from what was
published, and the policy's words as plain loops; lactate and glucose stand in `results_and_glucose`, scores over
several streams in `scores_across`.
Does not hold: anything columnar in its decisions: slow and obvious on purpose, to be compared with what is fast.

Sources: Royal College of Physicians, NEWS2 (2017), charts 1 and 2; mean arterial pressure: Surviving Sepsis Campaign
2021, recommendation 34 (65 mm[Hg]), and SOFA, Vincent et al. 1996 (70 mm[Hg]). Hysteresis, carry-forward and the
policy's durations are the product's own choices; they stand here once more as data.

A reading counts from its event time, but never from later than Kafka appended it: a device's clock may be ahead.

Of one thing the offline recomputation cannot know: how long a reading had waited when the stream came to it. Which
alerts were withheld as expired is therefore taken from the record; whether the record may say so is checked elsewhere.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MINUTE_MS, HOUR_MS = 60_000, 3_600_000


class Durations(NamedTuple):
    """Of the policy: how long clear ends an episode, what a repetition waits for, what ends an episode by silence."""

    rearm_ms: int
    cool_down_ms: int
    lapse_ms: int


OF_RULES = Durations(10 * MINUTE_MS, 30 * MINUTE_MS, 4 * HOUR_MS)
TIME_TO_LIVE_MS = 15 * MINUTE_MS
VERSION = "1"
COOL_DOWN, EXPIRED = "cool_down", "expired"

CODES = ("9279-1", "59408-5", "3151-8", "8480-6", "8867-4", "80288-4", "8310-5", "8478-0")
RR, SPO2, OXYGEN, SBP, PULSE, ACVPU, TEMPERATURE, MAP = range(8)
CARRY_MS = (HOUR_MS, HOUR_MS, 4 * HOUR_MS, HOUR_MS, HOUR_MS, 4 * HOUR_MS, 4 * HOUR_MS, HOUR_MS)
NEEDED_TO_CLEAR = (RR, SPO2, SBP, PULSE, TEMPERATURE)
WORDS = {"A": 0.0, "C": 1.0, "V": 2.0, "P": 3.0, "U": 4.0, "air": 0.0, "oxygen": 1.0}


def news2_points(signal: int, value: float) -> int:
    """Points of one parameter by chart 1; the value as charted: whole numbers, temperature in tenths, halves up."""
    whole = math.floor(value + 0.5)
    if signal == RR:
        return 3 if whole <= 8 else 1 if whole <= 11 else 0 if whole <= 20 else 2 if whole <= 24 else 3
    if signal == SPO2:
        return 3 if whole <= 91 else 2 if whole <= 93 else 1 if whole <= 95 else 0
    if signal == OXYGEN:
        return 2 if value > 0 else 0
    if signal == SBP:
        return 3 if whole <= 90 else 2 if whole <= 100 else 1 if whole <= 110 else 0 if whole <= 219 else 3
    if signal == PULSE:
        return _pulse_points(whole)
    if signal == ACVPU:
        return 3 if value > 0 else 0
    if signal == TEMPERATURE:
        tenths = math.floor(value * 10 + 0.5)
        return 3 if tenths <= 350 else 1 if tenths <= 360 else 0 if tenths <= 380 else 1 if tenths <= 390 else 2
    return 0


def _pulse_points(whole: int) -> int:
    for limit, points in ((40, 3), (50, 1), (90, 0), (110, 1), (130, 2)):
        if whole <= limit:
            return points
    return 3


# signal -> rule, critical low, warning low, warning high, critical high, margin of being clear; None: no limit there
LIMITS = {
    RR: ("threshold.respiratory_rate", 8, None, 21, 25, 2),
    SPO2: ("threshold.spo2", 91, 93, None, None, 2),
    SBP: ("threshold.sbp", 90, 100, None, 220, 5),
    PULSE: ("threshold.heart_rate", 40, None, 111, 131, 5),
    ACVPU: ("threshold.level_of_consciousness", None, None, None, 1, 1),
    TEMPERATURE: ("threshold.temperature", 350, None, 391, None, 3),
    MAP: ("threshold.map", 64, 69, None, None, 3),
}


def threshold(signal: int, value: float) -> tuple[int, bool]:
    """Level (2 critical, 1 warning, 0 none) and whether the signal is clear, by its own limits."""
    _, critical_low, warning_low, warning_high, critical_high, margin = LIMITS[signal]
    at = math.floor(value * (10 if signal == TEMPERATURE else 1) + 0.5)
    lows = [limit for limit in (critical_low, warning_low) if limit is not None]
    highs = [limit for limit in (warning_high, critical_high) if limit is not None]
    if (critical_low is not None and at <= critical_low) or (critical_high is not None and at >= critical_high):
        return 2, False
    if (lows and at <= max(lows)) or (highs and at >= min(highs)):
        return 1, False
    return 0, not (lows and at < max(lows) + margin) and not (highs and at > min(highs) - margin)


class Decided(NamedTuple):
    """An alert that must have been sent, or recorded as withheld. `retracts`: the id of the alert it takes back;
    `revision`: how many of its identity were taken back before."""

    rule: str
    subject_token: str
    episode_start_ms: int
    level: int
    withheld_because: str | None
    partition: int
    offset: int
    clock_ms: int
    retracts: str | None = None
    revision: int = 0

    @property
    def alert_id(self) -> str:
        if self.retracts:
            return _digest("retraction", self.retracts)
        return alert_id(self.rule, VERSION, self.subject_token, self.episode_start_ms, self.level, self.revision)


def alert_id(rule: str, version: str, subject_token: str, episode_start_ms: int, level: int, revision: int = 0) -> str:
    """The id an alert of this identity has."""
    again = (str(revision),) if revision else ()
    return _digest(rule, version, subject_token, str(episode_start_ms), str(level), *again)


def _digest(*identity: str) -> str:
    return hashlib.sha256("\x1f".join(identity).encode()).hexdigest()[:32]


@dataclass(slots=True)
class _Episode:
    start_ms: int
    last_alerting_ms: int
    recorded: int = 0
    sent: int = 0
    clear_since_ms: int | None = None


class RuleOfSubject:
    """The policy for one rule and one subject. `expired`: whether the record says that a decision came too late, beside
    what `expired_before` says."""

    def __init__(
        self,
        rule: str,
        token: str,
        expired_before: Mapping[str, int],
        durations: Durations = OF_RULES,
        expired: Callable[[Decided], bool] | None = None,
    ) -> None:
        self.rule, self.token, self._durations = rule, token, durations
        self._expired_before, self._expired = expired_before, expired
        self._episode: _Episode | None = None
        self._last_sent: tuple[int, int] | None = None

    def find(self, level: int, clear: bool, clock_ms: int, place: tuple[int, int]) -> Decided | None:
        """Take the rule's next finding; what is due, if anything."""
        episode = self._episode
        if level:
            return self._alerting(level, clock_ms, place)
        if episode is not None:
            since_ms = clock_ms if episode.clear_since_ms is None else episode.clear_since_ms
            episode.clear_since_ms = since_ms if clear else None
            rearmed = clear and clock_ms - since_ms >= self._durations.rearm_ms
            if rearmed or clock_ms - episode.last_alerting_ms > self._durations.lapse_ms:
                self._episode = None
        return None

    def take_back(
        self, episode_start_ms: int, left: list[tuple[int, int]], elsewhere: Sequence[tuple[int, int]] = ()
    ) -> None:
        """An alert of this episode never was; `left`: (clock, level) of those of the episode that stand, `elsewhere`:
        of those of others."""
        if self._episode is not None and self._episode.start_ms == episode_start_ms:
            self._episode.sent = self._episode.recorded = max((level for _, level in left), default=0)
            if not left:
                self._episode = None
        self._last_sent = max([*left, *elsewhere], default=None)

    def _alerting(self, level: int, clock_ms: int, place: tuple[int, int]) -> Decided | None:
        episode = self._episode
        if episode is None or clock_ms - episode.last_alerting_ms > self._durations.lapse_ms:
            episode = self._episode = _Episode(clock_ms, clock_ms)
        episode.last_alerting_ms, episode.clear_since_ms = clock_ms, None
        if level <= episode.sent:
            return None
        because = self._withheld(episode, level, clock_ms, place)
        if because is None:
            episode.sent = level
            self._last_sent = (clock_ms, level)
        elif level <= episode.recorded:
            return None
        episode.recorded = max(episode.recorded, level)
        return Decided(self.rule, self.token, episode.start_ms, level, because, *place, clock_ms)

    def _withheld(self, episode: _Episode, level: int, clock_ms: int, place: tuple[int, int]) -> str | None:
        if self._expired_before:
            identity = alert_id(self.rule, VERSION, self.token, episode.start_ms, level)
            if place[1] < self._expired_before.get(identity, -1):
                return EXPIRED
        if self._expired and self._expired(Decided(self.rule, self.token, episode.start_ms, level, None, *place, 0)):
            return EXPIRED
        last = self._last_sent
        if last and level <= last[1] and clock_ms - last[0] < self._durations.cool_down_ms:
            return COOL_DOWN
        return None


def recompute(vitals: pa.Table, expired_before: Mapping[str, int]) -> list[Decided]:
    """All alerts that follow from the rows of the `vitals` table (of one topic).

    `expired_before`: alert id -> source offset before which its findings are on record as expired.
    """
    decided: list[Decided] = []
    for token, readings in _by_subject(vitals):
        decided += _of_subject(token, readings, expired_before)
    return decided


def _of_subject(token: str, readings: Iterator[tuple], expired_before: Mapping[str, int]) -> list[Decided]:
    rules = {signal: RuleOfSubject(limits[0], token, expired_before) for signal, limits in LIMITS.items()}
    scores = [RuleOfSubject(name, token, expired_before) for name in ("news2", "qsofa", "shock_index")]
    trend, windows = RuleOfSubject("shock_trend", token, expired_before), {}
    times: list[int | None] = [None] * len(CODES)
    values = [0.0] * len(CODES)
    points = [0] * len(CODES)
    clock_ms = None
    decided = []
    for signal, value, at_ms, partition, offset in readings:
        if signal in (PULSE, MAP):
            if windows and at_ms // WINDOW_MS > max(windows):
                decided.append(trend.find(*shock_trend(windows, at_ms // WINDOW_MS), at_ms, (partition, offset)))
            if not windows or at_ms // WINDOW_MS > max(windows) - 25:
                windows.setdefault(at_ms // WINDOW_MS, ([], []))[signal == MAP].append(math.floor(value * 10 + 0.5))
        newest = times[signal]
        if newest is not None and at_ms < newest:
            continue
        times[signal], values[signal], points[signal] = at_ms, value, news2_points(signal, value)
        clock_ms = at_ms if clock_ms is None else max(clock_ms, at_ms)
        place = (partition, offset)
        if signal in LIMITS:
            current = clock_ms - at_ms <= CARRY_MS[signal]
            level, clear = threshold(signal, value) if current else (0, False)
            decided.append(rules[signal].find(level, clear, clock_ms, place))
        known = {
            each: values[each] for each, at in enumerate(times) if at is not None and clock_ms - at <= CARRY_MS[each]
        }
        found = (_news2(times, points, clock_ms), qsofa(known), shock_index(known))
        decided += [rule.find(*each, clock_ms, place) for rule, each in zip(scores, found, strict=True)]
    return [decision for decision in decided if decision is not None]


def _news2(times: list[int | None], points: list[int], clock_ms: int) -> tuple[int, bool]:
    """Level by chart 2 and whether the patient is well clear of every trigger."""
    total = highest = 0
    missing = False
    for signal in range(7):
        at = times[signal]
        if at is None or clock_ms - at > CARRY_MS[signal]:
            missing = missing or signal in NEEDED_TO_CLEAR
            continue
        total += points[signal]
        highest = max(highest, points[signal])
    level = 3 if total >= 7 else 2 if total >= 5 else 1 if highest == 3 else 0
    return level, not missing and total <= 3 and highest < 3


def qsofa(known: Mapping[int, float]) -> tuple[int, bool]:
    """Seymour et al., JAMA 2016: 22 breaths or more, 100 mm[Hg] or less, mentation altered; two points alert."""
    met = [
        RR in known and math.floor(known[RR] + 0.5) >= 22,
        SBP in known and math.floor(known[SBP] + 0.5) <= 100,
        known.get(ACVPU, 0) > 0,
    ]
    points = sum(met)
    return (0, 0, 1, 2)[points], points < 2 and RR in known and SBP in known


def shock_index(known: Mapping[int, float]) -> tuple[int, bool]:
    """Pulse over systolic pressure: 0.9 a warning (Rady 1994), 1.0 critical (Berger 2013), clear below 0.8."""
    if PULSE not in known or SBP not in known:
        return 0, False
    index = known[PULSE] / known[SBP]
    return (2 if index >= 1.0 else 1 if index >= 0.9 else 0), index < 0.9 - 0.1


WINDOW_MS = 300_000


def shock_trend(windows: Mapping[int, tuple[list[int], list[int]]], before: int) -> tuple[int, bool]:
    """Over the twelve windows of five minutes before one: does the pulse vary less by 30 % and the mean pressure fall
    by 10 mm[Hg], by lines of least squares, nine windows at least known? Samples are whole tenths."""
    points = []
    for nth in range(12):
        rates, pressures = windows.get(before - 12 + nth, ([], []))
        if len(rates) >= 5 and pressures:
            mean = sum(rates) / len(rates)
            deviation = math.sqrt(sum((rate - mean) ** 2 for rate in rates) / (len(rates) - 1)) / 10
            points.append((nth, deviation, sum(pressures) / len(pressures) / 10))
    if len(points) < 9:
        return 0, False
    first, last = (_line(points, nth) for nth in (0, 11))
    fall = (first[0] - last[0]) / first[0] if first[0] > 0 else 0.0
    drop = first[1] - last[1]
    return int(fall >= 0.3 and drop >= 10), fall < 0.15 or drop < 5


def _line(points: list[tuple[int, float, float]], at: int) -> tuple[float, float]:
    """Where the two lines of least squares stand at a window."""
    middle = sum(nth for nth, _, _ in points) / len(points)
    spread = sum((nth - middle) ** 2 for nth, _, _ in points)
    return tuple(
        sum(point[which] for point in points) / len(points)
        + (at - middle) * sum((point[0] - middle) * point[which] for point in points) / spread
        for which in (1, 2)
    )


def meets_sirs(vitals: pa.Table) -> set[str]:
    """Subjects whose temperature, pulse and breathing alone meet two criteria of SIRS at some moment."""
    return {token for token, _, _, _ in first_sirs(vitals)}


def first_sirs(vitals: pa.Table) -> list[tuple[str, int, tuple[int, int], dict[int, tuple[int, float]]]]:
    """Of each such subject the first of these moments: token, clock, place of its reading, and signal -> (effective
    time, value) of the three."""
    told = [(token, _first_sirs(readings)) for token, readings in _by_subject(vitals)]
    return [(token, *moment) for token, moment in told if moment is not None]


def _first_sirs(readings: Iterator[tuple]) -> tuple[int, tuple[int, int], dict[int, tuple[int, float]]] | None:
    newest: dict[int, tuple[int, float]] = {}
    clock_ms = -math.inf
    for signal, value, at_ms, partition, offset in readings:
        if signal in newest and at_ms < newest[signal][0]:
            continue
        newest[signal], clock_ms = (at_ms, value), max(clock_ms, at_ms)
        known = {each: value for each, (at, value) in newest.items() if clock_ms - at <= CARRY_MS[each]}
        tenths = math.floor(known.get(TEMPERATURE, 37.0) * 10 + 0.5)
        met = (tenths < 360 or tenths > 380) + (math.floor(known.get(PULSE, 0) + 0.5) > 90)
        if met + (math.floor(known.get(RR, 0) + 0.5) > 20) >= 2:
            told = {each: newest[each] for each in (TEMPERATURE, PULSE, RR) if each in known}
            return int(clock_ms), (partition, offset), told
    return None


def _by_subject(vitals: pa.Table) -> Iterator[tuple[str, Iterator[tuple]]]:
    """Subject token and its scorable readings in position order: (signal, value, at_ms, partition, offset)."""
    signal = pc.index_in(vitals["code"].cast(pa.string()), pa.array(CODES))
    words = pa.array(list(WORDS))
    spoken = pc.take(pa.array(list(WORDS.values())), pc.index_in(vitals["text_value"].cast(pa.string()), words))
    table = pa.table(
        {
            "token": vitals["subject_token"].cast(pa.string()),
            "signal": signal,
            "value": pc.coalesce(vitals["numeric_value"], spoken),
            "at": pc.min_element_wise(*(vitals[name].cast(pa.int64()) for name in ("event_time", "kafka_time"))),
            "partition": vitals["kafka_partition"],
            "offset": vitals["kafka_offset"],
        }
    ).filter(pc.is_null(vitals["quality_flag"]))
    table = table.drop_null().sort_by([(name, "ascending") for name in ("token", "partition", "offset")])
    tokens = table["token"].combine_chunks().dictionary_encode() if len(table) else pa.array([], pa.string())
    if not len(table):
        return
    index = tokens.indices.to_numpy()
    starts = np.flatnonzero(np.r_[True, np.diff(index) != 0]).tolist()
    for start, end in pairwise([*starts, len(table)]):
        part = table.slice(start, end - start)
        at_ms = part["at"].to_numpy() // 1000
        columns = (part[name].to_pylist() for name in ("signal", "value", "partition", "offset"))
        signals, values, partitions, offsets = columns
        yield (
            tokens.dictionary[index[start]].as_py(),
            zip(signals, values, at_ms.tolist(), partitions, offsets, strict=True),
        )
