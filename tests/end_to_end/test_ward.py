"""A ward with all its streams and every kind of trouble, through the real product into a real lake, by the oracle."""

from __future__ import annotations

import heapq
import time
from dataclasses import asdict
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from infra.simulator import rule_patients, sepsis
from infra.simulator.hospital import STREAMS
from infra.simulator.player import Pace
from infra.simulator.ward import MINUTE_MS, play_ward
from tests.deployment import Deployment
from tests.oracle.alert_message import read_alerts
from tests.oracle.kafka_log import read_topic
from warehouse.analytics import Analytics
from warehouse.settings import Settings

pytestmark = pytest.mark.end_to_end


def alerts_without_birth_date(settings: Settings, since: datetime) -> tuple[int, int]:
    """(how many do not know it, how many there are) of the alerts appended after a moment."""
    asked = (
        "SELECT count(*) FILTER (list_contains(missing, 'birth_date')), count(*) FROM alerts WHERE kafka_time > $since"
    )
    (counts,) = Analytics(settings).query(asked, parameters={"since": since}).table.to_pylist()
    return tuple(counts.values())


def alerts_on_kafka(settings: Settings) -> pa.Table:
    """What anybody who reads the alerts' topic is told."""
    kafka = {"bootstrap.servers": settings.kafka_bootstrap}
    return read_topic(kafka, "clinical.alerts", settings.topic("clinical.alerts"), read_alerts).log


def test_each_rule_alerts_on_its_patient_and_on_nobody_who_is_well(settings):
    end_ms = int(time.time() * 1000)
    start_ms = end_ms - 60 * MINUTE_MS
    wanted = (*rule_patients.expected_alerts(start_ms, end_ms), sepsis.expected_alert(start_ms, end_ms))
    patients = rule_patients.play_rule_patients(11, start_ms, end_ms), sepsis.play_sepsis(11, start_ms, end_ms)
    with Deployment(settings) as deployment:
        events = heapq.merge(*patients, key=lambda event: event.due_ms)
        deployment.play(events, Pace(), expected_alerts=[asdict(alert) for alert in wanted])
        deployment.run_stream_to_the_end()
        verdict = deployment.verdict(scores=True)
    assert verdict.passed, verdict.report()
    assert verdict.counts["clinical.scores: messages in Kafka"] > len(rule_patients.STORIES)
    told = alerts_on_kafka(settings).to_pylist()
    assert {(each.patient_id, each.rule) for each in wanted} <= {(row["patient_id"], row["rule"]) for row in told}
    assert all(row["reasons"] for row in told)
    assert not {row["patient_id"] for row in told} & set(rule_patients.WELL)
    taken_back = [row["patient_id"] for row in told if row["retracts"] and row["rule"] != "sepsis"]
    assert taken_back == [rule_patients.TAKEN_BACK]


def test_every_message_of_a_ward_ends_in_exactly_one_place_and_every_alert_is_told(settings):
    with Deployment(settings) as deployment:
        deployment.play_hospital(seed=11, minutes=60, patients=16)
        deployment.run_stream_to_the_end()
        verdict = deployment.verdict()
    assert verdict.passed, verdict.report()
    assert verdict.counts["alerts: rows in Iceberg"] > 10
    assert min(verdict.counts[f"{stream}: messages in Kafka"] for stream in STREAMS) > 30


def test_after_a_restart_an_alert_still_names_two_identifiers(settings):
    with Deployment(settings) as deployment:
        deployment.play_hospital(seed=11, minutes=10, patients=16)
        deployment.run_stream_to_the_end()
        again, start_ms = datetime.now(UTC), int(time.time() * 1000)
        deployment.play(play_ward(12, start_ms - 10 * MINUTE_MS, 10 * MINUTE_MS, 16), Pace(), expected_alerts=[])
        deployment.run_stream_to_the_end()
        verdict = deployment.verdict()
    assert verdict.passed, verdict.report()
    unknown, alerts = alerts_without_birth_date(settings, again)
    assert alerts > 0
    assert unknown == 0
