"""Watchers beside a running stream, each a process that prints a JSON line for what it saw and when.

    python -m infra.bench.watch lake       what a question to DuckDB shows, asked again and again
    python -m infra.bench.watch alerts     every alert the moment that a reader has it

The first line says that they watch. They end on SIGTERM. Does not hold: what the lines mean for a benchmark.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from datetime import datetime

from confluent_kafka import Consumer, Message, TopicPartition

from warehouse.analytics import Analytics, LakeUnavailable
from warehouse.settings import Settings

PAUSE_S = 0.15
_NEWEST = "SELECT kafka_partition, max(kafka_offset) AS newest FROM vitals WHERE kafka_offset > ? GROUP BY 1"


def watch_lake(settings: Settings, stop: threading.Event) -> None:
    """A line an answer: `at` (UTC epoch seconds when it was there), `took_s`, `newest` offset by partition."""
    known: dict[int, int] = {}
    with Analytics(settings) as analytics:
        print(json.dumps({"watching": "vitals"}), flush=True)
        while not stop.is_set():
            try:
                # What every partition is beyond needs no reading: files without anything newer are left alone.
                answer = analytics.query(_NEWEST, parameters=[min(known.values()) if len(known) == 4 else -1])
            except LakeUnavailable:
                stop.wait(PAUSE_S)
                continue
            at = time.time()
            known |= {row["kafka_partition"]: row["newest"] for row in answer.table.to_pylist()}
            print(json.dumps({"at": at, "took_s": answer.elapsed_s, "newest": known}), flush=True)
            stop.wait(PAUSE_S)


def watch_alerts(settings: Settings, topic: str, stop: threading.Event) -> None:
    """A line an alert: its id, patient, and four instants in UTC epoch milliseconds.

    `device_ms`: event time of the triggering reading; `appended_ms`: when the broker had it; `alerted_ms`: when the
    broker had the alert; `read_ms`: when this reader had it.
    """
    consumer = Consumer(settings.kafka(**{"group.id": "bench-watch", "auto.offset.reset": "earliest"}))
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    print(json.dumps({"watching": topic}), flush=True)
    while not stop.is_set():
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            print(json.dumps({**_alert(message), "read_ms": time.time() * 1000}), flush=True)
    consumer.close()


def _alert(message: Message) -> dict[str, object]:
    alert = json.loads(message.value() or b"{}")
    return {
        "alert_id": alert["alert_id"],
        "patient": alert["patient"]["patient_id"],
        "rule": alert["rule"],
        "device_ms": _epoch_ms(alert["times"]["device"]),
        "appended_ms": _epoch_ms(alert["times"]["appended"]),
        "alerted_ms": message.timestamp()[1],
    }


def _epoch_ms(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp() * 1000


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.bench.watch", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("lake", "alerts"))
    given = parser.parse_args(arguments)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    settings = Settings.from_environment()
    if given.what == "lake":
        watch_lake(settings, stop)
    else:
        watch_alerts(settings, settings.topic("clinical.alerts"), stop)
    return 0


if __name__ == "__main__":
    sys.exit(main())
