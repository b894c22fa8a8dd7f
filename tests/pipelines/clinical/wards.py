"""Wards for the tests: readings as dicts, the same as an Arrow table, and strategies that make eventful ones."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

BASE = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp() * 1000)
MINUTE = 60_000
TIMESTAMP = pa.timestamp("us", "UTC")

VALUES = {
    "9279-1": [16.0, 18.0, 20.5, 22.0, 26.0, 8.0, 19.4],
    "59408-5": [97.0, 95.0, 94.0, 93.0, 90.0],
    "3151-8": [0.0, 4.0],
    "8480-6": [120.0, 104.0, 100.0, 88.0, 221.0],
    "8867-4": [80.0, 92.0, 108.0, 112.0, 135.0, 39.0],
    "80288-4": ["A", "V", "C"],
    "8310-5": [37.0, 38.9, 39.1, 34.9, 38.06],
    "8478-0": [85.0, 70.0, 67.0, 60.0],
    "8462-4": [70.0],
}
CODES = list(VALUES)


def reading(token, code, value, event, offset, partition=0, appended=None, flag=None):
    """One reading; `event` and `appended` in minutes after the base."""
    return {
        "token": token,
        "code": code,
        "number": None if isinstance(value, str) else value,
        "word": value if isinstance(value, str) else None,
        "flag": flag,
        "event": BASE + round(event * MINUTE),
        "appended": BASE + round((event if appended is None else appended) * MINUTE),
        "partition": partition,
        "offset": offset,
    }


def table(readings, dictionaries=True):
    """The readings as rows in the shape the hot path hands on."""

    def text(key, of=lambda value: value):
        array = pa.array([of(r[key]) for r in readings], pa.string())
        return array.dictionary_encode() if dictionaries else array

    def time(key):
        return pa.array([r[key] * 1000 for r in readings], pa.int64()).cast(TIMESTAMP)

    return pa.table(
        {
            "patient_id": text("token", lambda token: token and f"P{token}"),
            "subject_token": text("token"),
            "ward": text("token", lambda token: "ICU-1"),
            "code": text("code"),
            "numeric_value": pa.array([r["number"] for r in readings], pa.float64()),
            "text_value": text("word"),
            "quality_flag": text("flag"),
            "event_time": time("event"),
            "received_at": pa.nulls(len(readings), TIMESTAMP),
            "kafka_partition": pa.array([r["partition"] for r in readings], pa.int32()),
            "kafka_offset": pa.array([r["offset"] for r in readings], pa.int64()),
            "kafka_time": time("appended"),
        }
    )


def eventful(seed, rows=600):
    """Readings with crises, gaps of hours, stragglers, flags, codes without a rule, rows without a subject, and devices
    whose clocks are up to an hour ahead.

    Seeds differ in pace, so that some wards try the cool-down and others the lapse and the carry-forward.
    """
    rng = np.random.default_rng(seed)
    step, straggle, subjects = (0.2, 1.0, 8.0)[seed % 3], (5, 90)[seed % 2], 1 + seed % 4
    clock, mood, readings = 0.0, {}, []
    for offset in range(rows):
        clock += rng.uniform(60, 400) if rng.random() < 0.01 else rng.exponential(step)
        token = None if rng.random() < 0.02 else f"t{rng.integers(subjects)}"
        code = CODES[rng.integers(len(CODES))]
        if rng.random() < 0.06:
            mood[token] = rng.choice([0.0, 0.0, 0.0, 0.3, 1.0])
        ill = rng.random() < mood.get(token, 0.0)
        value = VALUES[code][rng.integers(len(VALUES[code])) if ill else 0]
        late = rng.uniform(0, straggle) if rng.random() < 0.15 else 0.0
        ahead = rng.choice([50.0, 50.0, rng.uniform(0, 60)]) if rng.random() < 0.1 else 0.0
        flag = "probe_off" if rng.random() < 0.03 else None
        readings.append(reading(token, code, value, clock - late + ahead, offset, appended=clock, flag=flag))
    return readings


def as_reference(alert):
    """What the reference says of an alert."""
    return {
        "rule": alert.rule,
        "token": alert.subject_token,
        "start": alert.episode_start_ms,
        "level": alert.level,
        "partition": alert.partition,
        "offset": alert.offset,
        "clock": alert.effective_ms,
        "withheld": alert.withheld_because,
    }


def as_past(alerts):
    """Alerts as the rows of their two tables together."""

    def time(pick):
        return pa.array([pick(a) * 1000 for a in alerts], pa.int64()).cast(TIMESTAMP)

    return pa.table(
        {
            "rule": pa.array([a.rule for a in alerts], pa.string()),
            "rule_version": pa.array([a.rule_version for a in alerts], pa.string()),
            "subject_token": pa.array([a.subject_token for a in alerts], pa.string()),
            "level": pa.array([a.level for a in alerts], pa.int32()),
            "episode_start": time(lambda a: a.episode_start_ms),
            "effective_at": time(lambda a: a.effective_ms),
            "withheld_because": pa.array([a.withheld_because for a in alerts], pa.string()),
        }
    )
