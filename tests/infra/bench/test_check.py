"""A lost row, a doubled one and a changed one are each seen by the benchmark's check."""

from __future__ import annotations

import uuid

import pyarrow as pa
import pytest

from infra.bench.check import Fingerprint, differences, distinct_positions, fingerprint

IDS = [str(uuid.UUID(int=number << 64 | 5)) for number in (7, 9, 12)]


def _print(ids: list[str], seq: list[int]) -> Fingerprint:
    return fingerprint(pa.chunked_array([ids], pa.string()), pa.chunked_array([seq], pa.int64()))


def test_a_fingerprint_is_of_distinct_events_whatever_their_order():
    found = _print([IDS[2], IDS[0], IDS[1], IDS[0]], [30, 10, 20, 10])
    assert found == Fingerprint(rows=4, distinct=3, sum_seq=60, xor_id=7 ^ 9 ^ 12)


def test_an_empty_table_has_a_fingerprint():
    assert fingerprint(pa.chunked_array([], pa.string()), pa.chunked_array([], pa.int64())) == Fingerprint(0, 0, 0, 0)


@pytest.mark.parametrize(
    ("ids", "seq"),
    [(IDS[:2], [1, 2]), ([*IDS, IDS[0]], [1, 2, 3, 1]), ([IDS[0], IDS[1], str(uuid.UUID(int=1))], [1, 2, 3])],
)
def test_a_lost_a_doubled_and_an_exchanged_row_change_the_fingerprint(ids, seq):
    assert _print(ids, seq) != _print(IDS, [1, 2, 3])


def test_an_id_that_is_no_uuid_is_refused():
    with pytest.raises(ValueError, match="UUID"):
        _print(["short"], [1])


def test_differences_name_what_is_not_as_expected():
    assert differences({"rows": 3, "rejects": 1}, {"rows": 2, "rejects": 1}) == ["rows: expected 3, found 2"]


def test_positions_are_told_apart_by_topic_partition_and_offset():
    columns = {
        "topic_id": pa.chunked_array([["a", "a", "a"], ["b", "a"]]),
        "kafka_partition": pa.array([0, 0, 1, 0, 0], pa.int32()),
        "kafka_offset": pa.array([5, 6, 5, 5, 5], pa.int64()),
    }
    assert distinct_positions(pa.table(columns)) == 4
