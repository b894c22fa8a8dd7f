"""What a patient's consent keeps out of the lake, and what patients say of their consent.

Holds: the step that takes rows out of a batch, and a batch of the registry's stream as the registry has it.
Does not hold: the decision (`warehouse/consent`), the purge after a revoke (`revocations.py`).

Only streams all of whose purposes rest on consent ask for any (`StreamContract.consented`). The step stands behind the
alerts: nothing that is decided before it can depend on it. A patient who allowed one of the stream's purposes when the
event happened, and does now, is kept for that purpose; reading for another leaves the row out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa

from pipelines.batch import StreamBatch
from pipelines.known_outcomes import KnownOutcomes
from warehouse.consent.histories import Histories
from warehouse.contract import StreamContract

_TIME = pa.timestamp("us", "UTC")


def withhold(
    batch: StreamBatch, consents: Histories, contract: StreamContract, now_us: int, known: KnownOutcomes
) -> StreamBatch:
    """The batch without the rows that nobody consented to; those are in `withheld`. A row without a patient is one.

    `now_us`: microseconds since 1970 UTC. `known`: what tables already say of positions that are read again.
    """
    if not contract.consented or not len(batch.row_index):
        return batch
    index, messages = batch.row_index, batch.messages
    tokens = batch.tokens.take(pa.array(index))
    times_us = batch.rows[contract.time.column].cast(_TIME).cast(pa.int64()).to_numpy()
    allowed = np.zeros(len(index), bool)
    for category in contract.consented:
        allowed |= consents.permits_use(tokens, times_us, category, contract.name, now_us)
    withheld = known.withheld(messages.partitions[index], messages.offsets[index], ~allowed)
    return replace(batch.keep(~withheld, []), withheld=index[withheld])


def said(batch: StreamBatch) -> pa.Table:
    """The rows of a batch of the registry's stream as `Histories.take` wants them."""
    index = batch.row_index
    return batch.rows.append_column("subject_token", batch.tokens.take(pa.array(index))).append_column(
        "kafka_time", pa.array(batch.messages.appended_ms[index] * 1000, _TIME)
    )
