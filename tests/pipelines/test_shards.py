"""A shard that is opened beside what runs is taken once, and never after nobody wanted it."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from pipelines.shards import Opening


class _Reader:
    closed = False

    def close(self) -> None:
        self.closed = True


def _opened() -> SimpleNamespace:
    return SimpleNamespace(reader=_Reader())


def test_what_was_opened_is_handed_over_when_it_is_there():
    go_on, opened = threading.Event(), _opened()
    opening = Opening(lambda dropped: go_on.wait(5) and opened, frozenset({1}))
    assert opening.result() is None
    go_on.set()
    opening.join(5)
    assert opening.result() is opened
    assert not opened.reader.closed


@pytest.mark.parametrize("drop_first", [True, False])
def test_what_nobody_wants_any_more_is_closed_before_or_after_it_is_open(drop_first):
    go_on, opened = threading.Event(), _opened()
    opening = Opening(lambda dropped: go_on.wait(5) and opened, frozenset({1}))
    if drop_first:
        opening.drop()
    go_on.set()
    opening.join(5)
    if not drop_first:
        opening.drop()
    assert opening.result() is None
    assert opened.reader.closed


def test_an_opening_that_is_dropped_is_told_to_end():
    opening = Opening(lambda dropped: dropped.wait(5) and None, frozenset({1}))
    opening.drop()
    opening.join(1)
    assert not opening.is_alive()


def test_what_an_opening_raised_is_raised_where_it_is_asked_for():
    def fail(dropped: threading.Event) -> None:
        raise ValueError("positions")

    opening = Opening(fail, frozenset({1}))
    opening.join(5)
    with pytest.raises(ValueError, match="positions"):
        opening.result()
