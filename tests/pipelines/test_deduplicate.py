from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.batch import StreamBatch
from pipelines.deduplicate import FirstPositions, deduplicate
from tests.examples import tried
from tests.pipelines.messages import KEY, VITALS, decoded, messages, reading, reasons

HORIZON_S = 100
MANY = 1 << 12


class Model:
    """What `FirstPositions` means, one message at a time, with a dictionary that forgets nothing too early."""

    def __init__(self) -> None:
        self.first: dict[tuple[int, str], tuple[int, int]] = {}

    def see(self, event_id: str, partition: int, offset: int, seconds: int) -> int:
        known = self.first.get((partition, event_id))
        if known and known[0] < offset and seconds - known[1] < HORIZON_S:
            return known[0]
        self.first[partition, event_id] = offset, seconds
        return offset


def _memory(max_ids: int = MANY) -> FirstPositions:
    return FirstPositions(max_ids, HORIZON_S, KEY)


def _seen(memory: FirstPositions, log: list[tuple[str, int, int, int]]) -> list[int]:
    ids, partitions, offsets, seconds = zip(*log, strict=True) if log else ((), (), (), ())
    return memory.first_offsets(
        pa.array(ids, pa.string()),
        np.array(partitions, np.int32),
        np.array(offsets, np.int64),
        np.array(seconds, np.int64) * 1000 + 999,
    ).tolist()


def _restored(memory: FirstPositions, rows: list[tuple[str, int, int, int]]) -> FirstPositions:
    ids, partitions, offsets, seconds = zip(*rows, strict=True) if rows else ((), (), (), ())
    times = pa.array(np.array(seconds, np.int64) * 1_000_000, pa.timestamp("us", "UTC"))
    columns = (pa.array(ids, pa.string()), pa.array(partitions, pa.int32()), pa.array(offsets, pa.int64()), times)
    memory.restore(*(pa.chunked_array([column[:1], column[1:]]) for column in columns))
    return memory


def _id(number: int) -> str:
    """Some of one length, some not."""
    return f"{number:08d}" if number % 3 else "é" * (number % 5) + str(number)


@st.composite
def logs(draw) -> list[tuple[str, int, int, int]]:
    """(id, partition, offset, seconds) in the order of Kafka: offsets rise, time does not fall."""
    steps = draw(
        st.lists(st.tuples(st.integers(0, 12), st.integers(0, 1), st.integers(1, 3), st.integers(0, 30)), max_size=80)
    )
    offsets, seconds, log = [0, 1000], 0, []
    for number, partition, gap, later in steps:
        offsets[partition] += gap
        seconds += later
        log.append((_id(number), partition, offsets[partition], seconds))
    return log


def _cut(log: list, cuts: list[int]) -> list[list]:
    bounds = sorted({0, len(log), *(cut for cut in cuts if cut < len(log))})
    return [log[start:end] for start, end in pairwise(bounds)]


cuts = st.lists(st.integers(0, 80), max_size=8)


@given(logs(), cuts)
@tried(50)
def test_it_is_the_plain_model_wherever_batches_are_cut(log, cut):
    model, memory = Model(), _memory()
    assert [first for part in _cut(log, cut) for first in _seen(memory, part)] == [model.see(*row) for row in log]


@given(logs(), cuts, st.sampled_from([1 << 36, 1 << 37, 1 << 50]), st.sampled_from([1 << 26, 1 << 27, 1_795_309_500]))
@tried(50)
def test_offsets_and_times_of_any_size_are_told_apart(log, cut, offset, seconds):
    log = [(name, partition, o + offset - 20, s + seconds - 50) for name, partition, o, s in log]
    model, memory = Model(), _memory()
    assert [first for part in _cut(log, cut) for first in _seen(memory, part)] == [model.see(*row) for row in log]


def test_an_event_of_long_ago_is_not_taken_for_one_of_late():
    """Places hold 27 bits of a second, four years: an id that comes again then must find nothing."""
    wrapped = 1 << 27
    memory = _restored(_memory(), [("a", 0, 1, 0), ("b", 0, 2, wrapped)])
    assert _seen(memory, [("a", 0, 3, wrapped)]) == [3]
    memory = _memory()
    years = [_seen(memory, [("a", 0, n, 0)] if n == 1 else [(f"x{n}", 0, n, n << 23)])[0] for n in range(1, 17)]
    assert years == list(range(1, 17))
    assert _seen(memory, [("a", 0, 20, wrapped)]) == [20]


@given(logs(), cuts, st.integers(0, 80))
@tried(50)
def test_a_memory_restored_from_the_rows_goes_on_as_the_one_before(log, cut, at):
    model = Model()
    expected = [model.see(*row) for row in log]
    at = min(at, len(log))
    rows = [row for row, first in zip(log[:at], expected[:at], strict=True) if first == row[2]]
    newest = log[at - 1][3] if at else 0
    young = [row for row in rows if row[3] >= newest - HORIZON_S]
    memory = _restored(_memory(), young[::-1])
    assert [first for part in _cut(log[at:], cut) for first in _seen(memory, part)] == expected[at:]


@given(logs(), st.integers(0, 80), cuts)
@tried(50)
def test_reading_a_stretch_again_within_the_horizon_changes_nothing(log, start, cut):
    log = [(name, partition, offset, seconds % HORIZON_S) for name, partition, offset, seconds in log]
    memory = _memory()
    before = _seen(memory, log)
    for part in _cut(log[start:], cut):
        before_part = before[log.index(part[0]) :][: len(part)]
        assert _seen(memory, part) == before_part


@given(logs(), st.integers(4, 40), cuts)
@tried(50)
def test_forgetting_for_want_of_room_lets_in_and_never_loses(log, max_ids, cut):
    """With any bound: what is called a duplicate has the same id at the offset named, earlier and young enough."""
    memory = _memory(max_ids)
    at = {(partition, offset): (name, seconds) for name, partition, offset, seconds in log}
    firsts = [first for part in _cut(log, cut) for first in _seen(memory, part)]
    for (name, partition, offset, seconds), first in zip(log, firsts, strict=True):
        if first != offset:
            assert first < offset
            assert at[partition, first][0] == name
            assert seconds - at[partition, first][1] < HORIZON_S


def test_the_last_half_of_the_ids_is_known_and_no_more_than_all_are_held():
    memory = _memory(max_ids=1000)
    for start in range(0, 20_000, 50):
        _seen(memory, [(f"id{n}", 0, n, 0) for n in range(start, start + 50)])
    assert memory._recent.count + memory._older.count <= 1000
    again = _seen(memory, [(f"id{n}", 0, 30_000 + n, 1) for n in range(20_000 - 450, 20_000)])
    assert again == list(range(20_000 - 450, 20_000))


def test_a_batch_larger_than_all_room_is_taken_in_pieces():
    log = [(f"id{n}", 0, n, 0) for n in range(5000)] + [("id4999", 0, 5000, 0)]
    assert _seen(_memory(max_ids=16), log)[-1] == 4999


def test_the_same_id_in_another_partition_is_another_event():
    assert _seen(_memory(), [("a", 0, 5, 0), ("a", 1, 9, 0), ("a", 0, 6, 0)]) == [5, 9, 5]


def test_an_event_is_forgotten_when_the_horizon_has_passed_also_within_a_batch():
    log = [("a", 0, 1, 0), ("a", 0, 2, 99), ("a", 0, 3, 100), ("a", 0, 4, 150), ("a", 0, 5, 200)]
    assert _seen(_memory(), log) == [1, 1, 3, 3, 5]
    memory = _memory()
    assert [_seen(memory, [row])[0] for row in log] == [1, 1, 3, 3, 5]


def test_with_no_horizon_nothing_is_a_duplicate():
    memory = FirstPositions(MANY, 0, KEY)
    assert _seen(memory, [("a", 0, 1, 0), ("a", 0, 2, 0)]) == [1, 2]


def test_ids_that_differ_only_in_padding_or_length_are_different():
    names = ["a", "a\0", "a\0\0\0", "aa", "", "\0", "a" * 300, "a" * 301, "b" * 300]
    log = [(name, 0, n, 0) for n, name in enumerate(names)]
    assert _seen(_memory(), log) == list(range(len(names)))
    memory = _memory()
    _seen(memory, log)
    assert _seen(memory, [(name, 0, n + 100, 0) for n, name in enumerate(names)]) == list(range(len(names)))


def test_a_long_id_is_known_again_whether_or_not_its_batch_holds_other_lengths():
    memory = _memory()
    _seen(memory, [("x" * 100, 0, 1, 0)])
    assert _seen(memory, [("x" * 100, 0, 2, 0), ("y" * 300, 0, 3, 0)]) == [1, 3]


def test_a_slice_of_a_larger_array_is_read_in_the_right_place():
    memory, ids = _memory(), pa.array(["aa", "bb", "cc", "dd"])
    memory.first_offsets(ids[:2], np.zeros(2, np.int32), np.array([0, 1]), np.zeros(2, np.int64))
    again = memory.first_offsets(ids[1:3], np.zeros(2, np.int32), np.array([7, 8]), np.zeros(2, np.int64))
    assert again.tolist() == [1, 8]


def test_many_thousand_ids_keep_apart_and_are_all_found_again():
    names = [hashlib.sha256(str(n).encode()).hexdigest()[:36] for n in range(30_000)]
    memory = _memory(1 << 16)
    log = [(name, 0, n, 0) for n, name in enumerate(names)]
    assert _seen(memory, log) == list(range(30_000))
    assert _seen(memory, [(name, 0, n + 40_000, 0) for n, name in enumerate(names)]) == list(range(30_000))


def test_another_key_gives_another_hash():
    ids, partitions = pa.array(["a", "b"]), np.zeros(2, np.int32)
    one, other = FirstPositions(4, 1, KEY), FirstPositions(4, 1, KEY[::-1])
    assert set(one._hash(ids, partitions).tolist()).isdisjoint(other._hash(ids, partitions).tolist())


def test_restoring_more_than_there_is_room_for_keeps_the_youngest():
    rows = [(f"id{n}", 0, n, n // 20) for n in range(1000)]
    memory = _restored(_memory(max_ids=200), rows[::-1])
    assert _seen(memory, [("id999", 0, 2000, 60), ("id901", 0, 2001, 60), ("id0", 0, 2002, 60)]) == [999, 901, 2002]


def test_of_an_event_restored_twice_the_later_position_counts_whatever_the_order():
    rows = [("a", 0, 1, 0), ("a", 0, 5, 150)]
    for order in (rows, rows[::-1]):
        assert _seen(_restored(_memory(), order), [("a", 0, 9, 200)]) == [5]


# ------------------------------------------------------------------ the step


def test_duplicates_leave_the_rows_and_name_the_first_position():
    batch = decoded([reading(event_id=name) for name in ("a", "b", "a", "c", "a")])
    done = deduplicate(batch, _memory(), VITALS)
    assert done.rows["event_id"].to_pylist() == ["a", "b", "c"]
    assert done.duplicates.index.tolist() == [2, 4]
    assert done.duplicates.first_offsets.tolist() == [100, 100]
    assert done.duplicates.event_ids.to_pylist() == ["a", "a"]
    assert reasons(done) == {}


def test_the_same_batch_again_has_no_new_duplicates():
    memory, batch = _memory(), decoded([reading(event_id=name) for name in ("a", "b", "c")])
    assert len(deduplicate(batch, memory, VITALS).duplicates) == 0
    assert len(deduplicate(batch, memory, VITALS).duplicates) == 0


def test_a_rejected_message_is_not_the_first_of_its_event():
    memory = _memory()
    deduplicate(decoded([reading(event_id="a", seq=-1), reading(event_id="x")]), memory, VITALS)
    later = decoded([reading(event_id="b"), reading(event_id="b"), reading(event_id="a")])
    assert len(deduplicate(later, memory, VITALS).duplicates) == 0


@pytest.mark.parametrize("values", [[], [b"{"]])
def test_a_batch_without_rows_passes(values):
    assert len(deduplicate(decoded(values), _memory(), VITALS).duplicates) == 0


def test_a_batch_nobody_decoded_is_left_alone():
    batch = StreamBatch(messages([]))
    assert deduplicate(batch, _memory(), VITALS).rows is None


def test_behind_it_only_rejects_have_payload_and_key_and_no_one_an_identifier_in_clear():
    batch = deduplicate(decoded([reading(event_id="a"), b"{", reading(event_id="b")]), _memory(), VITALS)
    assert batch.messages.values == [None, b"{", None]
    assert batch.messages.keys == [None, b"P000123", None]
    assert batch.subjects is None
    assert len(batch.messages) == 3


def test_a_batch_without_payloads_weighs_less():
    before = decoded([reading(event_id=str(n)) for n in range(100)])
    after = deduplicate(before, _memory(), VITALS)
    payload = sum(map(len, before.messages.values))
    assert before.nbytes - after.nbytes > payload
    assert after.nbytes > after.rows.nbytes
