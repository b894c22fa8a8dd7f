"""The steps of one stream, bound to the contract and the state they need.

Holds: `StreamSteps`, one method a step of the graph, and the same steps in a row for those who read beside the graph.
Does not hold: what a step computes (one module each).
"""

from __future__ import annotations

from dataclasses import replace

from pipelines.batch import MessageBatch, Reject, StreamBatch
from pipelines.decode.json import JsonDecoder
from pipelines.deduplicate import NOTHING_KNOWN, FirstPositions, deduplicate
from pipelines.known_outcomes import KnownOutcomes
from pipelines.normalise import normalise
from pipelines.poison import emptied
from pipelines.pseudonymise import pseudonymise
from pipelines.validate import validate
from warehouse.contract import StreamContract
from warehouse.identity import Tokenizer


class StreamSteps:
    """Not thread-safe: who reads beside the graph makes one of its own."""

    def __init__(
        self,
        contract: StreamContract,
        tokenizer: Tokenizer,
        first_positions: FirstPositions,
        known: KnownOutcomes = NOTHING_KNOWN,
    ) -> None:
        self._contract, self._tokenizer = contract, tokenizer
        self._first_positions, self._known = first_positions, known
        self._decoder = JsonDecoder(contract)

    def pseudonymise(self, batch: StreamBatch) -> StreamBatch:
        return pseudonymise(batch, self._tokenizer, self._contract)

    def decode(self, batch: StreamBatch) -> StreamBatch:
        return self._decoder.decode(batch)

    def normalise(self, batch: StreamBatch) -> StreamBatch:
        return normalise(batch, self._contract)

    def validate(self, batch: StreamBatch) -> StreamBatch:
        return validate(batch, self._contract)

    def deduplicate(self, batch: StreamBatch) -> StreamBatch:
        return deduplicate(batch, self._first_positions, self._contract, self._known)

    def set_aside(self, messages: MessageBatch) -> StreamBatch:
        """Messages that end the process, as rejects of which no step sees more than the position."""
        blank = self.all(emptied(messages))
        rejects = tuple(Reject(index, "read", "poison") for index in range(len(messages)))
        return replace(blank, messages=messages, rejects=rejects, is_set_aside=True)

    def all(self, messages: MessageBatch) -> StreamBatch:
        """Every step in the graph's order."""
        batch = self.decode(self.pseudonymise(StreamBatch(messages)))
        return self.deduplicate(self.validate(self.normalise(batch)))
