"""Sending messages into the streams' topics from a command: checks before, progress meanwhile, a count at the end.

Holds: which streams may be sent to, the player with an account of the sendings, progress on standard error.
Does not hold: where the messages come from (`replay`, `rejects_replay`).
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from infra.cli.reach import unreachable

if TYPE_CHECKING:
    from infra.simulator.ward import Event
    from warehouse.settings import Settings

MADE_HERE = ("clinical.alerts", "clinical.alerts.withheld", "clinical.scores")
"""What the stream itself sends: an alert sent again would call people again."""
PROGRESS_S = 2.0


class NotSentError(RuntimeError):
    """Something that was to be sent cannot be. Says what, where and what to do; never a value."""


class NotReachableError(RuntimeError):
    """The broker, or a part that is needed, does not answer."""


@dataclass(slots=True)
class Sent:
    """How a sending ended: messages handed over by stream, those acknowledged and those not; `completed` is false where
    it was stopped."""

    by_stream: Counter = field(default_factory=Counter)
    acknowledged: int = 0
    unacknowledged: int = 0
    completed: bool = True

    @property
    def messages(self) -> int:
        return sum(self.by_stream.values())


Send = Callable[[Iterable["Event"]], Sent]


def topics_of(settings: Settings) -> dict[str, str]:
    """Stream -> topic of all streams that may be sent to."""
    from warehouse.contract import load_contracts

    return {
        topic.stream: settings.topic(topic.stream)
        for topic in load_contracts(own=settings.contracts).topics()
        if topic.stream not in MADE_HERE
    }


def allowed(stream: str, topics: Mapping[str, str]) -> str:
    """The stream. Raises `NotSentError` for one that is not declared, or that only the stream itself sends."""
    if stream in MADE_HERE:
        raise NotSentError(f"{stream} is made by the stream itself; an alert sent again would call people again")
    if stream not in topics:
        raise NotSentError(f"no such stream; streams are {', '.join(sorted(topics))}")
    return stream


def sender(
    settings: Settings,
    *,
    rate: float | None = None,
    speed: float | None = None,
    ledger: Path | None = None,
    quiet: bool = False,
) -> Send:
    """What sends events to their streams' topics, by murmur2 of the key.

    `rate`: most messages a second; `speed`: source seconds a second; both None: as fast as it goes. With `ledger` a new
    file keeps what was sent, for `python -m tests.oracle`. Raises `NotReachableError` and `NotSentError` (a topic is
    missing).
    """
    from infra.simulator.ledger import Ledger
    from infra.simulator.player import Pace, Player, Tally

    topics = topics_of(settings)
    _check_topics(settings, topics)
    heading = {"title": "wardstream replay", "topics": topics, "expected_alerts": []}
    account = Ledger(ledger, heading) if ledger else Tally()
    pace = Pace(speed=speed, rate=rate, catch_up=False)
    player = Player(settings.kafka(log_level=0), topics, account, pace, time.time, time.sleep)

    def send(events: Iterable[Event]) -> Sent:
        sent = Sent()
        with _until_interrupted() as stop:
            receipt = player.play(_counted(events, sent, quiet), stop.is_set)
        sent.acknowledged, sent.unacknowledged = receipt.ok, receipt.planned - receipt.ok
        sent.completed = receipt.completed
        return sent

    return send


def _check_topics(settings: Settings, topics: Mapping[str, str]) -> None:
    from infra.planning.topics import BrokerUnreachableError, Topics

    if reason := unreachable(settings, ("kafka",)):
        raise NotReachableError(reason)
    try:
        standing = Topics(settings).observe(topics.values())
    except BrokerUnreachableError as error:
        raise NotReachableError(str(error)) from None
    if absent := sorted(set(topics.values()) - standing.keys()):
        raise NotSentError(f"no topic {', '.join(absent)}; `wardstream contracts apply` makes it")


def _counted(events: Iterable[Event], sent: Sent, quiet: bool) -> Iterator[Event]:
    """The same events, counted by stream, told every two seconds."""
    told_at = time.monotonic()
    for event in events:
        sent.by_stream[event.stream] += 1
        if not quiet and time.monotonic() - told_at > PROGRESS_S:
            told_at = time.monotonic()
            print(f"{sent.messages:,} messages handed over", file=sys.stderr)
        yield event


@contextmanager
def _until_interrupted() -> Generator[threading.Event]:
    """Ctrl-C and SIGTERM end the sending in good order: what was handed over is waited for and counted."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
