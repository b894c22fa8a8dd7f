"""A ward with every kind of trouble, from a real broker through the graph into a real lake, judged by the oracle."""

from __future__ import annotations

import pytest

from tests.deployment import Deployment

pytestmark = pytest.mark.end_to_end


def test_every_message_of_a_ward_ends_in_exactly_one_place_and_every_alert_is_told(settings):
    with Deployment(settings) as deployment:
        deployment.play_ward(seed=11, minutes=60, patients=16)
        deployment.run_stream_to_the_end()
        verdict = deployment.verdict()
    assert verdict.passed, verdict.report()
    assert verdict.counts["alerts: rows in Iceberg"] > 10
