"""The lake's second reading of Kafka, after it let go of the live batches.

Holds: `CatchUp`, with a reader and identities of its own, from the tables' vectors to the live position.
Does not hold: when the lake lets go and what it does with the batches (lake.py).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

from pipelines.batch import MessageBatch, StreamBatch
from pipelines.lake import Lake
from pipelines.outages import RETRY_S, UNAVAILABLE
from pipelines.poison import PoisonWatch
from pipelines.restore import Restorer, as_positions, owned_part
from pipelines.source import PartitionReader, by_topic_id, read_topic_facts
from pipelines.stream_steps import StreamSteps
from warehouse.settings import Settings

_LOG = logging.getLogger(__name__)

_CATCH_UP_MESSAGES = 2_000
_LONGEST_YIELD_S = 0.1


class CatchUp:
    """`owned` says which partitions the process has now."""

    def __init__(
        self,
        settings: Settings,
        streams: tuple[str, ...],
        restorer: Callable[[], Restorer],
        owned: Callable[[], frozenset[int]],
        poison: PoisonWatch,
    ) -> None:
        self._settings, self._streams = settings, streams
        self._restorer, self._owned, self._poison = restorer, owned, poison

    def run(self, lake: Lake) -> None:
        """Read Kafka again from the tables' vectors, with identities of its own, until the live position is met."""
        lake.wait_until_idle()
        while not lake.draining.is_set():
            try:
                if self._caught_up(lake, lake.given_up, self._owned()):
                    return
            except UNAVAILABLE as error:
                _LOG.warning("the lake's catch-up waits: %s", error)
                lake.draining.wait(RETRY_S)

    def _caught_up(self, lake: Lake, given_up: int, partitions: frozenset[int]) -> bool:
        """Whether the live position was met; False where the process got or gave up partitions meanwhile, be it that
        it has them again."""
        restorer = self._restorer()
        facts = read_topic_facts(self._settings, self._streams)
        starts = restorer.starts(facts)
        owned = owned_part(starts, partitions)
        steps = {stream: restorer.steps(facts[stream], owned[stream]) for stream in self._streams}
        restorer.confirm(facts)
        reader = PartitionReader(self._settings, facts, as_positions(owned))
        held: list[StreamBatch] = []
        try:
            while not lake.draining.is_set() and (given_up, partitions) == (lake.given_up, self._owned()):
                began = time.monotonic()
                if not held:
                    messages = reader.read(wait_s=0.1, linger_s=0.0, limit=_CATCH_UP_MESSAGES)
                    held = [self._worked(steps[read.stream], read) for read in self._in_pieces(messages)]
                held = [rest for batch in held if (rest := lake.put(batch, given_up)).messages.intervals]
                # One interpreter serves both: half of its time is left to the live path and its alerts.
                lake.draining.wait(min(time.monotonic() - began, _LONGEST_YIELD_S))
                # What is held has been read and is not the lake's yet.
                if not held and lake.met(by_topic_id(facts, reader.positions), given_up):
                    return True
            return False
        finally:
            reader.close()

    def _in_pieces(self, messages: list[MessageBatch]) -> Iterator[MessageBatch]:
        for batch in messages:
            yield from self._poison.apart(batch)

    def _worked(self, steps: StreamSteps, piece: MessageBatch) -> StreamBatch:
        if self._poison.is_convicted(piece):
            return steps.set_aside(piece)
        return steps.withhold(steps.all(piece), time.time_ns() // 1000)
