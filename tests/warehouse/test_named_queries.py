"""The kept questions: each says what its rows are, passes the guard, and answers rightly on a small lake."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.warehouse.test_analytics import created, lake
from warehouse.analytics import Analytics
from warehouse.contract import load_contracts
from warehouse.named_queries import UnknownQueryError, named_queries, named_query
from warehouse.settings import Settings
from warehouse.tables import arrow_schema

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NAMES = sorted(named_queries())


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def positioned(offset: int, appended: float, **columns: Any) -> dict[str, Any]:
    position = {"topic_id": "topic", "kafka_partition": 0, "kafka_offset": offset, "kafka_time": at(appended)}
    return {**position, "ingest_time": at(appended + 2), **columns}


def reading(offset: int, token: str | None, code: str, value: float, **columns: Any) -> dict[str, Any]:
    shown = {"subject_token": token, "device_id": "MON-1", "ward": "ICU-1", "code": code, "numeric_value": value}
    named = {"event_id": f"e{offset}", "event_time": at(offset), "unit": "/min", **shown, **columns}
    return positioned(offset, offset, **named)


def alert(offset: int, appended: float, **columns: Any) -> dict[str, Any]:
    known = {"alert_id": f"a{offset}", "rule": "news2", "rule_version": "1", "severity": "warning", "level": 1}
    told = {"subject_token": "t1", "episode_start": at(0), "reasons": ["x"], "missing": [], "late": False}
    times = {
        "device_time": at(0),
        "appended_at": at(0),
        "processed_at": at(0),
        "alerted_at": at(0),
        "effective_at": at(0),
    }
    source = {"source_topic_id": "topic", "source_partition": 0, "source_offset": 0, "expires_at": at(900)}
    return positioned(offset, appended, **{**known, **told, **times, **source, **columns})


def verdict(minute: int, passed: bool, failed: list[str]) -> dict[str, Any]:
    counted = {"snapshot_id": 7, "offset_vector": "{}", "expectations": 9, "rows": 4, "suite_version": "1"}
    judged = {"table_name": "vitals", "day": date(2026, 11, 22), "evaluated_at": at(60 * minute)}
    return {**counted, **judged, "passed": passed, "failed": failed}


ROWS: dict[str, list[dict[str, Any]]] = {
    "vitals": [
        reading(0, "t1", "8867-4", 80.0),
        reading(1, "t1", "8867-4", 90.0),
        reading(2, "t1", "8867-4", 999.0, quality_flag="out_of_range"),
        reading(9, None, "8867-4", 70.0, device_id="MON-2", event_time=at(3601)),
    ],
    "alerts": [alert(0, 0.010), alert(1, 0.030), alert(2, 5.0, late=True)],
    "alerts_withheld": [alert(0, 1, withheld_because="cool_down"), alert(1, 1, withheld_because="expired")],
    "rejects": [
        positioned(3, 3, stream="device.vitals", stage="decode", reason="malformed_json", size_bytes=10,
                   sealed_payload=b"x", sealed_under="person", subject_token="t1"),
        positioned(4, 4, stream="device.vitals", stage="decode", reason="malformed_json", size_bytes=5,
                   sealed_payload=b"x", sealed_under="day:2026-11-22"),
    ],
    "duplicates": [positioned(8, 8, stream="device.vitals", event_id="e1", first_offset=1)],
    "quality_results": [verdict(1, True, []), verdict(2, False, ["expect_x"])],
    "vitals_by_minute": [
        {"subject_token": "t1", "ward": "ICU-1", "code": "8867-4", "unit": "/min", "minute": NOON, "samples": 2,
         "mean": 85.0, "minimum": 80.0, "maximum": 90.0, "first": 80.0, "last": 90.0},
    ],
}  # fmt: skip

# What each question must answer on those rows: some columns of every row.
EXPECTED: dict[str, list[dict[str, Any]]] = {
    "vitals_latest": [{"subject_token": "t1", "name": "heart_rate", "numeric_value": 90.0, "age_s": 7199.0}],
    "vitals_by_minute": [{"name": "heart_rate", "samples": 2, "mean": 85.0, "unit": "/min"}],
    "alerts_by_rule": [
        {"rule": "news2", "alerts": 3, "withheld_by_cool_down": 1, "withheld_as_expired": 1, "patients": 1}
    ],
    "alert_latency": [
        {"late": False, "alerts": 2, "p50_ms": 20.0, "worst_ms": 30},
        {"late": True, "alerts": 1, "p50_ms": 5000.0, "worst_ms": 5000},
    ],
    "rejects_by_reason": [{"reason": "malformed_json", "rejects": 2, "bytes": 15, "patients": 1}],
    "duplicates_by_stream": [{"kafka_partition": 0, "duplicates": 1, "longest_distance": 7}],
    "rows_by_hour": [
        {"hour": NOON, "readings": 3, "patients": 1, "devices": 1, "flagged": 1, "p50_delay_s": 2.0},
        {"hour": NOON + timedelta(hours=1), "readings": 1, "patients": 0, "devices": 1, "flagged": 0},
    ],
    "quality_gate": [{"table_name": "vitals", "verdict": "held", "failed": ["expect_x"], "verdicts": 2}],
    "device_health": [
        {"device_id": "MON-1", "readings": 3, "out_of_range": 1, "flagged_percent": 33.3, "silent_s": 7198.0},
        {"device_id": "MON-2", "readings": 1, "without_patient": 1, "longest_gap_s": None, "silent_s": 3599.0},
    ],
}


def filled(settings: Settings) -> None:
    for name, rows in ROWS.items():
        schema = arrow_schema(load_contracts().table(name))
        created(settings, name).append(pa.Table.from_pylist(rows, schema))


@pytest.fixture(scope="module")
def empty(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Analytics]:
    settings = lake(store, tmp_path_factory.mktemp("empty"))
    created(settings, "vitals")
    with Analytics(settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def small(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Analytics]:
    settings = lake(store, tmp_path_factory.mktemp("small"))
    filled(settings)
    with Analytics(settings) as opened:
        yield opened


def asked(lake: Analytics, name: str) -> list[dict[str, Any]]:
    """The answer to a kept question, two hours after the first reading."""
    query = named_query(name)
    return lake.query(query.sql, parameters=query.parameters(at(7_200))).table.to_pylist()


def test_every_question_has_an_expected_answer():
    assert sorted(EXPECTED) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_question_runs_on_an_empty_lake(empty: Analytics, name: str):
    assert asked(empty, name) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_question_answers_rightly(small: Analytics, name: str):
    rows = asked(small, name)
    expected = EXPECTED[name]
    assert [{key: row[key] for key in wanted} for row, wanted in zip(rows, expected, strict=True)] == expected


def test_a_question_without_a_grain_is_refused(tmp_path: Path):
    (tmp_path / "x.sql").write_text("-- What?\n-- units: none\n-- asked by: nobody\nSELECT 1")
    with pytest.raises(ValueError, match=r"x\.sql lacks grain"):
        named_queries(tmp_path)


def test_a_head_may_run_over_several_lines(tmp_path: Path):
    (tmp_path / "x.sql").write_text("-- What?\n-- grain: one row\n-- units: s;\n--   UTC\n-- asked by: all\nSELECT 1")
    query = named_query("x", tmp_path)
    assert (query.question, query.grain, query.units, query.asked_by) == ("What?", "one row", "s; UTC", "all")


def test_an_unknown_name_is_answered_with_those_there_are():
    with pytest.raises(UnknownQueryError, match=r"no named query nothing; there are .*vitals_latest"):
        named_query("nothing")
