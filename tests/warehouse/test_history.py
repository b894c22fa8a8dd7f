"""What a restart reads from the lake, on a real store."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from tests.warehouse.fenced import new_table
from tests.warehouse.one_table import OneTable
from warehouse import history
from warehouse.analytics import Analytics
from warehouse.commit import FencedTable
from warehouse.contract import load_contracts
from warehouse.offsets import Interval
from warehouse.tables import arrow_schema

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HEART_RATE, SPO2 = "8867-4", "59408-5"


def reading(
    offset: int, patient: str, code: str, minutes: float, flag: str | None = None, appended: float = 0.0
) -> dict:
    """`minutes` of the event and `appended` of its message, both after noon."""
    return {
        "event_id": f"e{offset}",
        "subject_token": patient,
        "code": code,
        "numeric_value": float(offset),
        "event_time": NOON + timedelta(minutes=minutes),
        "quality_flag": flag,
        "topic_id": "topic",
        "kafka_partition": 0,
        "kafka_offset": offset,
        "kafka_time": NOON + timedelta(minutes=appended),
        "ingest_time": NOON,
    }


@pytest.fixture
def analytics(settings):
    rows = [
        reading(0, "ill", HEART_RATE, -600),
        reading(1, "ill", HEART_RATE, -30),
        reading(2, "well", HEART_RATE, -30),
        reading(3, "well", HEART_RATE, -20),
        reading(4, "well", SPO2, -90),
        reading(5, "well", SPO2, -10, flag="probe_off"),
        reading(6, "ill", HEART_RATE, 0),
        reading(7, "silent", HEART_RATE, -60 * 24 * 30),
        reading(8, "ill", HEART_RATE, 1, appended=1),
    ]
    with lake_of(settings, rows) as session:
        yield session


@contextmanager
def lake_of(settings, rows):
    table = FencedTable(*new_table(settings), writer="test")
    table.establish("topic", {0: 0})
    schema = arrow_schema(load_contracts().table("vitals"))
    columns = [pa.array([row.get(field.name) for row in rows], field.type) for field in schema]
    table.commit(pa.Table.from_arrays(columns, schema=schema), [Interval("topic", 0, 0, len(rows))])
    with Analytics(settings) as session:
        yield session


def test_a_restart_remembers_the_newest_of_each_code_and_the_lookback_of_those_who_were_alerted_on(analytics):
    found = history.readings_below(
        analytics, "topic", {0: 8}, [HEART_RATE, SPO2], ["ill"], timedelta(hours=8), timedelta(days=7)
    )
    assert found["kafka_offset"].to_pylist() == [1, 3, 4, 6]
    assert found["numeric_value"].to_pylist() == [1.0, 3.0, 4.0, 6.0]


def test_a_glance_has_what_was_appended_since_and_the_newest_of_each_code_before(settings):
    told = [("ill", HEART_RATE, 1), ("ill", HEART_RATE, 2), ("ill", SPO2, 2), ("well", HEART_RATE, 3)]
    told += [("ill", HEART_RATE, 10), ("ill", HEART_RATE, 11), ("well", HEART_RATE, 11), ("well", HEART_RATE, 12)]
    rows = [reading(n, who, code, at, appended=at) for n, (who, code, at) in enumerate([*told, ("ill", SPO2, 30)])]
    rows[4]["event_time"] = NOON + timedelta(minutes=1.5)
    with lake_of(settings, rows) as session:
        since = history.positions_since(session, "topic", {0: 8, 1: 5}, timedelta(minutes=2))
        assert since == {0: 4, 1: 5}
        found = history.readings_below(
            session, "topic", {0: 8}, [HEART_RATE, SPO2], [], LOOKBACK, SILENCE, ["ill"], since
        )
        assert history.positions_since(session, "another", {0: 8}, LOOKBACK) == {0: 8}
    assert found["kafka_offset"].to_pylist() == [1, 2, 3, 4, 5, 7]


LOOKBACK, SILENCE = timedelta(hours=8), timedelta(days=7)
FORGOTTEN = -(LOOKBACK + SILENCE) / timedelta(minutes=1)


def test_a_restart_takes_no_reading_for_newer_than_its_message(settings):
    rows = [
        reading(0, "ill", HEART_RATE, 50),
        reading(1, "ill", HEART_RATE, 1, appended=2),
        reading(2, "ill", SPO2, -479),
        reading(3, "ill", SPO2, -481),
        reading(4, "well", HEART_RATE, 50, appended=1),
        reading(5, "well", HEART_RATE, 49, appended=1),
        reading(6, "well", HEART_RATE, 0.5, appended=2),
        reading(7, "weller", HEART_RATE, 50, appended=1),
        reading(8, "weller", HEART_RATE, 1.5, appended=2),
        reading(9, "long silent", HEART_RATE, FORGOTTEN + 10),
        reading(10, "longer silent", HEART_RATE, FORGOTTEN + 40, appended=FORGOTTEN - 10),
    ]
    with lake_of(settings, rows) as session:
        found = history.readings_below(session, "topic", {0: 11}, [HEART_RATE, SPO2], ["ill"], LOOKBACK, SILENCE)
    assert found["kafka_offset"].to_pylist() == [0, 1, 2, 4, 5, 8, 9]


def test_a_restart_remembers_no_more_ids_than_it_may(analytics):
    found = history.identities_below(analytics, "vitals", "event_id", "topic", {0: 8}, most=3)
    assert sorted(found["event_id"].to_pylist()) == ["e5", "e6", "e7"]


def test_a_restart_remembers_all_alerts_of_the_model_that_a_correction_may_still_reach():
    alerts = [("A", "sepsis", -20, 1), ("B", "sepsis", -2, 2), ("old", "sepsis", -40, 0), ("other", "news2", -1, 3)]
    alerts += [("again", "sepsis", 1, 9)]  # its row lies beyond the position
    rows = [
        {"alert_id": name, "rule": rule, "subject_token": "t", "effective_at": NOON + timedelta(hours=hours)}
        | {"source_topic_id": "topic", "source_partition": 0, "source_offset": offset}
        for name, rule, hours, offset in alerts
    ]

    session: Any = OneTable("alerts", rows)
    found = history.alerts_of_rule_below(session, "alerts", "topic", {0: 9}, "sepsis", timedelta(hours=25))
    assert sorted(found["alert_id"].to_pylist()) == ["A", "B"]
