"""The checker of scores and sepsis alerts is checked: each single thing that is wrong with them is caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from .history import ALERTS, SCORES, History
from .oracle import judge
from .perfect import MOMENTS_MS, perfect_history
from .score_hours import HOUR_MS
from .stay_start import start_of
from .tampering import change_log, change_rows, delay, drop, put

AN_HOUR_US = HOUR_MS * 1000


@pytest.fixture(scope="module")
def perfect() -> History:
    return perfect_history()


def _scores(history: History) -> pa.Table:
    return history.streams[SCORES].log


def _nth(log: pa.Table, holds: Callable[[dict[str, Any]], bool], nth: int = 0) -> int:
    return [at for at, row in enumerate(log.to_pylist()) if holds(row)][nth]


def _is_late(row: dict[str, Any]) -> bool:
    return row["scored_at"].timestamp() * 1000 == MOMENTS_MS[1]


def _told_again(history: History) -> int:
    """Where a score of an hour stands that was told before with another value."""
    first = {(row["subject_token"], row["hour_start"]) for row in _scores(history).to_pylist() if not _is_late(row)}
    return _nth(_scores(history), lambda r: _is_late(r) and (r["subject_token"], r["hour_start"]) in first)


def _told_once(history: History) -> int:
    """Where the only score of an hour stands."""
    first = {(row["subject_token"], row["hour_start"]) for row in _scores(history).to_pylist() if not _is_late(row)}
    return _nth(_scores(history), lambda r: _is_late(r) and (r["subject_token"], r["hour_start"]) not in first)


def _alert(history: History, retracts: bool) -> int:
    log = history.streams[ALERTS].log
    return _nth(log, lambda row: row["rule"] == "sepsis" and (row["retracts"] is not None) is retracts)


def _score_of(at: Callable[[History], int], change: Callable[[int, float], Callable]) -> Callable[[History], History]:
    def tamper(history: History) -> History:
        place = at(history)
        return change_log(SCORES, change(place, _scores(history)["score"][place].as_py()))(history)

    return tamper


def _in_scores(at: Callable[[History], int], change: Callable[[int], Callable]) -> Callable[[History], History]:
    return lambda history: change_log(SCORES, change(at(history)))(history)


def _in_alerts(retracts: bool, change: Callable[[int], Callable]) -> Callable[[History], History]:
    return lambda history: change_log(ALERTS, change(_alert(history, retracts)))(history)


def _reading_changed(history: History) -> History:
    """The newest pulse of a patient in the last hour, where readings stand in the lake."""
    rows = history.tables["vitals"].rows
    pulse = [at for at, row in enumerate(rows.to_pylist()) if row["code"] == "8867-4" and row["subject_token"]]
    return change_rows("vitals", put(pulse[-1], numeric_value=73.0))(history)


WRONG = {
    "a score dropped": ("scores_missing", _in_scores(_told_once, drop)),
    "what an hour came to never told": ("scores_wrong", _in_scores(_told_again, drop)),
    "a score by one step of float32": (
        "scores_wrong",
        _score_of(_told_once, lambda at, s: put(at, score=float(np.nextafter(np.float32(s), np.float32(1))))),
    ),
    "a score by one step of float64": (
        "scores_wrong",
        _score_of(_told_once, lambda at, s: put(at, score=float(np.nextafter(s, 1.0)))),
    ),
    "another hour of the stay": ("scores_wrong", _in_scores(_told_again, lambda at: put(at, hour_of_stay=99))),
    "a score of another reading": ("scores_wrong", _reading_changed),
    "a score of an hour to come": (
        "scores_forged",
        _in_scores(_told_once, lambda at: delay(at, "hour_start", AN_HOUR_US)),
    ),
    "a score of another patient": ("scores_forged", _in_scores(_told_once, lambda at: put(at, subject_token="x" * 32))),
    "a score of a model that nobody gave": (
        "scores_forged",
        _in_scores(_told_once, lambda at: put(at, model_version="?")),
    ),
    "another risk": ("scores_forged", _in_scores(_told_once, lambda at: put(at, risk=0.25))),
    "another threshold": ("scores_forged", _in_scores(_told_once, lambda at: put(at, threshold=0.1))),
    "a score below the threshold that alerts": (
        "scores_forged",
        _in_scores(_told_once, lambda at: put(at, is_alerting=True)),
    ),
    "contributions to no score": ("scores_forged", _in_scores(_told_again, lambda at: put(at, revision=1, score=0.2))),
    "an alert never told": ("alerts_missing", _in_alerts(False, drop)),
    "an alert about another hour": (
        "alerts_forged",
        _in_alerts(False, lambda at: delay(at, "effective_at", AN_HOUR_US)),
    ),
    "an alert of another episode": (
        "alerts_forged",
        _in_alerts(False, lambda at: delay(at, "episode_start", AN_HOUR_US)),
    ),
    "an alert under another id": ("alerts_forged", _in_alerts(False, lambda at: put(at, alert_id="e" * 32))),
    "an alert with a score that was never told": ("alerts_forged", _in_alerts(False, lambda at: put(at, score=0.75))),
    "an alert of a patient whose scores are low": (
        "alerts_forged",
        _in_alerts(False, lambda at: put(at, subject_token="x" * 32)),
    ),
    "a retraction missing": ("alerts_missing", _in_alerts(True, drop)),
    "a retraction of nothing": ("alerts_forged", _in_alerts(True, lambda at: put(at, retracts="e" * 32))),
    "a retraction under another id": ("alerts_forged", _in_alerts(True, lambda at: put(at, alert_id="e" * 32))),
    "a retraction while the score is high": (
        "alerts_forged",
        _in_alerts(True, lambda at: delay(at, "processed_at", -60_000_000)),
    ),
}


def test_the_perfect_history_has_scores_told_again_an_alert_and_its_retraction(perfect: History) -> None:
    assert judge(perfect).passed, judge(perfect).report()
    assert _told_again(perfect) > 0
    assert _told_once(perfect) > 0
    assert _alert(perfect, retracts=False) < _alert(perfect, retracts=True)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_score_or_sepsis_alert_is_caught(perfect: History, name: str) -> None:
    heading, tamper = WRONG[name]

    verdict = judge(tamper(perfect))

    assert verdict.totals[heading] > 0, verdict.report()


def test_without_a_model_scores_are_not_judged(perfect: History) -> None:
    wrong = WRONG["a score by one step of float64"][1](perfect)

    assert judge(replace(wrong, models=())).totals["scores_wrong"] == 0


# ------------------------------------------------------------------------------------------------ where hours begin


def _event(trigger: str, hours: float, ward: str | None = None, recorded: float | None = None) -> dict[str, Any]:
    start = datetime(2026, 11, 20, 6, tzinfo=UTC)
    said = start + timedelta(hours=hours)
    entered = None if recorded is None else start + timedelta(hours=recorded)
    return {
        "event_id": f"{trigger}-{hours}-{recorded}", "stay_id": "S1", "type": trigger, "ward": ward, "bed": "01",
        "event_time": said, "recorded_at": entered, "birth_year": 1950, "sex": "F",
    }  # fmt: skip


FIRST = int(datetime(2026, 11, 20, 6, tzinfo=UTC).timestamp()) // 3600


@pytest.mark.parametrize(
    ("events", "hour", "admission_h"),
    [
        ([_event("A01", 0, "ED-1")], 0, None),
        ([_event("A01", 0, "ED-1"), _event("A02", 5.5, "MICU-1")], 5, -5.5),
        ([_event("A01", 0, "ED-1"), _event("A02", 5.5, "MICU-1"), _event("A12", 5.5, "ED-1", 6)], 0, None),
        ([_event("A01", 0, "ICU-1"), _event("A02", 2, "ED-1"), _event("A02", 4, "ICU-2")], 4, -4.0),
        ([_event("A01", 0, "ICU-1"), _event("A02", 2, "ICU-2")], 0, 0.0),
    ],
)
def test_hours_begin_with_the_last_coming_to_intensive_care(
    events: list[dict], hour: int, admission_h: float | None
) -> None:
    start = start_of(events)

    assert start is not None
    assert start.hour - FIRST == hour
    assert start.admission_h == admission_h if admission_h is not None else np.isnan(start.admission_h)


def test_an_admission_taken_back_begins_nothing() -> None:
    assert start_of([_event("A01", 0, "ICU-1"), _event("A11", 0, None, 1)]) is None


def test_a_site_s_own_wards_are_intensive_care_and_no_others() -> None:
    events = [_event("A01", 0, "ICU-1"), _event("A02", 3, "INT-1")]
    start = start_of(events, ("INT-*",))

    assert start is not None
    assert start.hour - FIRST == 3
    assert start.admission_h == -3.0
