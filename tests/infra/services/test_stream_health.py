"""Health is progress of offsets, or no lag; deaths count only where nothing advanced between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.services.stream_health import (
    STARTING_SECONDS,
    DeathCount,
    ProgressWatch,
    StreamReport,
    parse_report,
    read_report,
)


def _report(at: float, offset: int = 0, lag: int | None = 10, state: str = "running", reason: str = "") -> StreamReport:
    return StreamReport(at, state, reason, lag, {("device.vitals", "0"): offset})


def test_no_lag_is_healthy_though_no_offset_advances() -> None:
    watch = ProgressWatch(started_at=0)
    assert watch.judge(_report(10, 5, lag=0), 10).state == "healthy"
    assert watch.judge(_report(1000, 5, lag=0), 1000).state == "healthy"


@pytest.mark.parametrize("before", [{"lag": 0}, {"state": "waiting", "lag": 1}])
def test_the_first_message_after_a_quiet_time_or_a_wait_is_no_stall(before: dict[str, object]) -> None:
    watch = ProgressWatch(started_at=0)
    assert watch.judge(_report(1000, 5, **before), 1000).state != "stalled"
    assert watch.judge(_report(1001, 5, lag=1), 1001).state == "healthy"
    assert watch.judge(_report(1089, 5, lag=1), 1089).state == "healthy"
    assert watch.judge(_report(1091, 5, lag=1), 1091).state == "stalled"


def test_lag_without_progress_is_a_stall_and_with_progress_is_not() -> None:
    watch = ProgressWatch(started_at=0)
    assert watch.judge(_report(50, 5), 50).state == "healthy"
    assert watch.judge(_report(139, 5), 139).state == "healthy"
    assert watch.judge(_report(200, 6), 200).state == "healthy"
    assert watch.judge(_report(291, 6), 291).state == "stalled"


def test_waiting_is_no_stall_however_long() -> None:
    verdict = ProgressWatch(0).judge(_report(1000, state="waiting", reason="the store does not answer"), 1000)
    assert (verdict.state, verdict.reason) == ("waiting", "the store does not answer")


def test_silence_is_a_stall_even_without_lag() -> None:
    assert ProgressWatch(0).judge(_report(10, lag=0), 26).state == "stalled"


def test_a_report_from_before_the_start_counts_for_nothing() -> None:
    watch = ProgressWatch(started_at=100)
    assert watch.judge(_report(99, lag=0), 101).state == "starting"
    assert watch.judge(_report(99, lag=0), 101 + STARTING_SECONDS).state == "stalled"
    assert ProgressWatch(started_at=100).judge(None, 101).state == "starting"


def test_a_start_that_takes_too_long_is_a_stall() -> None:
    before, after = STARTING_SECONDS - 1, STARTING_SECONDS + 1
    assert ProgressWatch(0).judge(_report(before, state="starting"), before).state == "starting"
    assert ProgressWatch(0).judge(_report(after, state="starting"), after).state == "stalled"


def test_deaths_at_the_same_offsets_add_up() -> None:
    deaths = DeathCount()
    assert [deaths.died(_report(1, 7)), deaths.died(_report(2, 7)), deaths.died(_report(3, 7))] == [1, 2, 3]


def test_a_death_further_on_is_the_first_again() -> None:
    deaths = DeathCount()
    assert [deaths.died(_report(1, 7)), deaths.died(_report(2, 7)), deaths.died(_report(3, 8))] == [1, 2, 1]


def test_a_rewind_to_the_lake_is_no_progress() -> None:
    deaths = DeathCount()
    assert [deaths.died(_report(1, 7)), deaths.died(_report(2, 3)), deaths.died(_report(3, 7))] == [1, 2, 3]


def test_deaths_before_any_report_add_up() -> None:
    deaths = DeathCount()
    assert [deaths.died(None), deaths.died(None), deaths.died(None)] == [1, 2, 3]


def test_the_report_of_the_stream_is_understood() -> None:
    said = {"at": 12.5, "state": "running", "reason": None, "lag": 3, "next": {"device.vitals": {"0": 4, "1": 5}}}
    report = parse_report(said)
    assert report.positions == {("device.vitals", "0"): 4, ("device.vitals", "1"): 5}
    assert (report.at, report.lag, report.reason) == (12.5, 3, "")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"at": "x"}', '{"at": 1, "next": {"device.vitals": 3}}'])
def test_a_report_that_cannot_be_read_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "stream.json"
    path.write_text(text)
    assert read_report(path) is None
