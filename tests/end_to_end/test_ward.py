"""A ward with all its streams and every kind of trouble, through the real product into a real lake, by the oracle."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from infra.simulator.hospital import STREAMS
from infra.simulator.player import Pace
from infra.simulator.ward import MINUTE_MS, play_ward
from tests.deployment import Deployment
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
        deployment.play_hospital(seed=11, minutes=30, patients=16)
        deployment.run_stream_to_the_end()
        again, start_ms = datetime.now(UTC), int(time.time() * 1000)
        deployment.play(play_ward(12, start_ms - 10 * MINUTE_MS, 10 * MINUTE_MS, 16), Pace(), expected_alerts=[])
        deployment.run_stream_to_the_end()
        verdict = deployment.verdict()
    assert verdict.passed, verdict.report()
    unknown, alerts = alerts_without_birth_date(settings, again)
    assert alerts > 0
    assert unknown == 0
