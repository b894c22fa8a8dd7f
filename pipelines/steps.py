"""The steps of the graph as Beam sees them: thin DoFns over process-wide state.

Holds: `ReadPartitions` and one DoFn a step, each a single call into state.py.
Does not hold: what a step does. Nothing is kept on `self` but settings: runners make several instances of one DoFn,
use them in turn, and drop them without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
from apache_beam.coders import registry
from apache_beam.utils.timestamp import Duration

from pipelines.batch import StreamBatch
from pipelines.coder import StreamBatchCoder
from pipelines.source import BATCH_MESSAGES, BUNDLE_MESSAGES, PositionProvider, Shard
from pipelines.state import process_state
from warehouse.settings import Settings

Element = tuple[str, StreamBatch]
"""(shard id, batch)"""

registry.register_coder(StreamBatch, StreamBatchCoder)


@dataclass(frozen=True, slots=True)
class Pace:
    """How a runner likes to be fed.

    Attributes:
        wait_s: how long one call may block for a first message.
        linger_s: how long others may gather behind it.
        pause_s: how long the runner is asked to wait before the next call.
    """

    wait_s: float
    linger_s: float
    pause_s: float


# Prism burns a core while a call blocks, so there the runner does the waiting.
PACES = {"embedded": Pace(0.1, 0.05, 0.0), "prism": Pace(0.0, 0.0, 0.03)}

_LOOK_AGAIN_S = 0.5
_POSITIONS = beam.DoFn.RestrictionParam(PositionProvider())


class ReadPartitions(beam.DoFn):
    """Shard -> elements, for ever, or until `Shard.until`, or until the process drains."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._pace = settings, PACES[settings.runner]

    @beam.DoFn.unbounded_per_element()
    def process(self, shard: Shard, tracker: Any = _POSITIONS) -> Iterator[Element]:
        process = process_state(self._settings)
        with process.noting_failure():
            state = process.shard(shard, tracker.current_restriction()[0])
        if process.is_draining or (state is not None and state.ended()):
            tracker.try_claim(None)
            return
        if state is None:
            tracker.defer_remainder(Duration(seconds=_LOOK_AGAIN_S))
            return
        # Claimed before anything is read: a shard that was opened anew stands elsewhere than its restriction.
        if not tracker.try_claim(state.reader.positions):
            return
        read, wait_s, linger_s = 0, self._pace.wait_s, self._pace.linger_s
        while read < BUNDLE_MESSAGES:
            with process.noting_failure():
                batches = state.reader.read(wait_s, linger_s)
            taken = sum(map(len, batches))
            # A batch may hold positions without messages.
            if not batches or not tracker.try_claim(state.reader.positions):
                break
            for batch in batches:
                yield from ((shard.id, piece) for piece in process.pieces(state, batch))
            read, wait_s, linger_s = read + taken, 0.0, 0.0
            if taken < BATCH_MESSAGES:
                break
        tracker.defer_remainder(Duration(seconds=self._pace.pause_s))


class Apply(beam.DoFn):
    """Element -> element, by one of the steps of the stream it belongs to (`StreamSteps`)."""

    def __init__(self, settings: Settings, step: str) -> None:
        self._settings, self._step = settings, step

    def process(self, element: Element) -> Iterator[Element]:
        shard_id, batch = element
        process = process_state(self._settings)
        with process.noting_failure():
            step = getattr(process.steps(shard_id, batch.messages.stream), self._step)
            done = batch if batch.is_set_aside else step(batch)
        yield shard_id, done


class DecideAndSendAlerts(beam.DoFn):
    """Element -> the same element, once the broker has every alert that it gave rise to."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def process(self, element: Element) -> Iterator[Element]:
        process = process_state(self._settings)
        with process.noting_failure():
            process.decide_and_send_alerts(*element)
        yield element


class HandToLake(beam.DoFn):
    """Element -> nothing; the batch is the lake's now."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def process(self, element: Element) -> Iterator[None]:
        process = process_state(self._settings)
        with process.noting_failure():
            process.hand_to_lake(*element)
        return iter(())
