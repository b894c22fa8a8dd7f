"""What a restart asks for of the hours that a model in the stream looks at, on a real store."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.warehouse.one_table import OneTable
from tests.warehouse.test_history import HEART_RATE, NOON, SPO2, lake_of, reading
from warehouse import score_history


def test_each_hour_stands_by_its_latest_reading_and_none_by_one_from_before_the_hours_asked_for(settings):
    rows = [
        reading(0, "a", HEART_RATE, -170),  # 09:10, before the cut at 09:30 and in one hour with what is behind it
        reading(1, "a", HEART_RATE, -140),
        reading(2, "a", SPO2, -170),
        reading(3, "a", HEART_RATE, 5),
        reading(4, "a", HEART_RATE, 5),
        reading(5, "a", HEART_RATE, 2),
        reading(6, "a", HEART_RATE, 30, appended=30),  # the newest
        reading(7, "a", SPO2, 90, appended=20),  # dated ahead: it counts from its append
        reading(8, "a", SPO2, 25, flag="probe_off", appended=25),
        reading(9, "b", SPO2, -600),
    ]
    with lake_of(settings, rows) as session:
        found = score_history.hourly_readings_below(
            session, "vitals", "topic", {0: 10}, [HEART_RATE, SPO2], hours=2, silence=timedelta(days=7)
        )
    told = {
        (row["subject_token"], row["code"], (row["event_time"] - NOON) / timedelta(minutes=1)): row["numeric_value"]
        for row in found.to_pylist()
    }
    assert told == {
        ("a", HEART_RATE, -140): 1.0,
        ("a", HEART_RATE, 30): 6.0,
        ("a", SPO2, 20): 7.0,
        ("b", SPO2, -600): 9.0,
    }


def test_of_two_scores_of_one_millisecond_the_one_that_stands_later_on_the_topic_is_recalled():
    rows = [
        {"subject_token": "t", "hour_start": NOON, "hour_of_stay": 3, "score": score, "threshold": 0.5}
        | {"model_version": "v", "scored_at": NOON + timedelta(minutes=late), "kafka_offset": offset}
        for offset, (score, late) in enumerate([(0.1, 2), (0.7, 2), (0.2, 2), (0.9, 1)])
    ]

    session: Any = OneTable("scores", rows)
    for _ in range(2):
        found = score_history.last_scores(session, ["t"], 24)
        assert found["score"].to_pylist() == [0.2]
        rows.reverse()
