"""A stream that is killed while messages flow, some of the times with a commit under way."""

from __future__ import annotations

import pytest

from tests.crash.stream.kills import kill_again_and_again
from tests.deployment import Deployment

pytestmark = pytest.mark.crash


@pytest.mark.timeout(420)
def test_killed_streams_lose_nothing_double_nothing_and_tell_the_same_alerts(settings):
    with Deployment(settings) as deployment:
        done = kill_again_and_again(deployment, kills=3, in_flight=1, seed=5)
        deployment.run_stream_to_the_end()
        verdict = deployment.verdict()
    assert verdict.passed, f"{done}\n{verdict.report()}"
