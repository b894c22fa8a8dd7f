"""The broken committers in a whole stream, judged by the whole oracle: the long form of test_committers.py.

Run by `python -m tests.crash.broken_builds`; not collected by a run of the suite, for each start reads a lake anew.
"""

from __future__ import annotations

import signal

import pytest

from pipelines.stream import EXIT_DRAINED, EXIT_POSITIONS
from tests.crash.broken_builds.builds import compact_with_pyiceberg
from tests.crash.broken_builds.stream_process import Streams, Ward
from tests.crash.broken_builds.test_streams import red
from tests.deployment import Deployment

pytestmark = [pytest.mark.crash, pytest.mark.timeout(900)]

ANSWER_LOST = "an_answer_is_lost"


@pytest.mark.parametrize("build", [(), ("library_retries_on",)], ids=["the product", "library retries on"])
def test_two_owners_of_the_same_partitions(settings, build):
    with Deployment(settings) as deployment:
        streams, ward = Streams(deployment), Ward(deployment)
        ward.play_part()
        twins = [
            streams.start(
                *build,
                WARDSTREAM_COMMIT_SECONDS="0.1",
                WARDSTREAM_COORDINATION_URI=f"sqlite:///{settings.home / name}.sqlite",  # neither knows of the other
            )
            for name in ("one", "other")
        ]
        for _ in range(6):
            ward.play_part()
        for twin in twins:
            streams.wait_until_read(twin)
        for twin in twins:
            twin.send_signal(signal.SIGTERM)
        assert [streams.ended(twin) for twin in twins] == [EXIT_DRAINED] * 2, streams.told()
        found = red(deployment)
    assert (found.get("doubled", 0) > 0) if build else (found == {})


def test_a_stream_whose_committer_deletes_what_it_was_told_nothing_of(settings):
    with Deployment(settings) as deployment:
        streams, ward = Streams(deployment), Ward(deployment)
        for builds in ((), (ANSWER_LOST,)):
            ward.play_part()
            streams.read_to_the_end(*builds)
        assert red(deployment) == {}
        ward.play_part()
        broken = streams.start(ANSWER_LOST, "files_deleted_after_an_unknown_outcome")
        deployment.wait_for("its complaint", lambda s: s.get("pid") == broken.pid and "vitals" in s["reason"], 150)
        broken.kill()
        broken.wait()
        verdict = deployment.verdict()
    assert any("vitals: cannot be read" in finding.what for finding in verdict.findings), verdict.report()


@pytest.mark.parametrize("carrying", [True, False], ids=["with its vector", "vector not carried"])
def test_a_stream_after_upkeep_by_a_plain_overwrite(settings, carrying):
    with Deployment(settings) as deployment:
        streams, ward = Streams(deployment), Ward(deployment)
        ward.play_part()
        streams.read_to_the_end()
        compact_with_pyiceberg(settings, carrying)
        ward.play_part()
        if carrying:
            streams.read_to_the_end()
            assert red(deployment) == {}
            return
        assert streams.ended(streams.start()) == EXIT_POSITIONS, streams.told()
        assert "VectorMissingError" in streams.told()
        assert red(deployment)["holes"] > 0
