"""A stream is added by one file: no code, no restart of anything but the stream, and every part knows it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer

from infra.planning import contracts
from tests.deployment import Deployment
from tests.pipelines.messages import reading
from warehouse.analytics import Analytics
from warehouse.contract import FOLDER
from warehouse.settings import Settings

pytestmark = pytest.mark.end_to_end


def one_file(folder: Path) -> Path:
    """A contract for ventilators, as a site would write it: from a stream that is much like it."""
    text = (FOLDER / "iot.patient.odcs.yaml").read_text()
    text = text.replace("iot.patient", "device.ventilators").replace("wearables", "ventilators")
    text = text.replace("valueSets, value: [wearable]", "valueSets, value: [bedside]")
    folder.mkdir()
    (folder / "device.ventilators.odcs.yaml").write_text(text)
    return folder


def send(settings: Settings, topic: str, messages: list[dict]) -> None:
    producer = Producer(settings.kafka(partitioner="murmur2_random"))
    for message in messages:
        producer.produce(settings.topic(topic), key=message["patient_id"], value=json.dumps(message))
    assert producer.flush(30) == 0


def test_a_stream_is_added_by_one_file(settings: Settings, tmp_path: Path) -> None:
    settings = replace(settings, contracts=one_file(tmp_path / "contracts"))
    done = contracts.apply(settings).done
    assert any("device.ventilators" in line for line in done)
    good = [reading(event_id=f"e{n}", patient_id=f"P{n:06}", code="9279-1", value=12.0 + n) for n in range(30)]
    send(settings, "device.ventilators", [*good, good[0], reading(event_id="x", code="99504-3")])
    with Deployment(settings) as deployment:
        deployment.run_stream_to_the_end()
    with Analytics(settings) as analytics:
        rows = analytics.query("SELECT count(*) AS n, count(DISTINCT subject_token) AS people FROM ventilators").table
        rejects = analytics.query("SELECT stream, reason FROM rejects").table
        duplicates = analytics.query("SELECT event_id FROM duplicates WHERE stream = 'device.ventilators'").table
    assert rows.to_pylist() == [{"n": 30, "people": 30}]
    assert rejects.to_pylist() == [{"stream": "device.ventilators", "reason": "unknown_code"}]
    assert duplicates.to_pylist() == [{"event_id": "e0"}]
