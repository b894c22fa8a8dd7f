"""The summary and the lines of the demonstration, as they are read at eighty columns and in a pipe."""

from __future__ import annotations

from datetime import date

import pytest

from infra.demonstration.inspection import DayVerdict
from infra.demonstration.screen import Scene, Screen, Summary
from infra.demonstration.witness import SeenAlert

ALERT = SeenAlert("P1", "threshold.respiratory_rate.extreme", 2, "emergency", "ICU-1", 0, 31.0)
ROW = {
    "rule": ALERT.rule, "severity": "emergency", "level": 2, "alerts": 4, "withheld_by_cool_down": 1, "patients": 3,
}  # fmt: skip


def summary(missing: list[str]) -> Summary:
    scene = Scene(
        sent=123_456,
        alerts=[ALERT],
        expected=16,
        unseen=2,
        dagster_url="http://127.0.0.1:19080",
        first_alert_s=21.0,
        elapsed_s=150.0,
    )
    verdict = DayVerdict(date(2026, 11, 22), 9, 310, ["vitals: expect_column_values_to_be_between"] * 4, 123_456)
    reasons = {f"some_long_reason_{n}": 12_345 for n in range(9)}
    counts = {"vitals": 1, "wearables": 6, "labs": 7, "adt_events": 8, "medication_events": 9}
    counts |= {"rejects": 2, "duplicates": 3, "alerts": 4, "alerts_withheld": 5}
    return Summary(scene, counts, reasons, [verdict], "Which rules speak?", [ROW], missing, "/home")


def test_the_summary_fits_in_eighty_columns_and_cuts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(quiet=False).conclude(summary([]))
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert ALERT.rule in out
    assert "14 of 16 alerted on" in out
    assert "some_long_reason_8 12,345" in " ".join(out.split())
    assert "…" not in out


def test_no_address_is_told_of_what_is_about_to_end(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(quiet=False).conclude(summary(["lag 0"]))
    out = capsys.readouterr().out
    assert "http://" not in out
    assert "Missing: lag 0" in out


def test_a_line_that_says_nothing_new_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(quiet=False)
    for elapsed_s in range(0, 40, 2):
        screen.show(Scene(doing="judging 2026-11-22 (1 of 2)", elapsed_s=float(elapsed_s), sent=7, rows=7))
    screen.show(Scene(doing="judging 2026-11-23 (2 of 2)", elapsed_s=41.0, sent=7, rows=7))
    assert len(capsys.readouterr().out.splitlines()) == 2
