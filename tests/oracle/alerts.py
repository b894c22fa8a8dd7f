"""The alerts that must follow from the rows of `vitals`, worked out patient by patient and reading by reading.

Holds: NEWS2 and the single-signal limits, restated from the published charts, and the policy's words as plain loops.
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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
REARM_MS, COOL_DOWN_MS, LAPSE_MS = 10 * MINUTE_MS, 30 * MINUTE_MS, 4 * HOUR_MS
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
    """An alert that must have been sent, or recorded as withheld."""

    rule: str
    subject_token: str
    episode_start_ms: int
    level: int
    withheld_because: str | None
    partition: int
    offset: int
    clock_ms: int

    @property
    def alert_id(self) -> str:
        return alert_id(self.rule, VERSION, self.subject_token, self.episode_start_ms, self.level)


def alert_id(rule: str, version: str, subject_token: str, episode_start_ms: int, level: int) -> str:
    """The id an alert of this identity has."""
    identity = "\x1f".join((rule, version, subject_token, str(episode_start_ms), str(level)))
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


@dataclass(slots=True)
class _Episode:
    start_ms: int
    last_alerting_ms: int
    recorded: int = 0
    sent: int = 0
    clear_since_ms: int | None = None


class _RuleOfSubject:
    """The policy for one rule and one subject."""

    def __init__(self, rule: str, token: str, expired_before: Mapping[str, int]) -> None:
        self.rule, self.token = rule, token
        self._expired_before = expired_before
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
            rearmed = clear and clock_ms - since_ms >= REARM_MS
            if rearmed or clock_ms - episode.last_alerting_ms > LAPSE_MS:
                self._episode = None
        return None

    def _alerting(self, level: int, clock_ms: int, place: tuple[int, int]) -> Decided | None:
        episode = self._episode
        if episode is None or clock_ms - episode.last_alerting_ms > LAPSE_MS:
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
        if self._last_sent and level <= self._last_sent[1] and clock_ms - self._last_sent[0] < COOL_DOWN_MS:
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
    rules = {signal: _RuleOfSubject(limits[0], token, expired_before) for signal, limits in LIMITS.items()}
    news2 = _RuleOfSubject("news2", token, expired_before)
    times: list[int | None] = [None] * len(CODES)
    values = [0.0] * len(CODES)
    points = [0] * len(CODES)
    clock_ms = None
    decided = []
    for signal, value, at_ms, partition, offset in readings:
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
        decided.append(news2.find(*_news2(times, points, clock_ms), clock_ms, place))
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
