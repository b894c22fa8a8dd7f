"""The patients scripted for the rules: each raises its alert, and who is well raises none."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from infra.simulator import rule_patients
from infra.simulator.hospital import STREAMS
from infra.simulator.ward import Event
from pipelines.alerts.message import Alert
from pipelines.clinical.monitor import WardMonitor
from pipelines.clinical.rule_packs import built_in
from pipelines.clinical.sepsis.model_files import champion
from pipelines.clinical.sepsis.score import OnnxModel
from pipelines.clinical.sepsis.scoring import OneModel
from pipelines.clinical.sepsis.stream_score import SepsisMonitor
from tests.oracle.oracle import READERS

START_MS = 1_795_000_000_000
MINUTE_MS = 60_000
BY_TIME_OR_MODEL = ("absence.", "sepsis")
"""Rules that no story here can trip: real time must pass, or a model must say so (`infra/simulator/sepsis.py`)."""


def _events(minutes: int, seed: int = 7) -> list[Event]:
    return list(rule_patients.play_rule_patients(seed, START_MS, START_MS + minutes * MINUTE_MS))


def _rows(events: list[Event]) -> Iterator[tuple[str, pa.Table]]:
    """The events as rows, minute by minute, each appended when it is due; by the oracle's readers, which are strict."""
    offsets = dict.fromkeys(STREAMS, 0)
    for start in range(0, len(events), 500):
        for stream in STREAMS:
            mine = [event for event in events[start : start + 500] if event.stream == stream]
            if mine:
                yield stream, _table(mine, stream, offsets[stream])
                offsets[stream] += len(mine)


def _table(events: list[Event], stream: str, offset: int) -> pa.Table:
    appended = np.array([event.due_ms * 1000 for event in events])
    said = READERS[stream]([e.key for e in events], [e.value for e in events], appended)
    assert said["fault"].null_count == len(said), said["fault"].to_pylist()
    places = {
        "subject_token": pa.array([event.patient for event in events]),
        "kafka_partition": pa.array([0] * len(events), pa.int32()),
        "kafka_offset": pa.array(range(offset, offset + len(events)), pa.int64()),
        "kafka_time": pa.array(appended, pa.timestamp("us", "UTC")),
    }
    for name, column in places.items():
        said = said.append_column(name, column)
    return said


def _alerts(events: list[Event]) -> list[Alert]:
    """Of the rules and of the model that comes with the product."""
    rules, model = WardMonitor(), SepsisMonitor(OneModel(OnnxModel(champion())))
    told = []
    for stream, rows in _rows(events):
        told += rules.observe(rows, None, stream)
        told += [alert for _, alert in model.observe(stream, rows).alerts]
    return told + [alert for _, alert in model.settle().alerts]


@pytest.fixture(scope="module", params=[60, 120])
def played(request: pytest.FixtureRequest) -> tuple[int, list[Alert]]:
    return request.param, _alerts(_events(request.param))


def test_the_same_seed_gives_the_same_messages_in_the_order_of_sending() -> None:
    assert _events(60) == _events(60)
    due = [event.due_ms for event in _events(60)]
    assert due == sorted(due)
    assert max(due) <= START_MS + 60 * MINUTE_MS


def test_every_rule_of_the_pack_has_its_patient() -> None:
    scripted = {story.rule for story in rule_patients.STORIES}
    assert {rule for rule in built_in().rules if not rule.startswith(BY_TIME_OR_MODEL)} <= scripted


def test_each_patient_raises_the_alert_of_their_rule(played: tuple[int, list[Alert]]) -> None:
    minutes, alerts = played
    for wanted in rule_patients.expected_alerts(START_MS, START_MS + minutes * MINUTE_MS):
        mine = [
            alert
            for alert in alerts
            if (alert.patient_id, alert.rule) == (wanted.patient_id, wanted.rule)
            and alert.level >= wanted.least_level
            and wanted.from_ms <= alert.episode_start_ms <= wanted.until_ms
        ]
        assert mine, f"{wanted.rule} of {wanted.patient_id} in {minutes} minutes"
        assert all(alert.reasons and not alert.withheld_because for alert in mine)


def test_a_single_sign_trips_no_rule_of_another_story(played: tuple[int, list[Alert]]) -> None:
    """What one sign must not do: a fever is no SIRS, a fast breath no qSOFA, a falling pressure in range no limit."""
    _, alerts = played
    stories = rule_patients.STORIES
    told = {story.patient_id: {a.rule for a in alerts if a.patient_id == story.patient_id} for story in stories}
    lone = [story for story in stories if story.rule in ("shock_trend", "threshold.lactate")]
    assert all(told[story.patient_id] == {story.rule} for story in lone)
    assert not told["P810006"] & {"sirs", "qsofa"}
    assert not told["P810001"] & {"sirs", "qsofa", "shock_index"}


def test_who_is_well_is_not_alerted_on(played: tuple[int, list[Alert]]) -> None:
    _, alerts = played
    assert not [alert.rule for alert in alerts if alert.patient_id in rule_patients.WELL]


def test_the_alert_on_a_wrong_result_is_taken_back(played: tuple[int, list[Alert]]) -> None:
    _, alerts = played
    of_rules = [alert for alert in alerts if alert.rule != "sepsis"]  # a model changes its mind as hours end
    mine = [alert for alert in of_rules if alert.patient_id == rule_patients.TAKEN_BACK]
    assert [alert.retracts for alert in mine] == [None, mine[0].alert_id]
    assert [alert.patient_id for alert in of_rules if alert.retracts] == [rule_patients.TAKEN_BACK]
