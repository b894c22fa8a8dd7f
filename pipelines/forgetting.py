"""What a shard remembers of somebody who was erased goes too: hours, readings, episodes, beds, consents.

Holds: whom the list of the erased names among those remembered, looked up a slice between two batches.
Does not hold: the list (`warehouse/erasure/ledger.py`), nor the forgetting itself, which is of each memory.

A change of the list is looked up for everybody remembered, a few thousand at a time, so that no alert waits for it; and
once more when every reader of messages must know of it, since until then one could bring somebody back to memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from pipelines.shards import ShardState
from warehouse.erasure.ledger import FRESH_SECONDS
from warehouse.identity import FIRST_EPOCH, Epochs, Tokenizer

AT_ONCE = 2_000
SETTLED_SECONDS = 3 * FRESH_SECONDS
"""So long after a change every batch that is worked on was read by it."""


class Forgetting:
    """Of one shard. `patients`: tokens of the identifiers that admissions name. `clock`: seconds that never run
    backwards."""

    def __init__(self, erased: Epochs, patients: Tokenizer, clock: Callable[[], float]) -> None:
        self._erased, self._patients, self._clock = erased, patients, clock
        self._number: int | None = None
        self._again_at: float | None = None
        self._left: Iterator[tuple[str, bool]] = iter(())

    def turn(self, state: ShardState) -> int:
        """Look up the next slice, if there is anything to look up; how many were forgotten."""
        number, now = self._erased.changes(), self._clock()
        if number != self._number:
            self._number, self._again_at = number, now + SETTLED_SECONDS
            self._left = self._remembered(state)
        elif self._again_at is not None and now >= self._again_at:
            self._again_at, self._left = None, self._remembered(state)
        some = list(islice(self._left, AT_ONCE))
        return self._forget(state, some) if some else 0

    def _remembered(self, state: ShardState) -> Iterator[tuple[str, bool]]:
        """Tokens, and identifiers of those whom admissions named (False)."""
        tokens, patients = state.people(), state.bedsides.patients()
        return iter([*((token, True) for token in tokens), *((patient, False) for patient in patients)])

    def _forget(self, state: ShardState, some: list[tuple[str, bool]]) -> int:
        tokens = [name for name, is_token in some if is_token and self._erased.epoch_of(name) != FIRST_EPOCH]
        named = [name for name, is_token in some if not is_token]
        gone = [name for name, token in zip(named, self._patients.tokens(named), strict=True) if token is None]
        if tokens:
            state.forget(tokens)
        state.bedsides.forget(gone)
        return len(tokens) + len(gone)
