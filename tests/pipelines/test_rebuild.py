"""Messages worked again: by the graph's own steps, but for what once ended the process and what no key opens."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from pipelines.batch import StreamBatch
from pipelines.deduplicate import FirstPositions
from pipelines.lake_rows import raw_rows
from pipelines.rebuild import RawReading, Rebuild, ReplayKeys
from pipelines.stream_steps import StreamSteps
from tests.pipelines.messages import KEY, VITALS, messages, reading, tokenizer
from tests.warehouse.fake_keys import FakeKeys
from warehouse.contract import FOLDER, read_contract

RAW = read_contract(FOLDER / "raw.messages.odcs.yaml").tables[0]


def steps() -> StreamSteps:
    return StreamSteps(VITALS, tokenizer(), FirstPositions(1000, 1000, KEY))


def test_messages_become_what_the_steps_make_of_them() -> None:
    given = messages([reading(event_id="a"), reading(event_id="b"), b"{", reading(event_id="a")])
    work = Rebuild(steps(), poison={})
    (batch,) = work.batches([given])
    (same,) = [steps().all(given)]
    assert batch.rows.equals(same.rows)
    assert [r.reason for r in batch.rejects] == ["malformed_json"] == [r.reason for r in same.rejects]
    assert (work.messages, len(batch.duplicates)) == (4, len(same.duplicates))


def test_what_ended_the_process_once_is_seen_by_no_step(monkeypatch: pytest.MonkeyPatch) -> None:
    given = messages([reading(event_id="a"), b"deadly", reading(event_id="c")])
    made = steps()
    decode = made.decode

    def fragile(batch):
        assert b"deadly" not in batch.messages.values, "the process ends"
        return decode(batch)

    monkeypatch.setattr(made, "decode", fragile)
    with pytest.raises(AssertionError, match="the process ends"):
        list(Rebuild(made, poison={}).batches([given]))
    aside, rest = Rebuild(made, poison={1: frozenset({103})}).batches([given])
    assert [(r.stage, r.reason) for r in aside.rejects] == [("read", "poison")]
    assert (aside.messages.offsets.tolist(), rest.messages.offsets.tolist()) == ([103], [100, 106])
    assert rest.rows["event_id"].to_pylist() == ["a", "c"]


def test_where_the_key_of_a_day_is_gone_another_takes_its_place_and_that_is_told() -> None:
    first, second = date(2026, 11, 20), date(2026, 11, 21)
    keys = ReplayKeys(FakeKeys(frozenset({first})))
    assert keys.reject_key(second) == FakeKeys().reject_key(second)
    assert keys.replaced == frozenset()
    assert keys.reject_key(first) == keys.reject_key(first) != FakeKeys().reject_key(first)
    assert keys.replaced == frozenset({first})


class Kept:
    """Raw messages in memory, in windows of two."""

    topic_id = "topic-1"

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows

    def windows(self, partition, span):
        mine = self._rows.filter(pa.array(self._rows["kafka_partition"].to_numpy() == partition))
        offsets = mine["kafka_offset"].to_numpy()
        for start in range(span[0], span[1], 6):
            end = min(start + 6, span[1])
            yield start, end, mine.filter(pa.array((offsets >= start) & (offsets < end)))


def test_messages_kept_as_they_came_are_the_messages_that_came() -> None:
    people = [f"P{n % 3:06}" for n in range(8)]
    values = [reading(event_id=str(n), patient_id=person) for n, person in enumerate(people)]
    given = messages(values, [person.encode() for person in people])
    batch = steps().pseudonymise(StreamBatch(given))
    rows = raw_rows(batch, FakeKeys(), RAW, 0)
    reading_ = RawReading(Kept(rows), VITALS.name, FakeKeys())  # ty: ignore[invalid-argument-type]
    found = list(reading_.read({0: (100, 124), 1: (100, 124)}))
    there = {
        (int(p), int(o)): (key, value, ms)
        for one in found
        for p, o, ms, key, value in zip(one.partitions, one.offsets, one.appended_ms, one.keys, one.values, strict=True)
    }
    assert there == {
        (int(p), int(o)): (key, value, ms)
        for p, o, ms, key, value in zip(
            given.partitions, given.offsets, given.appended_ms, given.keys, given.values, strict=True
        )
    }
    assert [one.intervals for one in found if 0 in one.intervals] == [{0: (s, s + 6)} for s in range(100, 124, 6)]
    assert reading_.closed == {}


def test_of_a_person_whose_key_is_gone_the_positions_are_told() -> None:
    given = messages([reading(event_id=str(n)) for n in range(4)])
    batch = steps().pseudonymise(StreamBatch(given))
    rows = raw_rows(batch, FakeKeys(), RAW, 0)
    token = rows["subject_token"][0].as_py()
    reading_ = RawReading(Kept(rows), VITALS.name, FakeKeys(frozenset({token})))  # ty: ignore[invalid-argument-type]
    assert sum(map(len, reading_.read({0: (100, 112), 1: (100, 112)}))) == 0
    assert reading_.closed == {0: [100, 106], 1: [103, 109]}
