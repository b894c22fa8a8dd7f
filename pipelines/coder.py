"""How Beam would carry a `StreamBatch` between processes, and how large it takes one to be.

Holds: the coder; steps.py registers it. In our graph nothing shuffles after the source, so runners seldom encode a
batch; but they ask for the size of elements, and without a coder of its own Beam would pickle a batch to weigh it.
Does not hold: the batch (batch.py).
"""

from __future__ import annotations

import pickle

from apache_beam.coders import Coder

from pipelines.batch import StreamBatch

_USUAL_MESSAGE_BYTES = 500
"""With its objects and its row, near enough."""


class StreamBatchCoder(Coder):
    """Pickle protocol 5, in which Arrow tables and numpy arrays are their own buffers."""

    def encode(self, value: StreamBatch) -> bytes:
        return pickle.dumps(value, protocol=5)

    def decode(self, encoded: bytes) -> StreamBatch:
        return pickle.loads(encoded)

    def is_deterministic(self) -> bool:
        return False

    def estimate_size(self, value: StreamBatch) -> int:
        # Beam asks behind every step, for a metric nobody reads: weighing each payload would cost 7 % of the process.
        return _USUAL_MESSAGE_BYTES * len(value.messages)

    def to_type_hint(self) -> type:
        return StreamBatch
