"""Broken builds of the stream, on a real broker and a real store: the same run is green with the product and red with
the build, by the oracle or by the product itself, which stops before damage."""

from __future__ import annotations

import pytest

from pipelines.stream import EXIT_POSITIONS
from tests.crash.broken_builds.stream_process import VITALS, Streams, Ward
from tests.deployment import Deployment

pytestmark = [pytest.mark.crash, pytest.mark.timeout(600)]


def red(deployment: Deployment) -> dict[str, int]:
    """What the oracle counts under the headings where anything is wrong."""
    return {heading: count for heading, count in deployment.verdict().totals.items() if count}


def test_offsets_of_the_consumer_group_stop_the_stream_before_anything_is_lost(settings):
    build = "offsets_from_the_consumer_group"
    with Deployment(settings) as deployment:
        streams, ward = Streams(deployment), Ward(deployment)
        ward.play_part()
        dying = streams.start(build, WARDSTREAM_COMMIT_SECONDS="900")
        streams.wait_until_read(dying)
        streams.wait_until_the_group_has(VITALS)
        dying.kill()
        dying.wait()
        ward.play_part()  # without a further message a reader at the end has nothing that could fail to fit
        assert streams.ended(streams.start(build)) == EXIT_POSITIONS, streams.told()
        assert "GapError" in streams.told()
        streams.read_to_the_end()
        assert red(deployment) == {}


def test_a_seen_set_calls_what_is_read_again_a_duplicate_of_itself(settings):
    build = "a_seen_set_for_first_positions"
    with Deployment(settings) as deployment:
        streams, ward = Streams(deployment), Ward(deployment)
        ward.play_part()
        streams.killed_before_its_commit()
        streams.read_to_the_end()
        assert red(deployment) == {}
        ward.play_part()
        streams.killed_before_its_commit(build)
        streams.read_to_the_end(build)
        assert red(deployment)["misjudged"] > 400


def test_state_from_an_older_snapshot_tells_other_alerts(settings):
    with Deployment(settings) as deployment:
        streams, ward = Streams(deployment), Ward(deployment)
        for _ in range(2):
            ward.play_part()
            streams.read_to_the_end()
        assert red(deployment) == {}
        ward.play_part()
        streams.read_to_the_end("state_from_an_older_snapshot")
        found = red(deployment)
    assert found.pop("alerts_forged") > 0
    assert found == {}
