"""The summary and the lines of the demonstration, as they are read at eighty columns and in a pipe."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from infra.demonstration.erasing import Told, told
from infra.demonstration.inspection import DayVerdict
from infra.demonstration.screen import Scene, Screen, Summary
from infra.demonstration.witness import SeenAlert

ALERT = SeenAlert("P1", "threshold.respiratory_rate.extreme", 2, "emergency", "ICU-1", 0, 31.0)
ROW = {
    "rule": ALERT.rule, "severity": "emergency", "level": 2, "alerts": 4, "withheld_by_cool_down": 1, "patients": 3,
}  # fmt: skip

CERTIFICATE = {
    "request": "e-20261122-0a1b2c3d",
    "stores": [
        {"store": "table:vitals", "before": 5_000},
        {"store": "table:stays", "before": 1},
        {"store": "table:labs", "before": 0},
        {"store": "topic:device.vitals", "before": 5_100},
        {"store": "vault", "before": 1},
        {"store": "demonstration ledgers", "before": 5_400},
    ],
    "key": {"seconds_after_verification": 1.25},
    "remains": [
        {"store": "topic:device.vitals", "left": 5_100, "until": "2026-12-01T00:10:00+00:00"},
        {"store": "topic:lab.results", "left": 9, "until": "2026-11-30T00:10:00+00:00"},
    ],
}
SO = {"so": True, "wrong": [], "waiting": ["later"], "checked": ["it is signed"] * 40, "files": 1_234}
ERASED = told(CERTIFICATE, {"vitals": (65_000, True), "labs": (380, True)}, SO, 21.4, "/home/erasure/index.html")


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
    return Summary(scene, counts, reasons, [verdict], "Which rules speak?", [ROW], missing, "/home", ERASED)


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


def test_the_summary_tells_what_was_erased_and_names_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(quiet=False).conclude(summary([]))
    out = capsys.readouterr().out
    said = " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80
    assert "5,001 rows in 2 tables (vitals 5,000, stays 1); key destroyed after 1.2 s" in said
    assert "vault 1, demonstration ledgers 5,400" in said
    assert "5,109 messages, gone by 2026-12-01 00:10 UTC" in said
    assert "65,380 rows, digests unchanged in 2 of 2 tables" in said
    assert "40 checks" in said
    assert "1,234 files searched" in said


def test_a_certificate_that_is_not_so_or_was_not_checked_makes_the_demonstration_fail() -> None:
    others = {"vitals": (65_000, False), "labs": (380, True)}
    wrong = told(CERTIFICATE, others, SO | {"so": False, "wrong": ["a token is in run/stream.log"]}, 1.0, "")
    assert wrong.missing == ["the verifier: a token is in run/stream.log", "vitals as it was for everybody else"]
    assert told(CERTIFICATE, {}, {}, 1.0, "").missing == ["the verifier's verdict on the certificate"]
    assert ERASED.missing == []
    assert ERASED.kafka_until == datetime(2026, 12, 1, 0, 10, tzinfo=UTC)


def test_without_an_erasure_nothing_is_told_of_one(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(quiet=False).conclude(replace(summary(["the request for erasure"]), erased=Told()))
    out = capsys.readouterr().out
    assert "one patient erased" not in out
    assert "Missing: the request for erasure" in out
