"""The requests that follow from a revoke: end a category of use of one person's data.

Holds: the messages to `patient.data.deletions`, made of a batch of revokes.
Does not hold: their sending (state.py, in the registry's own committer, so that no alert ever waits for it), nor the
purge.

The same revoke gives the same request, however often it is read and sent. A revoke for one stream alone ends its use
and leads to no request: a category is purged whole or not at all.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from datetime import UTC, datetime

import msgspec
import pyarrow as pa

from pipelines.batch import StreamBatch
from warehouse.consent.decision import ALL, AMBIGUOUS, NOT_UNDERSTOOD, REVOKE, canonical_scope, folded
from warehouse.contract_model import CONSENTED_PURPOSES

DELETIONS = "patient.data.deletions"
REASON, REQUESTED_BY = "consent revoked", "consent-processor"
_REQUESTS = uuid.UUID("0f6d3e5c-6c0e-5f53-9a55-7d7f0f4a2a61")
_FIELDS = ("action", "category", "scope", "reason", "provision_time", "patientId")


class RequestUnsentError(RuntimeError):
    """The broker did not take the requests that follow from revokes. They are sent again before the lake goes on."""


def deletion_requests(batch: StreamBatch, streams: Collection[str]) -> list[tuple[bytes, bytes]]:
    """(key, value) of each request that the batch's revokes lead to; identifiers in clear, for Kafka alone. `streams`:
    names that a scope may mean."""
    return list(_requests(batch, streams))


def _requests(batch: StreamBatch, streams: Collection[str]) -> Iterator[tuple[bytes, bytes]]:
    columns = [_texts(batch.rows[name]) for name in _FIELDS]
    tokens = batch.tokens.take(pa.array(batch.row_index)).to_pylist()
    appended = batch.messages.appended_ms[batch.row_index].tolist()
    for token, at_ms, action, category, scope, reason, said_at, patient in zip(tokens, appended, *columns, strict=True):
        is_whole = canonical_scope(scope, streams) in (ALL, NOT_UNDERSTOOD)
        if action == REVOKE and reason != AMBIGUOUS and is_whole:
            for each in _ended(category):
                yield patient.encode(), _request(token, patient, each, said_at, at_ms)


def _ended(category: str) -> list[str]:
    """The categories a revoke ends. What rests on law, or is a site's own word, ends nothing that could be purged."""
    word = folded(category)
    return sorted(CONSENTED_PURPOSES if word == ALL else CONSENTED_PURPOSES & {word})


def _request(token: str, patient: str, category: str, said_at: int, at_ms: int) -> bytes:
    """`said_at`: microseconds since 1970 UTC, a part of what makes the request this one. `at_ms`: when it was known."""
    identity = f"consent-{uuid.uuid5(_REQUESTS, f'{token}|{category}|{said_at}')}"
    return msgspec.json.encode(
        {
            "event_id": identity,
            "request_id": identity,
            "patient_id": patient,
            "category": category,
            "reason": REASON,
            "requested_at": datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds"),
            "requested_by": REQUESTED_BY,
        }
    )


def _texts(column: pa.ChunkedArray) -> list[str | int | None]:
    """Values as Python has them; times as microseconds since 1970 UTC."""
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
    return column.to_pylist()
