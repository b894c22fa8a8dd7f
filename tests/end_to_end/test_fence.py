"""The fence, seen by the oracle: two owners of the same partitions do no harm, and without the fence they would."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tests.deployment import Deployment
from warehouse import drafts
from warehouse.catalog import load_table, open_catalog
from warehouse.commit import FencedTable
from warehouse.offsets import Interval, Placement

pytestmark = pytest.mark.end_to_end


def test_two_streams_that_own_the_same_partitions_leave_each_event_once(settings):
    with Deployment(settings) as deployment:
        deployment.play_ward(seed=31, minutes=20, patients=10)
        twins = [deployment.start_stream("--until-end", WARDSTREAM_COMMIT_SECONDS="0.3") for _ in range(2)]
        assert [twin.wait(timeout=240) for twin in twins] == [0, 0], deployment.log()
        deployment.run_stream_to_the_end()
        verdict = deployment.verdict()
    assert verdict.passed, verdict.report()


def test_the_oracle_turns_red_when_the_fence_is_removed(settings, monkeypatch):
    with Deployment(settings) as deployment:
        deployment.play_ward(seed=32, minutes=10, patients=6)
        deployment.run_stream_to_the_end()
        assert deployment.verdict().passed
        monkeypatch.setattr(drafts, "place", _accept_everything)
        commit_again(settings, rows=25)
        verdict = deployment.verdict()
    assert verdict.totals["doubled"] == 25, verdict.report()


def _accept_everything(vector, intervals):
    return [Placement(interval, "accept", interval.start) for interval in intervals]


def commit_again(settings, rows: int) -> None:
    """Offer the first rows of one partition once more, as a writer that lost its memory would."""
    catalog = open_catalog(settings)
    stored = load_table(catalog, settings.namespace, "vitals").scan().to_arrow()
    partition = int(np.bincount(stored["kafka_partition"].to_numpy()).argmax())
    of_partition = stored.filter(pa.array(stored["kafka_partition"].to_numpy() == partition)).sort_by("kafka_offset")
    first = of_partition.slice(0, rows)
    offsets = first["kafka_offset"].to_numpy()
    interval = Interval(first["topic_id"][0].as_py(), partition, int(offsets[0]), int(np.max(offsets)) + 1)
    FencedTable(catalog, (settings.namespace, "vitals"), writer="forgetful").commit(first, [interval])
