"""The steps of one stream, bound to the contract and the state they need.

Holds: `StreamSteps`, one method a step of the graph, and the same steps in a row for those who read beside the graph.
Does not hold: what a step computes (one module each).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pipelines.batch import ERASED, MessageBatch, Reject, StreamBatch
from pipelines.decode.json import JsonDecoder
from pipelines.deduplicate import NOTHING_KNOWN, FirstPositions, deduplicate
from pipelines.known_outcomes import KnownOutcomes
from pipelines.normalise import normalise
from pipelines.poison import emptied
from pipelines.pseudonymise import pseudonymise
from pipelines.validate import validate
from pipelines.withhold import said, withhold
from warehouse.consent.filters import REGISTRY
from warehouse.consent.histories import Histories
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
        consents: Histories | None = None,
    ) -> None:
        self._contract, self._tokenizer = contract, tokenizer
        self._first_positions, self._known = first_positions, known
        self._consents = Histories(()) if consents is None else consents
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

    def withhold(self, batch: StreamBatch, now_us: int) -> StreamBatch:
        """The batch without what consent keeps out; of the registry's stream, the batch, and what it says is known from
        now on. `now_us`: microseconds since 1970 UTC."""
        if self._contract.name == REGISTRY and len(batch.row_index):
            self._consents.take(said(batch))
        return withhold(batch, self._consents, self._contract, now_us, self._known)

    def people(self) -> list[str]:
        """The tokens of those whose consent is remembered."""
        return self._consents.people()

    def forget(self, tokens: Iterable[str]) -> None:
        """Nothing is remembered of these any more."""
        self._consents.forget(tokens)

    def set_aside(self, messages: MessageBatch) -> StreamBatch:
        """Messages that end the process, as rejects of which no step sees more than the position."""
        blank = self.all(emptied(messages))
        refused = {reject.index: reject for reject in blank.rejects if reject.reason == ERASED}
        rejects = tuple(refused.get(index, Reject(index, "read", "poison")) for index in range(len(messages)))
        return replace(blank, messages=messages, rejects=rejects, is_set_aside=True)

    def all(self, messages: MessageBatch) -> StreamBatch:
        """Every step in the graph's order."""
        batch = self.decode(self.pseudonymise(StreamBatch(messages)))
        return self.deduplicate(self.validate(self.normalise(batch)))
