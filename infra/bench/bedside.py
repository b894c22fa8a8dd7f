"""A lake of weeks at the bedside for P4: readings, results and alerts, brought by the product's own commits.

Holds: the rows, the same for the same seed, and the commits that make a given number of files of readings.
Does not hold: any question, or any server.

One commit is one file: the readings of a stretch of one day, in the order of their time, as a stream brings them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from infra.bench.workload import id_texts
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.commit import FencedTable
from warehouse.contract import load_contracts
from warehouse.offsets import Interval
from warehouse.settings import Settings

TOPIC = "bench-bedside-topic-id"
FIRST_DAY_US = int(np.datetime64("2026-10-01", "us").astype(np.int64))
HOUR_US = 3_600_000_000
FILES_A_DAY = 10
PATIENTS = 2_000
RESULTS_SHARE, ALERTS_SHARE = 0.005, 0.0005

_CODES = (
    ("8867-4", "/min", 50.0, 140.0),
    ("9279-1", "/min", 8.0, 35.0),
    ("59408-5", "%", 85.0, 100.0),
    ("8480-6", "mm[Hg]", 80.0, 190.0),
    ("8478-0", "mm[Hg]", 50.0, 110.0),
    ("8310-5", "Cel", 35.0, 41.0),
)
_RESULTS = (("2524-7", "mmol/L", 0.5, 6.0), ("2160-0", "mg/dL", 0.4, 3.0), ("777-3", "10*3/uL", 60.0, 400.0))
_WARDS = ("ICU-1", "ICU-2", "CCU-1", "ED-1", "STEP-1", "NEO-1")
_RULES = ("news2", "spo2_low", "hr_high")


@dataclass(frozen=True, slots=True)
class Size:
    """Rows of `vitals`, and the files they lie in."""

    rows: int
    files: int

    @property
    def rows_a_file(self) -> int:
        return -(-self.rows // self.files)


def fill(settings: Settings, size: Size, seed: int) -> None:
    """Make the tables `vitals`, `labs` and `alerts` and bring their rows."""
    rng = np.random.default_rng(seed)
    vitals = _opened(settings, "vitals")
    for start, rows in _readings(rng, size):
        vitals.commit(rows, [Interval(TOPIC, 0, start, start + rows.num_rows)])
    for name, rows in (("labs", _results(rng, size)), ("alerts", _alerts(rng, size))):
        _opened(settings, name).commit(rows, [Interval(TOPIC, 0, 0, rows.num_rows)])


def _opened(settings: Settings, name: str) -> FencedTable:
    create_table(open_catalog(settings), settings.namespace, load_contracts().table(name), table_lock(settings))
    table = FencedTable(open_catalog(settings), (settings.namespace, name), writer="bench")
    table.establish(TOPIC, {0: 0})
    return table


def _readings(rng: np.random.Generator, size: Size) -> Iterator[tuple[int, pa.Table]]:
    """First offset and rows of each file."""
    stretch = 24 * HOUR_US // FILES_A_DAY
    for number, start in enumerate(range(0, size.rows, size.rows_a_file)):
        n = min(size.rows_a_file, size.rows - start)
        times = FIRST_DAY_US + number * stretch + np.sort(rng.integers(0, stretch, n))
        yield start, _readings_of(rng, start, times)


def _readings_of(rng: np.random.Generator, start: int, times: np.ndarray) -> pa.Table:
    n = len(times)
    kinds, patients = rng.integers(0, len(_CODES), n), rng.integers(0, PATIENTS, n)
    flagged = np.where(rng.random(n) < 0.01, 0, -1)
    return pa.table(
        {
            **_placed(start, times + rng.integers(50_000, 2_000_000, n)),
            "event_id": pa.array(id_texts(rng.integers(0, 1 << 64, (n, 2), np.uint64)), pa.binary()).cast(pa.string()),
            "subject_token": _worded(patients, _tokens()),
            "device_id": _worded(patients, [f"MON-{number:04d}" for number in range(PATIENTS)]),
            "ward": _worded(patients % len(_WARDS), _WARDS),
            "code": _worded(kinds, [code for code, *_ in _CODES]),
            "unit": _worded(kinds, [unit for _, unit, *_ in _CODES]),
            "numeric_value": _values(rng, kinds, _CODES),
            "event_time": _instants(times),
            "seq": pa.array(np.arange(start, start + n)),
            "quality_flag": pa.DictionaryArray.from_arrays(
                pa.array(flagged, pa.int32(), mask=flagged < 0), ["out_of_range"]
            ),
        }
    )


def _results(rng: np.random.Generator, size: Size) -> pa.Table:
    """Laboratory results in order of their report; of ten, one is corrected an hour later."""
    n = max(10, int(size.rows * RESULTS_SHARE))
    order = np.arange(n) - (np.arange(n) % 10 == 9)
    kinds, patients = order % len(_RESULTS), (order * 7919) % PATIENTS
    corrected = np.arange(n) % 10 == 9
    collected = FIRST_DAY_US + order * _span(size) // n
    reported = collected + 40 * 60_000_000 + corrected * HOUR_US
    return pa.table(
        {
            **_placed(0, reported + 5_000_000),
            "event_id": pa.array([f"result-{number}" for number in range(n)]),
            "subject_token": _worded(patients, _tokens()),
            "order_id": pa.array([f"L-{number}" for number in order.tolist()]),
            "code": _worded(kinds, [code for code, *_ in _RESULTS]),
            "unit": _worded(kinds, [unit for _, unit, *_ in _RESULTS]),
            "numeric_value": _values(rng, kinds, _RESULTS),
            "status": _worded(corrected.astype(np.int32), ["F", "C"]),
            "lab": _worded(np.zeros(n, np.int32), ["CENTRAL-LAB"]),
            "collected_at": _instants(collected),
            "reported_at": _instants(reported),
        }
    )


def _alerts(rng: np.random.Generator, size: Size) -> pa.Table:
    n = max(10, int(size.rows * ALERTS_SHARE))
    times = FIRST_DAY_US + np.sort(rng.integers(0, _span(size), n))
    patients, rules = rng.integers(0, PATIENTS, n), rng.integers(0, len(_RULES), n)
    appended = times + 300_000
    moments = dict.fromkeys(("episode_start", "device_time", "effective_at"), _instants(times))
    words = pa.array([["a sign"]] * n, pa.list_(pa.string()))
    return pa.table(
        {
            **_placed(0, appended + rng.integers(20_000, 900_000, n)),
            **moments,
            "alert_id": pa.array([f"alert-{number}" for number in range(n)]),
            "rule": _worded(rules, _RULES),
            "rule_version": _worded(np.zeros(n, np.int32), ["1"]),
            "severity": _worded(rules, ["urgent", "warning", "warning"]),
            "level": pa.array(np.where(rules == 0, 2, 1), pa.int32()),
            "subject_token": _worded(patients, _tokens()),
            "ward": _worded(patients % len(_WARDS), _WARDS),
            "reasons": words,
            "missing": words,
            "late": pa.array(rng.random(n) < 0.05),
            "appended_at": _instants(appended),
            "processed_at": _instants(appended + 10_000),
            "expires_at": _instants(appended + HOUR_US // 4),
            "source_topic_id": _worded(np.zeros(n, np.int32), [TOPIC]),
            "source_partition": pa.array(np.zeros(n, np.int32)),
            "source_offset": pa.array(np.arange(n)),
        }
    )


def _placed(start: int, appended: np.ndarray) -> dict[str, pa.Array]:
    """The columns of positions; rows are known four seconds after their append."""
    n = len(appended)
    return {
        "topic_id": _worded(np.zeros(n, np.int32), [TOPIC]),
        "kafka_partition": pa.array(np.zeros(n, np.int32)),
        "kafka_offset": pa.array(np.arange(start, start + n)),
        "kafka_time": _instants(appended),
        "ingest_time": _instants(appended + 4_000_000),
    }


def _span(size: Size) -> int:
    return -(-size.files // FILES_A_DAY) * 24 * HOUR_US


def _values(rng: np.random.Generator, kinds: np.ndarray, codes: tuple[tuple[str, str, float, float], ...]) -> pa.Array:
    low, high = (np.array([code[at] for code in codes])[kinds] for at in (2, 3))
    return pa.array(np.round(low + rng.random(len(kinds)) * (high - low), 1))


def _worded(numbers: np.ndarray, words: list[str] | tuple[str, ...]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(numbers, pa.int32()), pa.array(words, pa.string()))


def _instants(micros: np.ndarray) -> pa.Array:
    return pa.array(micros, pa.timestamp("us", "UTC"))


def _tokens() -> list[str]:
    return [f"k5qw2vj6y3rzb4n7t2d7{number:06d}" for number in range(PATIENTS)]
