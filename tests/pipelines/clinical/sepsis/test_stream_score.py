"""Scores in the stream: as offline, when they are due, what is told of them, and what a restart recalls."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from pipelines.clinical.sepsis import stream_score
from pipelines.clinical.sepsis.features import features
from pipelines.clinical.sepsis.panel import Panel
from pipelines.clinical.sepsis.scoring import ModelSource, OneModel, SepsisModel
from pipelines.clinical.sepsis.stream_score import PAUSE, RESULTS, VITALS, Before, SepsisMonitor, Told
from pipelines.clinical.sepsis.variables import BY_CODE, VARIABLES
from tests.pipelines.clinical.sepsis.stream_rows import START, admission, at, reading, result, table
from tests.pipelines.clinical.sepsis.toy_model import ToyModel

HR, LACTATE = "8867-4", "2524-7"
Row = tuple[str, dict[str, object]]


def _monitor(model: SepsisModel | None = None) -> SepsisMonitor:
    return SepsisMonitor(OneModel(model or ToyModel()))


class Since:
    """A model from an hour of the story on, another one before it."""

    def __init__(self, hours: float, first: ToyModel, then: ToyModel) -> None:
        self._from_ms = (START + timedelta(hours=hours)).timestamp() * 1000
        self._first, self._then = first, then

    def in_force(self, appended_ms: int) -> ToyModel:
        return self._first if appended_ms < self._from_ms else self._then


def _appended(row: dict[str, object], hours: float, offset: int) -> dict[str, object]:
    return row | {"kafka_time": at(hours), "kafka_offset": offset}


def _play(monitor: SepsisMonitor, story: Iterable[Row], size: int = 1) -> Told:
    """The rows in this order, up to `size` neighbours of one stream a batch."""
    told, rows = Told(), list(story)
    while rows:
        stream = rows[0][0]
        many = 1
        while many < min(size, len(rows)) and rows[many][0] == stream:
            many += 1
        told += monitor.observe(stream, table([row for _, row in rows[:many]]))
        rows = rows[many:]
    return told


def hr(hours: float, value: float = 90.0, token: str = "t", offset: int = 0) -> Row:
    return VITALS, _appended(reading(token, HR, value, hours), hours + 1 / 3600, offset)


def lactate(hours: float, value: float | None, order: str = "o", token: str = "t", **said: object) -> Row:
    row = result(token, order, LACTATE, value, hours, event=f"e{hours}", **said)
    return RESULTS, _appended(row, max(hours, (row["reported_at"] - START).total_seconds() / 3600) + 0.001, 7)


def made_stays(seed: int, patients: int, hours: int) -> list[Row]:
    """Made-up stays in the order of time: admissions, vitals, laboratory results, some of them corrected later."""
    rng = random.Random(seed)
    story: list[tuple[float, Row]] = []
    for nth in range(patients):
        token, length = f"t{nth}", rng.randrange(3, hours)
        row = admission(token, "A01", 0.1, rng.choice(["MICU-1", "ICU-1"]), f"a{nth}", rng.randrange(1930, 2000))
        story.append((0.2, ("adt.events", _appended(row, 0.2, nth))))
        for hour in range(length):
            for at_variable, variable in enumerate(VARIABLES):
                if rng.random() > (0.8 if variable.kind == "vital" else 0.1):
                    continue
                low, high = variable.bounds
                value = round(low + (high - low) * rng.random(), 2)
                when = hour + rng.random()
                if variable.kind == "vital":
                    story.append((when, (VITALS, reading(token, variable.codes[0], value, when, offset=len(story)))))
                    continue
                order = f"{token}/{hour}/{at_variable}"
                made = result(token, order, variable.codes[0], value, when, when + 0.5, event="e1", offset=len(story))
                story.append((when + 0.5, (RESULTS, made)))
                if rng.random() < 0.2:
                    late = when + rng.random() * 6
                    made = made | {"numeric_value": value / 2, "status": "C", "reported_at": at(late), "event_id": "e2"}
                    story.append((late, (RESULTS, made)))
    return [
        (stream, _appended(row, when, nth))
        for nth, (when, (stream, row)) in enumerate(sorted(story, key=lambda item: item[0]))
    ]


def _offline(story: list[Row]) -> dict[tuple[str, int], np.float32]:
    """(token, hour of the clock) -> score of the hours put together at leisure: last value of each hour, last version
    of each result, by nothing of the stream's code but features and model."""
    began: dict[str, int] = {}
    person: dict[str, tuple[float, float]] = {}
    cells: dict[tuple[str, int, int], tuple[datetime, float]] = {}
    results: dict[str, dict[str, object]] = {}
    for stream, row in story:
        if stream == "adt.events":
            began[row["subject_token"]] = _hour(row["event_time"])
            person[row["subject_token"]] = (START.year - row["birth_year"], 1.0 if "MICU" in row["ward"] else np.nan)
        elif stream == RESULTS:
            held = results.get(row["order_id"])
            if held is None or row["reported_at"] >= held["reported_at"]:
                results[row["order_id"]] = row
    readings = [(row, row["event_time"]) for stream, row in story if stream == VITALS]
    readings += [(row, row["collected_at"]) for row in results.values()]
    for row, when in readings:
        cell = (row["subject_token"], _hour(when), BY_CODE[row["code"]])
        if cell not in cells or cells[cell][0] <= when:
            cells[cell] = (when, row["numeric_value"])
    scores = {}
    for token, start in began.items():
        newest = max(hour for who, hour, _ in cells if who == token)
        many = newest - start + 1
        values = np.full((many, len(VARIABLES)), np.nan, np.float32)
        for (who, hour, variable), (_, value) in cells.items():
            if who == token:
                values[hour - start, variable] = value
        whole = np.ones(many, np.float32)
        age, unit = person[token]
        panel = Panel(
            values,
            np.array([0, many]),
            np.arange(1, many + 1),
            whole * age,
            whole * 0,
            whole * 0,
            whole * np.float32(unit),
        )
        told = ToyModel().scores(features(panel))
        scores.update({(token, start + nth): told[nth] for nth in range(many)})
    return scores


def _hour(moment: datetime) -> int:
    return int(moment.timestamp() // 3600)


def _last_numbers(told: Told) -> dict[tuple[str, int], int]:
    return {(score.subject_token, score.hour_ms): score.hour_of_stay for score in told.scores}


def _last_told(told: Told) -> dict[tuple[str, int], np.float32]:
    return {(score.subject_token, score.hour_ms // 3_600_000): np.float32(score.score) for score in told.scores}


@pytest.mark.parametrize(("seed", "size"), [(1, 3), (2, 40), (3, 5_000)])
def test_the_last_score_of_every_hour_is_the_offline_score_to_the_bit(seed: int, size: int) -> None:
    story = made_stays(seed, patients=3, hours=30)
    monitor = _monitor()
    told = _play(monitor, story, size) + monitor.settle()
    assert _last_told(told) == _offline(story)


def test_a_score_names_model_hour_risk_and_what_is_missing() -> None:
    monitor = _monitor()
    _play(monitor, [("adt.events", _appended(admission("t", "A01", 0.0, "ICU-1", "a1"), 0.1, 0))])
    score = _play(monitor, [hr(2.5)]).scores[-1]
    assert (score.model, score.model_version, score.threshold) == ("toy", "v1", 0.5)
    assert (score.patient_id, score.ward, score.hour_of_stay) == ("P-t", "ICU-1", 3)
    assert score.risk == score.score / 2
    assert score.reasons == ()
    assert "lactate" in score.missing
    assert "heart rate" not in score.missing
    assert "age" not in score.missing


def test_new_readings_wait_a_minute_and_a_result_does_not() -> None:
    monitor = _monitor()
    assert len(_play(monitor, [hr(0.0)]).scores) == 1
    assert not _play(monitor, [hr(0.005, 95.0), hr(0.010, 99.0)]).scores
    assert len(_play(monitor, [lactate(0.011, 1.0)]).scores) == 1
    assert not _play(monitor, [hr(0.014, 101.0)]).scores
    assert len(_play(monitor, [hr(0.040, 120.0)]).scores) == 1


def test_an_unchanged_score_is_not_told_again() -> None:
    monitor = _monitor()
    _play(monitor, [hr(0.0)])
    assert not _play(monitor, [hr(0.1), hr(0.2), hr(0.3)]).scores


def test_an_admission_read_late_moves_the_numbers_of_hours_whose_score_it_leaves_alone() -> None:
    monitor = _monitor(ToyModel(of_hour=0))
    before = _play(monitor, [hr(2.0), hr(3.0)])
    late = [("adt.events", _appended(admission("t", "A01", 0.0, "ICU-1", "a1"), 3.1, 0)), hr(3.2, offset=1)]
    told = _play(monitor, late) + monitor.settle()
    assert [score.hour_of_stay for score in before.scores] == [1, 2]
    assert [score.hour_of_stay for score in told.scores] == [1, 2, 3, 4], "the admission gives the stay two hours more"
    assert {score.score for score in told.scores[2:]} == {score.score for score in before.scores}
    known = _last_numbers(before) | _last_numbers(told)
    assert sorted(known.values()) == [1, 2, 3, 4]


def test_after_a_restart_a_number_that_stands_is_not_told_again() -> None:
    source, story = OneModel(ToyModel(of_hour=0)), [hr(2.0), hr(3.0)]
    before = _play(SepsisMonitor(source), story)
    late = [("adt.events", _appended(admission("t", "A01", 0.0, "ICU-1", "a1"), 3.1, 0)), hr(3.2, offset=1)]
    again = _restarted(source, story, before)
    assert not _play(again, [late[1]]).scores
    assert [score.hour_of_stay for score in _play(again, late).scores] == [1, 2, 3, 4]


def test_a_new_hour_settles_the_one_before() -> None:
    monitor = _monitor()
    first = _play(monitor, [hr(0.0, 80.0), hr(0.001, 140.0)])
    then = _play(monitor, [hr(1.0, 80.0)])
    assert [score.hour_of_stay for score in first.scores] == [1]
    assert [score.hour_of_stay for score in then.scores] == [1, 2]
    assert then.scores[0].score > first.scores[0].score


def test_rounds_take_a_part_and_the_others_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_score, "AT_ONCE", 4)
    monitor = _monitor()
    rows = [hr(0.0, token=f"t{nth}", offset=nth)[1] for nth in range(10)]
    counts = [len(monitor.observe(VITALS, table(rows)).scores), len(monitor.round().scores)]
    appended_ms = int(at(1_000).timestamp() * 1000)
    pause_ms = PAUSE // timedelta(milliseconds=1)
    counts += [len(monitor.pass_time(appended_ms + nth * pause_ms).scores) for nth in range(1, 4)]
    assert counts == [4, 0, 4, 2, 0]


def test_before_the_end_everybody_whose_turn_has_come_is_scored_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_score, "AT_ONCE", 4)
    monitor = _monitor()
    monitor.observe(VITALS, table([hr(0.0, token=f"t{nth}", offset=nth)[1] for nth in range(10)]))
    assert len(monitor.hasten().scores) == 6
    monitor.observe(VITALS, table([hr(0.01, 95.0, token="t3", offset=10)[1]]))
    assert monitor.hasten() == Told(), "a reading within a minute of the last score waits for more"
    assert [score.subject_token for score in monitor.settle().scores] == ["t3"]


def test_who_has_a_new_result_does_not_wait_behind_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_score, "AT_ONCE", 1)
    monitor = _monitor()
    monitor.observe(VITALS, table([hr(0.0, token=f"t{nth}", offset=nth)[1] for nth in range(10)]))
    told = monitor.observe(RESULTS, table([lactate(0.1, 4.0, token="t9")[1] | {"kafka_time": at(1_001)}]))
    assert [score.subject_token for score in told.scores] == ["t9"]


def test_a_score_over_the_threshold_alerts_once_with_reasons() -> None:
    monitor = _monitor()
    told = _play(monitor, [hr(0.0), lactate(0.1, 4.0), hr(1.0), lactate(1.5, 4.5, "p"), hr(3.0)])
    [(stream, alert)] = told.alerts
    assert (stream, alert.rule, alert.model, alert.severity) == (RESULTS, "sepsis", "toy@v1", "urgent")
    assert alert.episode_start_ms == int(START.timestamp() * 1000)
    assert alert.reasons[0].startswith("sepsis risk 0.")
    assert alert.reasons[1].startswith("lactate 4 mmol/L, 0 h ago: without it the risk would be 0.0")
    assert "temperature" in alert.missing
    assert [score.is_alerting for score in told.scores][-1]
    assert told.explained[0][1].alert_id == alert.alert_id


def test_the_same_rows_cut_otherwise_give_the_same_alert_ids() -> None:
    story = [hr(0.0), lactate(0.1, 4.0), hr(1.0), hr(8.0), lactate(8.2, 1.0, "p"), hr(15.0), hr(16.0)]
    story += [lactate(17.0, 5.0, "q")]
    ids = [
        [alert.alert_id for _, alert in _play(_monitor(), story, size).alerts if alert.retracts is None]
        for size in (1, 2, 9)
    ]
    assert ids[0] == ids[1] == ids[2]
    assert len(ids[0]) == 2


def test_a_correction_that_takes_the_score_down_takes_the_alert_back() -> None:
    monitor = _monitor()
    first = _play(monitor, [hr(0.0), lactate(0.1, 4.0), hr(1.0)])
    told = _play(monitor, [lactate(0.1, 1.0, status="C", reported=1.5)])
    [(_, alert)], [(_, back)] = first.alerts, told.alerts
    assert back.retracts == alert.alert_id
    assert back.episode_start_ms == alert.episode_start_ms
    assert {score.hour_of_stay for score in told.scores} == {1, 2}
    again = _play(monitor, [lactate(0.1, 4.0, status="C", reported=1.6)])
    [(_, anew)] = [pair for pair in again.alerts if pair[1].retracts is None]
    assert anew.alert_id != alert.alert_id


TWO_ALERTS = [
    hr(0.1), lactate(1.2, 6.0, "o1"), hr(1.5), hr(2.5), lactate(3.2, 1.0, "o2"), *(hr(h + 0.5) for h in range(3, 10)),
    lactate(10.2, 6.0, "o3"), hr(10.5), hr(11.5),
]  # fmt: skip
"""An alert in hour 1, over in hour 3, and another one in hour 10."""


def _corrected(order: str, collected: float, hours: float) -> Row:
    row = result("t", order, LACTATE, 1.0, collected, hours, status="C", event=f"c{order}")
    return RESULTS, _appended(row, hours + 0.01, 9)


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize(("order", "collected", "which"), [("o1", 1.2, 0), ("o3", 10.2, 1)])
def test_each_alert_of_a_patient_is_taken_back_when_what_it_rested_on_is_corrected(
    restarts: bool, order: str, collected: float, which: int
) -> None:
    monitor = _monitor()
    before = _play(monitor, TWO_ALERTS)
    sent = [alert for _, alert in before.alerts]
    assert [alert.withheld_because for alert in sent] == [None, None]
    if restarts:
        monitor = _restarted(OneModel(ToyModel()), TWO_ALERTS, before)
    told = _play(monitor, [hr(12.0), _corrected(order, collected, 12.1), hr(12.5), hr(13.5)])
    assert [alert.retracts for _, alert in told.alerts] == [sent[which].alert_id]


def test_of_an_alert_that_is_taken_back_the_others_keep_their_cool_down() -> None:
    monitor = _monitor()
    _play(monitor, TWO_ALERTS)
    again = [lactate(12.2, 1.0, "o4"), hr(12.5), hr(13.5), hr(14.5), lactate(14.7, 6.0, "o5"), hr(14.9)]
    told = _play(monitor, [_corrected("o1", 1.2, 12.1), *again])
    assert [(alert.retracts is not None, alert.withheld_because) for _, alert in told.alerts] == [
        (True, None),
        (False, "cool_down"),
    ]


def test_an_alert_stands_while_a_later_hour_does() -> None:
    monitor = _monitor()
    _play(monitor, [hr(0.0), lactate(0.1, 4.0), hr(1.0), lactate(1.1, 5.0, "p")])
    assert not _play(monitor, [lactate(0.1, 1.0, status="C", reported=1.5)]).alerts


def test_nobody_is_called_about_an_hour_long_gone() -> None:
    monitor = _monitor()
    _play(monitor, [hr(hour) for hour in range(9)] + [lactate(8.5, 1.0)])
    told = _play(monitor, [lactate(3.0, 5.0, "late", reported=8.6)])
    assert {score.hour_of_stay for score in told.scores if score.is_alerting} == {4, 5, 6, 7, 8}
    assert not told.alerts


def test_another_model_tells_every_hour_it_scores_anew() -> None:
    monitor = SepsisMonitor(Since(2, ToyModel("v1"), ToyModel("v2", 9)))
    told = _play(monitor, [hr(0.0), hr(1.0), hr(2.5), hr(3.5)])
    assert [score.model_version for score in told.scores] == ["v1", "v1", "v2", "v2"]


def test_alerts_of_old_readings_are_recorded_and_not_sent() -> None:
    monitor = _monitor()
    story = [hr(0.0), lactate(0.1, 4.0)]
    now = datetime(2027, 1, 1, tzinfo=UTC)
    alerts = [pair for stream, row in story for pair in monitor.observe(stream, table([row]), now).alerts]
    assert [alert.withheld_because for _, alert in alerts] == ["expired"]


def test_a_patient_whose_hours_leap_is_scored_in_every_hour() -> None:
    monitor = _monitor()
    rows = [hr(hour, token=token, offset=hour)[1] for hour in range(90) for token in ("t", "u")]
    told = monitor.observe(VITALS, table(rows)) + monitor.settle()
    hours = {(score.subject_token, score.hour_of_stay) for score in told.scores}
    assert hours == {(token, hour) for token in ("t", "u") for hour in range(1, 91)}


def _hours(told: Told) -> list[int]:
    return sorted({score.hour_of_stay for score in told.scores})


@pytest.mark.parametrize("size", [1, 9])
def test_hours_that_wait_for_their_turn_are_scored_before_the_patient_leaps_beyond_them(
    monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(stream_score, "AT_ONCE", 0)
    monitor = _monitor()
    story = [hr(0.0), hr(2.0), hr(4.0), hr(24.0)]
    told = _play(monitor, story, size) + monitor.settle()
    assert _hours(told) == list(range(1, 26))


def test_hours_that_wait_for_their_turn_are_scored_before_the_patient_returns_from_a_long_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_score, "AT_ONCE", 0)
    monitor = _monitor()
    told = _play(monitor, [hr(0.0), hr(2.0), hr(90.0)]) + monitor.settle()
    began = int(START.timestamp()) // 3_600
    assert {score.hour_ms // 3_600_000 - began for score in told.scores} == {0, 1, 2, 90}


@pytest.mark.parametrize("gap", [13, 24, 25, 40, 70])
@pytest.mark.parametrize("size", [1, 9])
def test_a_gap_is_scored_in_every_hour_as_if_somebody_had_looked(gap: int, size: int) -> None:
    story: list[Row] = [("adt.events", _appended(admission("t", "A01", 0.0, "ICU-1", "a1", 1960), 0.1, 0))]
    story += [hr(0.5), lactate(1.0, 3.0), hr(gap + 1.0), lactate(gap + 1.5, 2.0, "p"), hr(gap + 2.0)]
    monitor = _monitor()
    told = _play(monitor, story, size) + monitor.settle()
    assert _last_told(told) == _offline(story)


def test_an_alert_of_a_gap_is_due_to_the_row_that_ends_it_and_not_expired() -> None:
    """Risk rises by the hour alone and crosses the threshold while nothing is heard."""
    monitor = _monitor(ToyModel(of_hour=0.05))
    for stream, row in (hr(0.0), lactate(0.1, 2.0), hr(1.0)):
        assert not monitor.observe(stream, table([row]), at(1.1)).alerts
    [(_, alert)] = monitor.observe(VITALS, table([hr(30.0, offset=5)[1]]), at(30.1)).alerts
    assert (alert.withheld_because, alert.offset) == (None, 5)
    assert alert.effective_ms // 3_600_000 * 3_600_000 == alert.episode_start_ms == int(at(19).timestamp()) * 1000


def test_hours_of_a_silence_that_ends_a_stay_are_nobodys() -> None:
    monitor = _monitor()
    told = _play(monitor, [hr(0.5), hr(60.0)]) + monitor.settle()
    assert {score.hour_ms // 3_600_000 - int(START.timestamp()) // 3_600 for score in told.scores} == {0, 60}


def test_a_result_that_does_not_stand_moves_no_time() -> None:
    monitor = _monitor()
    told = _play(monitor, [hr(0.5), lactate(40.0, 3.0, status="X")]) + monitor.settle()
    assert _hours(told) == [1]


# --- a restart


def _past(told: Told) -> pa.Table:
    rows = [
        {
            "rule": alert.rule,
            "rule_version": alert.rule_version,
            "alert_id": alert.alert_id,
            "retracts": alert.retracts,
            "model": alert.model,
            "subject_token": alert.subject_token,
            "level": alert.level,
            "episode_start": datetime.fromtimestamp(alert.episode_start_ms / 1000, UTC),
            "effective_at": datetime.fromtimestamp(alert.effective_ms / 1000, UTC),
            "withheld_because": alert.withheld_because,
        }
        for _, alert in told.alerts
    ]
    return pa.Table.from_pylist(rows)


def _told_table(told: Told) -> pa.Table:
    """The score made last of each hour, as `last_scores` gives it."""
    us = pa.timestamp("us", "UTC")
    last = {(score.subject_token, score.hour_ms): (nth, score) for nth, score in enumerate(told.scores)}
    rows = [
        {
            "subject_token": score.subject_token,
            "hour_start": datetime.fromtimestamp(score.hour_ms / 1000, UTC),
            "hour_of_stay": score.hour_of_stay,
            "score": score.score,
            "threshold": score.threshold,
            "model_version": score.model_version,
            "scored_at": START + timedelta(seconds=nth),
        }
        for nth, score in last.values()
    ]
    schema = pa.schema(
        [("subject_token", pa.string()), ("hour_start", us), ("hour_of_stay", pa.int64()), ("score", pa.float64()),
         ("threshold", pa.float64()), ("model_version", pa.string()), ("scored_at", us)]
    )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=schema)


def _restarted(source: ModelSource, story: list[Row], before: Told) -> SepsisMonitor:
    """A monitor of another process, behind these rows and what was told of them."""
    by_stream = {
        stream: table([{**row, "patient_id": None} for s, row in story if s == stream]).drop_columns("patient_id")
        for stream in {stream for stream, _ in story}
    }
    monitor = SepsisMonitor(source)
    monitor.restore(Before(by_stream), _told_table(before), _past(before))
    return monitor


@pytest.mark.parametrize("seed", [11, 12])
def test_after_a_restart_it_is_as_if_it_had_never_stopped(seed: int) -> None:
    story = made_stays(seed, patients=4, hours=45)
    cut = len(story) * 2 // 3
    stayed = _monitor()
    before = _play(stayed, story[:cut], 50)
    restarted = _restarted(OneModel(ToyModel()), story[:cut], before)
    left = _play(stayed, story[cut:], 50) + stayed.settle()
    right = _play(restarted, story[cut:], 50) + restarted.settle()
    known = {score.subject_token for score in right.scores}
    assert known
    expected = {**_last_told(before), **_last_told(left)}
    assert {**_last_told(before), **_last_told(right)} == expected == _offline(story)
    assert _ids(left) == _ids(right)


def test_after_a_restart_a_patient_who_leaps_with_the_first_row_is_scored_in_every_hour() -> None:
    story: list[Row] = [("adt.events", _appended(admission("t", "A01", 0.0, "ICU-1", "a1", 1960), 0.1, 0))]
    story += [hr(0.5), lactate(1.0, 3.0)]
    before = _play(_monitor(), story)
    then = hr(40.0)
    monitor = _restarted(OneModel(ToyModel()), story, before)
    told = _play(monitor, [then]) + monitor.settle()
    assert {**_last_told(before), **_last_told(told)} == _offline([*story, then])


def test_after_a_restart_the_first_scores_are_of_the_model_in_force_and_not_of_the_first_there_was() -> None:
    """With hours behind everybody who is overdue, before any time has passed."""
    source = Since(-1.0, ToyModel("built-in", weight=0.1), ToyModel("champion"))
    story = [hr(0.0), lactate(0.5, 4.0), *(hr(float(hour)) for hour in range(1, 14)), lactate(13.5, 4.1)]
    stayed = SepsisMonitor(source)
    before = _play(stayed, story)
    assert before.alerts
    left = _play(stayed, [hr(14.0)])
    right = _play(_restarted(source, story, before), [hr(14.0)])
    assert {score.model_version for score in right.scores} == {"champion"}
    assert _ids(left) == _ids(right) == set()


def test_after_a_restart_nobody_is_called_about_hours_that_an_earlier_model_scored() -> None:
    source = Since(10.0, ToyModel("v1", weight=0.1), ToyModel("v2"))
    story = [hr(0.0), lactate(3.5, 4.0), *(hr(float(hour)) for hour in range(4, 6)), lactate(6.5, 1.0, "p"), hr(7.0)]
    story += [hr(10.5, token="u"), hr(11.0, token="u")]
    stayed = SepsisMonitor(source)
    before = _play(stayed, story)
    left = _play(stayed, [hr(11.5)])
    right = _play(_restarted(source, story, before), [hr(11.5)])
    assert any(score.is_alerting for score in right.scores), "hours long over, which the new model puts over it"
    assert _ids(left) == _ids(right) == set()


def test_an_alert_that_was_withheld_before_it_was_sent_is_taken_back_once() -> None:
    story = [hr(0.0), lactate(0.1, 4.0), lactate(0.1, 1.0, status="C", reported=0.3)]
    again = lactate(0.1, 4.2, status="C", reported=0.5)
    stayed = _monitor()
    before = _play(stayed, story)
    (stream, sent), _ = before.alerts
    told = Told(before.scores, ((stream, replace(sent, withheld_because="cool_down")), *before.alerts))
    left, right = _play(stayed, [again]), _play(_restarted(OneModel(ToyModel()), story, told), [again])
    assert len(left.alerts) == 1
    assert _ids(left) == _ids(right)


def _ids(told: Told) -> set[tuple[str, str | None]]:
    return {(alert.alert_id, alert.retracts) for _, alert in told.alerts}
