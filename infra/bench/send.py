"""Sends a workload to a topic, as fast as it goes or at a steady rate: `python -m infra.bench.send`.

Holds: the producer, pacing, proof that the broker took every message. The wall clock enters only here.
Does not hold: what is in a message (`workload`, `ward`).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict

import numpy as np
from confluent_kafka import KafkaError, Message, Producer

from infra.bench.ward import WardReadings
from infra.bench.workload import FIRST_DAY, KeyedMessage, Workload, backlog, iso_texts

PRODUCER = {
    "enable.idempotence": True,
    "partitioner": "murmur2_random",
    "compression.type": "lz4",
    "batch.size": 1 << 18,
    "queue.buffering.max.messages": 500_000,
    "delivery.report.only.error": True,
}
BACKLOG_LINGER_MS, PACED_LINGER_MS = 20, 2
PACE_S = 0.005


class SendingError(RuntimeError):
    """Not every message was acknowledged; nothing can be measured on this topic."""


class Sender:
    """Produces messages to one topic and makes sure that the broker took every one."""

    def __init__(self, bootstrap: str, topic: str, linger_ms: int) -> None:
        addressed = {"bootstrap.servers": bootstrap, "linger.ms": linger_ms, "on_delivery": self._note_failure}
        self._producer = Producer({**PRODUCER, **addressed})
        self._topic = topic
        self._failures: list[str] = []

    def send(self, messages: Iterable[KeyedMessage]) -> None:
        """Hand them to the producer; waits while its queue is full."""
        produce, topic = self._producer.produce, self._topic
        for key, value in messages:
            while True:
                try:
                    produce(topic, value, key)
                    break
                except BufferError:
                    self._producer.poll(0.2)
        self._producer.poll(0)

    def finish(self, seconds: float = 120.0) -> None:
        """Wait for all acknowledgements. Raises `SendingError`."""
        left = self._producer.flush(seconds)
        if left or self._failures:
            raise SendingError(f"{left} messages unacknowledged, {len(self._failures)} refused on topic {self._topic}")

    def _note_failure(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._failures.append(error.name())


def send_paced(
    workload: Workload,
    sender: Sender,
    rate: float,
    seconds: float,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Send `rate * seconds` messages, each with the wall clock's time of its sending as its event time.

    A machine that cannot keep up sends what is due in larger groups.
    """
    began, total = clock(), int(rate * seconds)
    while (sent := workload.ledger.messages) < total:
        now = clock()
        due = min(total, int((now - began) * rate)) - sent
        if due > 0:
            moment = np.datetime64(int(now * 1000), "ms")
            sender.send(workload.next(iso_texts(np.array([moment])) * due))
        sleep(PACE_S)


def main(arguments: list[str] | None = None) -> int:
    """Prints the ledger as JSON, with the patients who must be alerted on and when sending began and ended."""
    parser = argparse.ArgumentParser(prog="python -m infra.bench.send", description=__doc__.splitlines()[0])
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--messages", type=int, help="a backlog of so many")
    parser.add_argument("--rate", type=float, help="messages a second")
    parser.add_argument("--seconds", type=float, help="for so long, with a rate")
    parser.add_argument("--ward", action="store_true", help="patients who fall ill, with a rate")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--malformed", type=float, default=0.001)
    given = parser.parse_args(arguments)
    ward = WardReadings(given.seed, given.rate) if given.ward else None
    workload = Workload(given.seed, ward, malformed=given.malformed)
    began = time.time()
    if given.rate:
        sender = Sender(given.bootstrap, given.topic, PACED_LINGER_MS)
        send_paced(workload, sender, given.rate, given.seconds)
    else:
        sender = Sender(given.bootstrap, given.topic, BACKLOG_LINGER_MS)
        for chunk in backlog(workload, given.messages, FIRST_DAY):
            sender.send(chunk)
    ended = time.time()
    sender.finish()
    ill = ward.ill(workload.ledger.messages) if ward else []
    print(json.dumps({"ledger": asdict(workload.ledger), "ill": ill, "began": began, "ended": ended}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
