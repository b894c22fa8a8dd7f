"""The scripted patient with sepsis: the same every time, all of it rows, and worse in the hours that are played."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa

from infra.simulator import sepsis
from infra.simulator.ward import Event
from pipelines.alerts.message import Alert
from pipelines.batch import StreamBatch
from pipelines.clinical.sepsis.model_files import champion
from pipelines.clinical.sepsis.score import OnnxModel
from pipelines.clinical.sepsis.scoring import OneModel
from pipelines.clinical.sepsis.stream_score import SepsisMonitor, Told
from pipelines.decode.json import JsonDecoder
from pipelines.deduplicate import FirstPositions, deduplicate
from pipelines.normalise import normalise
from pipelines.pseudonymise import pseudonymise
from pipelines.validate import validate
from pipelines.watch import monitored
from tests.pipelines import messages

START_MS = 1_795_309_500_000
END_MS = START_MS + 2 * 3_600_000
CONTRACTS = {"device.vitals": messages.VITALS, "lab.results": messages.LABS, "adt.events": messages.ADT}


def _events(seed: int = 1) -> list[Event]:
    return list(sepsis.play_sepsis(seed, START_MS, END_MS))


def _rows(events: list[Event]) -> list[tuple[str, pa.Table]]:
    """Event by event through the steps of the stream, each appended when it is due."""
    rows = []
    for event in events:
        read = messages.messages([event.value], [event.key], CONTRACTS[event.stream])
        batch = StreamBatch(replace(read, appended_ms=np.array([event.due_ms])))
        contract = CONTRACTS[event.stream]
        decoded = JsonDecoder(contract).decode(pseudonymise(batch, messages.tokenizer(), contract))
        checked = validate(normalise(decoded, contract), contract)
        assert not checked.rejects
        rows.append((event.stream, monitored(deduplicate(checked, FirstPositions(10, 10, messages.KEY), contract))))
    return rows


def _told(events: list[Event]) -> Told:
    monitor = SepsisMonitor(OneModel(OnnxModel(champion())))
    told = Told()
    for stream, rows in _rows(events):
        told += monitor.observe(stream, rows)
    return told


def _alerts(told: Told) -> list[Alert]:
    return [alert for _, alert in told.alerts if alert.retracts is None]


def test_the_same_seed_gives_the_same_messages_in_the_order_of_sending() -> None:
    assert _events() == _events()
    assert [event.due_ms for event in _events()] == sorted(event.due_ms for event in _events())
    assert {event.patient for event in _events()} == {sepsis.PATIENT}


def test_the_hours_before_are_told_at_the_start() -> None:
    old = [event for event in _events() if json.loads(event.value or b"").get("event_time", "9") < "2026-11-22T00"]
    assert old
    assert {event.due_ms for event in old} == {START_MS}


def test_the_course_raises_the_alert_it_promises() -> None:
    wanted = sepsis.expected_alert(START_MS, END_MS)
    [first, *_] = _alerts(_told(_events()))
    assert (first.patient_id, first.rule, first.level) == (wanted.patient_id, wanted.rule, wanted.least_level)
    assert wanted.from_ms <= first.episode_start_ms <= wanted.until_ms
    assert len(first.reasons) > 1
