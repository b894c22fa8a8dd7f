"""What a replay's check says to people and programs, and with which exit code."""

from __future__ import annotations

import json
from datetime import date

import pytest
from typer.testing import CliRunner

from assets.replay import Replay, StreamReplay, Swap
from infra.cli.main import app
from infra.cli.replay_check import DaysError, as_dict, days_of, exit_code, lines
from warehouse.comparison import Difference, TableComparison
from warehouse.offsets import Interval

DAY = date(2026, 11, 20)


def table(*differences: Difference, kept: int = 5, rebuilt: int = 5) -> TableComparison:
    return TableComparison("vitals", {DAY: kept}, {DAY: rebuilt}, differences)


def result(*differences: Difference, gone: tuple[Interval, ...] = (), swap: Swap | None = None) -> Replay:
    stream = StreamReplay("device.vitals", 7, gone, 0, (table(*differences),))
    return Replay("vitals", (DAY,), (stream,), swap=swap)


LOST = Difference(DAY, "missing", 2, instead="rejects", examples=(("T", 1, 40),))
OTHER = Difference(DAY, "column", 3, "numeric_value", examples=(("T", 0, 7), ("T", 0, 9)))
GONE = (Interval("T", 2, 0, 100),)


def test_days_are_one_or_a_span_with_both_ends() -> None:
    assert days_of("2026-11-20") == (DAY,)
    assert days_of("2026-11-20..2026-11-22") == (DAY, date(2026, 11, 21), date(2026, 11, 22))


@pytest.mark.parametrize("text", ["", "..", "yesterday", "2026-11-22..2026-11-20", "2020-01-01..2026-01-01"])
def test_other_days_are_refused(text: str) -> None:
    with pytest.raises(DaysError):
        days_of(text)


@pytest.mark.parametrize(
    ("done", "code"),
    [
        (result(), 0),
        (result(OTHER), 1),
        (result(gone=GONE), 2),
        (result(OTHER, gone=GONE), 1),
        (result(OTHER, swap=Swap(1, 1, 5, 5, (), 77)), 0),
        (result(OTHER, swap=Swap(1, 1, 5, 5, ("no",))), 1),
        (Replay("vitals", (DAY,), refused=("the topic is another one",)), 2),
    ],
)
def test_exit_codes(done: Replay, code: int) -> None:
    assert exit_code(done) == code


def test_people_read_counts_columns_and_places() -> None:
    assert list(lines(result(LOST, OTHER, gone=GONE))) == [
        "vitals, 2026-11-20: 7 messages worked again",
        "  vitals               2026-11-20  5 rows",
        "      2 rows missing, kept in rejects instead: partition 1 offset 40",
        "      numeric_value differs in 3 rows: partition 0 offset 7, partition 0 offset 9",
        "not checkable: device.vitals partition 2, positions 0 to 99: neither Kafka nor the raw messages have them",
        "different",
    ]
    assert list(lines(result()))[1:] == ["  vitals               2026-11-20  5 rows, equal", "equal"]


def test_a_swap_says_what_it_changes_before_it_does() -> None:
    assert "would swap 3 files with 5 rows by 1 with 6" in list(
        lines(result(LOST, swap=Swap(3, 1, 5, 6, ())), dry_run=True)
    )
    told = list(lines(result(LOST, swap=Swap(3, 1, 5, 6, (), 77))))
    assert told[-3:-1] == [
        "swapped 3 files with 5 rows by 1 with 6 in snapshot 77",
        "the gate judges these days again within the hour, or at once: Dagster, materialise quality/vitals",
    ]


def test_programs_read_json() -> None:
    said = json.loads(json.dumps(as_dict(result(LOST, gone=GONE))))
    assert (said["equal"], said["complete"], said["days"]) == (False, False, ["2026-11-20"])
    (stream,) = said["streams"]
    assert stream["gone"] == [{"topic_id": "T", "partition": 2, "start": 0, "end": 100}]
    assert stream["tables"][0]["differences"][0]["kind"] == "missing"


@pytest.mark.parametrize(
    "arguments",
    [
        ["replay"],
        ["replay", "--swap"],
        ["replay", "--days", "2026-11-20"],
        ["replay", "--check", "vitals"],
        ["replay", "--check", "vitals", "--days", "2026-11-20", "--from", "memory"],
        ["replay", "--check", "nothing", "--days", "2026-11-20"],
    ],
)
def test_a_wrong_question_is_told_with_exit_code_two(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2
