"""A stream that keeps its messages as they came: each once, through a kill, and a day made again of them."""

from __future__ import annotations

import signal
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from infra.cli.replay_check import check
from pipelines.source import read_topic_facts
from tests.deployment import Deployment
from tests.end_to_end.test_new_stream import one_file
from tests.pipelines.messages import reading
from tests.pipelines.small_ingest import Message, send
from warehouse.catalog import open_catalog
from warehouse.settings import Settings

pytestmark = pytest.mark.end_to_end

STREAM, DAY = "device.ventilators", date(2026, 11, 22)


def keeping(folder: Path) -> Path:
    file = one_file(folder) / f"{STREAM}.odcs.yaml"
    file.write_text(file.read_text().replace("{property: keepRaw, value: false", "{property: keepRaw, value: true"))
    return folder


def messages(start: int, count: int) -> list[Message]:
    """Readings of eleven patients; every tenth is damaged, every seventh is said again."""
    sent: list[Message] = []
    for number in range(start, start + count):
        patient = f"P{number % 11:06}"
        said = reading(event_id=f"e{number}", patient_id=patient, code="9279-1", value=12.0 + number % 9)
        sent.append((patient, b"{" if number % 10 == 0 else said))
        if number % 7 == 0:
            sent.append(sent[-1])
    return sent


def positions(settings: Settings, name: str) -> Counter[tuple[int, int]]:
    table = open_catalog(settings).load_table((settings.namespace, name))
    rows = table.scan(selected_fields=("kafka_partition", "kafka_offset")).to_arrow()
    return Counter(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def between_first_and_last(rows: Counter[tuple[int, int]]) -> int:
    """How many positions lie between the first and the last row of each partition, these included."""
    offsets = {p: [offset for at, offset in rows if at == p] for p, _ in rows}
    return sum(max(each) - min(each) + 1 for each in offsets.values())


def test_each_message_is_kept_once_and_the_day_is_made_again_without_kafka(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    site = replace(settings, contracts=keeping(tmp_path / "contracts"), embedded_kafka=False, embedded_s3=False)
    with Deployment(site) as deployment:
        send(site, STREAM, messages(0, 2_000))
        process = deployment.start_stream(WARDSTREAM_COMMIT_SECONDS="0.2")
        deployment.wait_for("a first commit", lambda s: s.get("counts", {}).get("messages", 0) > 0, 60)
        send(site, STREAM, messages(1_500, 2_000))
        process.send_signal(signal.SIGKILL)
        process.wait()
        deployment.run_stream_to_the_end()
    fact = read_topic_facts(site, (STREAM,))[STREAM]
    sent = Counter((p, offset) for p, (low, high) in fact.ranges.items() for offset in range(low, high))
    assert positions(site, "raw_messages") == sent

    admin = AdminClient(site.kafka())
    ends = [TopicPartition(fact.topic, p, high) for p, (_, high) in fact.ranges.items()]
    for future in admin.delete_records(ends).values():
        future.result(30)
    assert check(site, "ventilators", (DAY,), source="kafka") == 2
    assert "neither Kafka nor the raw messages have them" in capsys.readouterr().out
    assert check(site, "ventilators", (DAY,)) == 0
    assert (
        f"{between_first_and_last(positions(site, 'ventilators')):,} messages worked again" in capsys.readouterr().out
    )
