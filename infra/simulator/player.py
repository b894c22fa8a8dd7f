"""Plays a sequence of events into Kafka at a chosen pace, and keeps the ledger of it.

Holds: pacing, the producer, what a delivery report means.
Does not hold: what is played (`ward`, `hospital`, `infra/loaders`), nor the wall clock itself: clock and sleep are
arguments.
"""

from __future__ import annotations

import logging
import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Protocol

from confluent_kafka import KafkaError, Message, Producer

from infra.simulator.ledger import FAILED, OK, UNKNOWN
from infra.simulator.ward import Event

log = logging.getLogger(__name__)

GROUP = 2_000
"""Messages planned with one fsync, at most."""

PRODUCER = {
    "enable.idempotence": True,
    "acks": "all",
    "compression.type": "zstd",
    "partitioner": "murmur2_random",
    "linger.ms": 5,
    "queue.buffering.max.messages": 200_000,
    "delivery.timeout.ms": 120_000,
}

NEVER_SENT = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError._PURGE_QUEUE,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)
"""Reports after which the broker certainly has not appended the message. After any other failure it may have."""


@dataclass(frozen=True, slots=True)
class Pace:
    """When an event may be sent.

    Attributes:
        speed: ward seconds a wall second; None sends as fast as it goes.
        rate: most messages a second; None without bound.
        catch_up: never send an event before the wall clock has reached its ward time, whatever the speed says.
    """

    speed: float | None = None
    rate: float | None = None
    catch_up: bool = True

    def ready(self, due_ms: Sequence[int], first_ms: int, sent: int, began: float, now: float) -> int:
        """How many of the waiting events, due at these rising ward times, may be sent now.

        `first_ms` is the ward time of the play's first event, `sent` how many have been sent; `began` and `now` are
        wall clock, seconds since 1970 UTC.
        """
        most = len(due_ms)
        if self.rate is not None:
            most = max(0, min(most, int((now - began) * self.rate) + 1 - sent))
        until_ms = math.inf if self.speed is None else first_ms + (now - began) * self.speed * 1000
        if self.catch_up:
            until_ms = min(until_ms, now * 1000)
        return bisect_right(due_ms, until_ms, 0, most)


@dataclass(frozen=True, slots=True)
class PlayReceipt:
    """How a play ended. `planned` = `ok` + `failed` + `unknown`; `completed` is false where it was stopped early."""

    planned: int
    ok: int
    failed: int
    unknown: int
    completed: bool


class Account(Protocol):
    """What is told of every sending; `infra/simulator/ledger.py` keeps it on disk."""

    counts: dict[str, int]

    def plan(self, events: Iterable[Event]) -> int: ...

    def outcome(self, n: int, result: str, partition: int | None = None, offset: int | None = None) -> None: ...

    def close(self) -> None: ...


class Tally:
    """Counts sendings and keeps nothing else: an account for those who need no proof."""

    def __init__(self) -> None:
        self.counts = {"planned": 0, OK: 0, FAILED: 0, UNKNOWN: 0}

    def plan(self, events: Iterable[Event]) -> int:
        first = self.counts["planned"]
        self.counts["planned"] += len(list(events))
        return first

    def outcome(self, n: int, result: str, partition: int | None = None, offset: int | None = None) -> None:
        self.counts[result] += 1

    def close(self) -> None:
        """Nothing is held open."""


class Player:
    """Sends events to their streams' topics and writes their ledger.

    `topics`: stream -> topic, or the one topic of all events. `kafka` are librdkafka settings that win over `PRODUCER`
    (bootstrap.servers, security). `clock` gives seconds since 1970 UTC. Progress is read from `counts` by any thread.
    """

    def __init__(
        self,
        kafka: Mapping[str, object],
        topics: str | Mapping[str, str],
        ledger: Account,
        pace: Pace,
        clock: Callable[[], float],
        sleep: Callable[[float], None],
    ) -> None:
        self._producer = Producer({**PRODUCER, **kafka})
        self._topics, self._ledger, self._pace = topics, ledger, pace
        self._clock, self._sleep = clock, sleep

    @property
    def counts(self) -> dict[str, int]:
        """Messages planned, ok, failed and unknown so far."""
        return dict(self._ledger.counts)

    def play(
        self, events: Iterable[Event], stop: Callable[[], bool] = lambda: False, flush_seconds: float = 130.0
    ) -> PlayReceipt:
        """Send all events, wait for their reports at most `flush_seconds`, close the ledger.

        Ends early, in good order, once `stop()` is true. Raises what the ledger's file raises; the broker being away
        is no error: messages wait in the producer until its delivery time-out and end as `unknown`.
        """
        completed = False
        try:
            for group in self._paced(iter(events), stop):
                self._send(group)
            completed = not stop()
        finally:
            self._producer.flush(flush_seconds)
            self._ledger.close()
        counts = self.counts
        unknown = counts["planned"] - counts[OK] - counts[FAILED]
        return PlayReceipt(counts["planned"], counts[OK], counts[FAILED], unknown, completed)

    def _paced(self, events: Iterator[Event], stop: Callable[[], bool]) -> Iterator[list[Event]]:
        """Groups of events whose time has come, in order."""
        began, sent, waiting = self._clock(), 0, list(islice(events, GROUP))
        first_ms = waiting[0].due_ms if waiting else 0
        while not stop():
            waiting = waiting or list(islice(events, GROUP))
            if not waiting:
                return
            due_ms = [event.due_ms for event in waiting]
            ready = self._pace.ready(due_ms, first_ms, sent, began, self._clock())
            if ready:
                yield waiting[:ready]
                waiting, sent = waiting[ready:], sent + ready
            else:
                self._producer.poll(0)
                self._sleep(0.01)

    def _send(self, group: list[Event]) -> None:
        first = self._ledger.plan(group)
        for n, event in enumerate(group, first):
            self._produce(n, event)
        self._producer.poll(0)

    def _produce(self, n: int, event: Event) -> None:
        report = partial(self._reported, n)
        topic = self._topics if isinstance(self._topics, str) else self._topics[event.stream]
        while True:
            try:
                self._producer.produce(topic, event.value, event.key, on_delivery=report)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _reported(self, n: int, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._ledger.outcome(n, OK, message.partition(), message.offset())
            return
        self._ledger.outcome(n, FAILED if error.code() in NEVER_SENT else UNKNOWN)
        log.warning("message %d of the ledger was not acknowledged: %s", n, error.name())
