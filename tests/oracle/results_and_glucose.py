"""The alerts that must follow from laboratory results, corrections and all, and from glucose sensors.

Holds: the limits of lactate, what a correction takes back, and the excursions of glucose, as plain loops.
Does not hold: scores over several streams (`scores_across`), nor the policy (`alerts`).

Sources: lactate above 2 mmol/L: Sepsis-3, JAMA 2016;315:801; 4 or more: Surviving Sepsis Campaign 2021. Glucose: Danne
et al., Diabetes Care 2017;40:1631. Four orders remembered, 48 samples within four hours: the product's own choices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from .alerts import HOUR_MS, MINUTE_MS, VERSION, Decided, RuleOfSubject, alert_id

LACTATE, GLUCOSE = "2524-7", "99504-3"
ORDERS = 4
_RANK = {"P": 0, "F": 1, "C": 2, "X": 3}


def lactate_level(value: float | None) -> tuple[int, bool]:
    """Above 2 mmol/L a warning, 4 or more critical, in tenths; clear from 1.8 down."""
    if value is None:
        return 0, False
    tenths = math.floor(value * 10 + 0.5)
    return (2 if tenths >= 40 else 1 if tenths >= 21 else 0), tenths <= 18


def of_results(labs: pa.Table, expired_before: Mapping[str, int]) -> list[Decided]:
    """All alerts and retractions of lactate that follow from the rows of `labs` (of one topic)."""
    return [
        decided
        for token, rows in _by_subject(labs.filter(pc.equal(labs["code"].cast(pa.string()), LACTATE)), "collected_at")
        for decided in _Lactate(token, expired_before).read(rows)
    ]


class _Lactate:
    """One subject's results, in position order."""

    def __init__(self, token: str, expired_before: Mapping[str, int]) -> None:
        self._token, self._rule = token, RuleOfSubject("threshold.lactate", token, expired_before)
        self._held: dict[str, tuple[Any, int, float | None]] = {}
        self._standing: list[tuple[Decided, int]] = []
        self._revisions: dict[str, int] = {}

    def read(self, rows: list[dict[str, Any]]) -> Iterator[Decided]:
        clock_ms = None
        for row in rows:
            before, replaced = self._newest(None), self._held.get(row["order_id"])
            if not self._file(row):
                continue
            place = (row["kafka_partition"], row["kafka_offset"])
            if replaced is not None:
                yield from self._taken_back(replaced[1], place)
            newest = self._newest(None)
            if newest == before and not (newest and newest[0] == row["at_ms"] and row["value"] is not None):
                continue
            if newest is not None:
                clock_ms = newest[0] if clock_ms is None else max(clock_ms, newest[0])
            level, clear = lactate_level(None if newest is None else newest[1])
            if clock_ms is not None and (found := self._rule.find(level, clear, clock_ms, place)) is not None:
                identity = alert_id(found.rule, VERSION, self._token, found.episode_start_ms, found.level)
                found = found._replace(revision=self._revisions.get(identity, 0))
                if found.withheld_because is None:
                    self._standing.append((found, newest[0]))
                yield found

    def _file(self, row: dict[str, Any]) -> bool:
        held = self._held.get(row["order_id"])
        if held is not None and row["rank"] <= held[0]:
            return False
        if held is None and len(self._held) == ORDERS:
            oldest = min(self._held, key=lambda order: self._held[order][1])
            if row["at_ms"] <= self._held[oldest][1]:
                return False
            del self._held[oldest]
        self._held[row["order_id"]] = (row["rank"], row["at_ms"], row["value"])
        return True

    def _newest(self, until_ms: int | None) -> tuple[int, float] | None:
        told = [
            (at, rank, value)
            for rank, at, value in self._held.values()
            if value is not None and (until_ms is None or (at <= until_ms and until_ms - at <= 24 * HOUR_MS))
        ]
        if not told:
            return None
        at, _, value = max(told)
        return at, value

    def _taken_back(self, at_ms: int, place: tuple[int, int]) -> Iterator[Decided]:
        """Alerts that rested on the result of this time and whose level does not hold any more."""
        for alert, rested_on in list(self._standing):
            newest = self._newest(alert.clock_ms)
            if rested_on == at_ms and lactate_level(newest and newest[1])[0] < alert.level:
                self._standing.remove((alert, rested_on))
                start_ms = alert.episode_start_ms
                same, others = (
                    [(a.clock_ms, a.level) for a, _ in self._standing if (a.episode_start_ms == start_ms) is of_it]
                    for of_it in (True, False)
                )
                self._rule.take_back(start_ms, same, others)
                first = alert._replace(revision=0)
                self._revisions[first.alert_id] = self._revisions.get(first.alert_id, 0) + 1
                yield alert._replace(retracts=alert.alert_id, partition=place[0], offset=place[1])


def of_glucose(wearables: pa.Table, expired_before: Mapping[str, int]) -> list[Decided]:
    """All alerts of glucose out of range that follow from the rows of `wearables` (of one topic)."""
    is_glucose = pc.equal(wearables["code"].cast(pa.string()), GLUCOSE)
    chosen = wearables.filter(pc.and_(is_glucose, pc.is_null(wearables["quality_flag"])))
    return [
        decided
        for token, rows in _by_subject(chosen, "event_time")
        for name, is_low in (("glucose.low", True), ("glucose.high", False))
        for decided in _excursions(RuleOfSubject(name, token, expired_before), is_low, rows)
    ]


def _excursions(rule: RuleOfSubject, is_low: bool, rows: list[dict[str, Any]]) -> Iterator[Decided]:
    samples: list[tuple[int, float]] = []
    for row in rows:
        samples = sorted([*samples, (row["at_ms"], row["value"])])
        samples = [s for s in samples[-48:] if s[0] > samples[-1][0] - 4 * HOUR_MS]
        found = rule.find(
            *glucose_level(samples, is_low), samples[-1][0], (row["kafka_partition"], row["kafka_offset"])
        )
        if found is not None:
            yield found


def glucose_level(samples: list[tuple[int, float]], is_low: bool) -> tuple[int, bool]:
    """What the last of these samples says: beyond the limit for more than 15 proven minutes, or below 54 at once."""

    def is_beyond(value: float) -> bool:
        return value < 70 if is_low else value > 180

    def is_clear(value: float) -> bool:
        return value >= 75 if is_low else value <= 175

    proven_ms = 0
    for (before_ms, before), (at_ms, value) in pairwise(samples):
        if is_clear(value):
            proven_ms = 0
        elif is_beyond(value) and is_beyond(before) and at_ms - before_ms <= 15 * MINUTE_MS:
            proven_ms += at_ms - before_ms
    last = samples[-1][1]
    if is_low and last < 54:
        return 2, False
    return int(is_beyond(last) and proven_ms > 15 * MINUTE_MS), is_clear(last)


def _by_subject(rows: pa.Table, time: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Subject token and its rows in position order, each with its effective time `at_ms`, its `value` and, of results,
    its `rank` among versions."""
    order = [(name, "ascending") for name in ("kafka_partition", "kafka_offset")]
    told: dict[str, list[dict[str, Any]]] = {}
    at_us = pc.min_element_wise(*(rows[name].cast(pa.int64()) for name in (time, "kafka_time")))
    for row in rows.append_column("at_us", at_us).sort_by(order).to_pylist():
        if row["subject_token"] is None:
            continue
        row["at_ms"] = row["at_us"] // 1000
        gone = row.get("status") == "X" or row["quality_flag"] is not None
        row["value"] = None if gone else row["numeric_value"]
        if "status" in row:
            row["rank"] = (row["reported_at"], _RANK[row["status"]], row["event_id"][:8])
        told.setdefault(row["subject_token"], []).append(row)
    yield from told.items()
