"""The same graph on Beam's portable runner leaves the same tables and tells the same alerts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from infra.services.ports import port
from infra.services.prism import prism_program
from infra.services.processes import Child
from pipelines.source import read_topic_facts
from tests.deployment import ROOT, VITALS, Deployment
from warehouse.catalog import load_table, open_catalog
from warehouse.settings import Settings

pytestmark = pytest.mark.end_to_end

OPENED = "positions are read from the lake"
RUNS = 2
"""How often `run_stream_to_the_end` starts the stream."""
TABLES = ("vitals", "rejects", "duplicates", "alerts", "alerts_withheld")
# What differs between two runs by its nature: broker's and stream's clocks, topic ids, random nonces, and the order
# in which alerts of different partitions reached their topic.
OF_ONE_RUN = {"topic_id", "kafka_time", "ingest_time", "sealed_payload", "source_topic_id"}
OF_ONE_RUN_OF_ALERTS = {"kafka_offset", "appended_at", "processed_at", "alerted_at", "expires_at"}


@pytest.fixture
def prism_endpoint(prism: Path, free_port_base: Callable[[], int], tmp_path: Path) -> Iterator[str]:
    """host:port of a Prism of this test's own."""
    base = free_port_base()
    child = Child.start(prism_program(prism, base, tmp_path / "prism.log"))
    try:
        child.wait_ready()
        yield f"127.0.0.1:{port(base, 'prism')}"
    finally:
        child.kill()


def test_prism_and_the_embedded_runner_leave_the_same_tables_and_alerts(settings, prism_endpoint):
    home = settings.home / "prism"
    portable = replace(
        settings,
        runner="prism",
        prism_endpoint=prism_endpoint,
        topic_prefix=f"p{settings.topic_prefix}",
        namespace=f"p{settings.namespace}",
        home=home,
        catalog_uri=f"sqlite:///{home / 'catalog' / 'catalog.sqlite'}",
    )
    with Deployment(settings) as embedded, Deployment(portable) as on_prism:
        embedded.play_ward(seed=21, minutes=30, patients=10)
        copy_topic(settings, portable)
        embedded.run_stream_to_the_end()
        on_prism.run_stream_to_the_end(PYTHONPATH=telling_openings(settings.home / "site"))
    assert openings(portable) == RUNS, "state is read from the lake once a run, whatever bundles the runner makes"
    for table in TABLES:
        assert rows_of(settings, table) == rows_of(portable, table), table


def telling_openings(folder: Path) -> str:
    """A PYTHONPATH with which a process says each time it reads its positions from the lake."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_TELLING)
    return f"{folder}{os.pathsep}{ROOT}"


_TELLING = f"""
import sys
from pipelines.restore import Restorer
starts = Restorer.starts
def telling(self, facts):
    print({OPENED!r}, file=sys.stderr, flush=True)
    return starts(self, facts)
Restorer.starts = telling
"""


def openings(settings: Settings) -> int:
    return (settings.home / "stream.log").read_text(errors="replace").splitlines().count(OPENED)


def copy_topic(source: Settings, target: Settings) -> None:
    """The same keys and values at the same partitions and offsets of the other prefix's topic."""
    fact = read_topic_facts(source, (VITALS,))[VITALS]
    consumer = Consumer(source.kafka(**{"group.id": "copy", "auto.offset.reset": "earliest"}))
    consumer.assign([TopicPartition(fact.topic, partition, low) for partition, (low, _) in fact.ranges.items()])
    producer = Producer(target.kafka(**{"enable.idempotence": True}))
    left = sum(high - low for low, high in fact.ranges.values())
    while left:
        for message in consumer.consume(1000, 5):
            producer.produce(target.topic(VITALS), message.value(), message.key(), message.partition())
            left -= 1
        producer.poll(0)
    producer.flush()
    consumer.close()


def rows_of(settings: Settings, name: str) -> list[dict]:
    """A table's rows without what differs between two runs, in an order of their own."""
    rows = load_table(open_catalog(settings), settings.namespace, name).scan().to_arrow()
    left_out = OF_ONE_RUN | (OF_ONE_RUN_OF_ALERTS if name.startswith("alerts") else set())
    kept = rows.drop_columns([column for column in rows.column_names if column in left_out])
    return sorted(kept.to_pylist(), key=repr)
