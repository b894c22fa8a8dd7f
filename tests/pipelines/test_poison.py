"""A message that ends the process each time is found by cutting up what was at hand, and nothing else is set aside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.batch import MessageBatch
from pipelines.poison import DEATHS_AT_ONE_PLACE, PoisonWatch, cut_up
from tests.examples import tried

TOPIC = "id"


class Death(Exception):
    pass


def batch(places: list[tuple[int, int]], intervals: dict[int, tuple[int, int]]) -> MessageBatch:
    n = len(places)
    return MessageBatch(
        "device.vitals",
        TOPIC,
        np.array([p for p, _ in places], np.int32),
        np.array([o for _, o in places], np.int64),
        np.zeros(n, np.int64),
        [b"k"] * n,
        [f"{p}/{o}".encode() for p, o in places],
        intervals,
    )


def whole(n: int, start: int = 0) -> MessageBatch:
    """n messages of each of two partitions, in turn."""
    places = [(p, o) for o in range(start, start + n) for p in (0, 1)]
    return batch(places, dict.fromkeys((0, 1), (start, start + n)))


def run(path: Path, poison: set[bytes], batches: list[MessageBatch]) -> list[bytes]:
    """One run of a process whose lake took nothing before: what was handled, set aside marked; or its death."""
    watch, handled = PoisonWatch(path), []
    watch.begins({(TOPIC, 0): 0, (TOPIC, 1): 0})
    for each in batches:
        for piece in watch.takes(each):
            if watch.is_convicted(piece):
                handled += [b"aside " + value for value in piece.values]
            elif poison & set(piece.values):
                raise Death
            else:
                handled += piece.values
    watch.ends()
    return handled


def runs_until_handled(path: Path, poison: set[bytes], batches: list[MessageBatch], most: int) -> list[bytes]:
    for _ in range(most):
        try:
            return run(path, poison, batches)
        except Death:
            continue
    raise AssertionError("never got through")


@pytest.mark.parametrize("n", [1, 30, 5_000])
def test_the_one_message_is_set_aside_and_all_others_are_handled(tmp_path, n):
    poison = f"1/{n // 2}".encode()
    batches = [whole(n), whole(10, start=n)]
    handled = runs_until_handled(tmp_path / "poison.json", {poison}, batches, most=DEATHS_AT_ONE_PLACE + 6)
    expected = [b"aside " + value if value == poison else value for each in batches for value in each.values]
    assert sorted(handled) == sorted(expected)


def test_two_such_messages_are_found_one_after_the_other(tmp_path):
    batches = [whole(200)]
    handled = runs_until_handled(tmp_path / "poison.json", {b"0/3", b"1/150"}, batches, most=20)
    assert sorted(value for value in handled if value.startswith(b"aside")) == [b"aside 0/3", b"aside 1/150"]
    assert len(handled) == 400


def test_deaths_at_different_places_blame_nobody(tmp_path):
    path = tmp_path / "poison.json"
    for start in range(10):
        watch = PoisonWatch(path)
        watch.begins({(TOPIC, 0): start})
        list(watch.takes(whole(5)))
        assert not watch.is_careful


def test_an_orderly_end_at_one_place_blames_nobody(tmp_path):
    for _ in range(10):
        watch = PoisonWatch(tmp_path / "poison.json")
        watch.begins({(TOPIC, 0): 0})
        list(watch.takes(whole(5)))
        assert not watch.is_careful
        watch.ends()


def test_the_suspicion_is_dropped_when_the_lake_has_everything(tmp_path):
    path = tmp_path / "poison.json"
    for _ in range(DEATHS_AT_ONE_PLACE + 1):
        watch = PoisonWatch(path)
        watch.begins({(TOPIC, 0): 0, (TOPIC, 1): 0})
        list(watch.takes(whole(5)))
    assert watch.is_careful
    watch.passed({(TOPIC, 0): 5, (TOPIC, 1): 4})
    assert watch.is_careful
    watch.passed({(TOPIC, 0): 5, (TOPIC, 1): 5})
    assert not watch.is_careful


def test_a_record_that_cannot_be_read_is_no_record(tmp_path):
    (tmp_path / "poison.json").write_text("{")
    assert run(tmp_path / "poison.json", set(), [whole(3)]) == whole(3).values


@given(st.data())
@tried(50)
def test_pieces_account_for_every_message_and_position_once_and_in_order(data):
    places = [(0, o) for o in sorted(data.draw(st.sets(st.integers(5, 40), max_size=12)))]
    places += [(1, o) for o in sorted(data.draw(st.sets(st.integers(5, 40), max_size=12)))]
    intervals = {0: (5, 45), 1: (2, 41)}
    cuts = sorted(data.draw(st.sets(st.integers(0, 30))))
    pieces = cut_up(batch(places, intervals), cuts)
    assert [value for piece in pieces for value in piece.values] == [f"{p}/{o}".encode() for p, o in places]
    for partition, (start, end) in intervals.items():
        reached = start
        for piece in pieces:
            here = piece.intervals.get(partition, (reached, reached))
            assert here[0] == reached
            reached = here[1]
            assert (piece.offsets[piece.partitions == partition] < reached).all()
        assert reached == end
