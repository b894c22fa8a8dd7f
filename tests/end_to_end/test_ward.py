"""A ward with all its streams and every kind of trouble, through the real product into a real lake, by the oracle."""

from __future__ import annotations

import pytest

from infra.simulator.hospital import STREAMS
from tests.deployment import Deployment

pytestmark = pytest.mark.end_to_end


def test_every_message_of_a_ward_ends_in_exactly_one_place_and_every_alert_is_told(settings):
    with Deployment(settings) as deployment:
        deployment.play_hospital(seed=11, minutes=60, patients=16)
        deployment.run_stream_to_the_end()
        verdict = deployment.verdict()
    assert verdict.passed, verdict.report()
    assert verdict.counts["alerts: rows in Iceberg"] > 10
    assert min(verdict.counts[f"{stream}: messages in Kafka"] for stream in STREAMS) > 30
