"""What a batch leaves in the lake: the rows of its own table, its rejects, its duplicates, what consent withholds, each
with its position; and the messages as they came where the contract keeps them.

Holds: the making of Arrow tables in the schema of a table's contract, and on the way the sealing of messages and of
what a contract does not know, and the coarsening of what is kept generalised.
Does not hold: when they are written and where to (`committer.py`, `warehouse/commit.py`), nor the sealing itself.

Strings that repeat are dictionary-encoded; otherwise the schema is `arrow_schema(table)`.
"""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.batch import ERASED, StreamBatch
from warehouse.contract import TableContract
from warehouse.contract_model import UNKNOWN_FIELDS, UNKNOWN_SEALED_UNDER
from warehouse.identity import RejectedMessage, RejectKeys, seal_for, seal_messages, seal_rejects
from warehouse.tables import arrow_schema

TIMESTAMP = pa.timestamp("us", "UTC")

# Here the key is not believed: whose message it is is what is in question.
_SUBJECT_IN_DOUBT = frozenset({"subject_mismatch"})
_EPOCH = date(1970, 1, 1)
_DAY_MS = 86_400_000


def table_rows(batch: StreamBatch, keys: RejectKeys, table: TableContract, ingest_time_us: int) -> pa.Table:
    """The rows of the stream's own table. `ingest_time_us`: microseconds since 1970 UTC.

    Calls the vault only where a message has fields that its contract does not know (`VaultUnavailableError`: wait and
    call again).
    """
    columns = {name: batch.rows[name] for name in batch.rows.column_names}
    columns["subject_token"] = _tokens(batch, batch.row_index)
    for column in table.columns:
        if column.protection == "generalised":
            columns[column.name] = pc.year(columns[column.name])
    if UNKNOWN_FIELDS in table.names:
        columns |= _unknown_fields(batch, keys)
    return _table(table, columns | _positions(batch, batch.row_index, ingest_time_us))


def _unknown_fields(batch: StreamBatch, keys: RejectKeys) -> dict[str, object]:
    """What the contract does not know of each row, sealed under its person's key, else its day's."""
    sealed: list[bytes | None] = [None] * len(batch.row_index)
    under: list[str | None] = [None] * len(batch.row_index)
    if UNKNOWN_FIELDS in batch.rows.column_names:
        fields = batch.rows[UNKNOWN_FIELDS]
        at = np.flatnonzero(fields.is_valid().to_numpy())
        index = batch.row_index[at]
        tokens = _tokens(batch, index).cast(pa.string()).to_pylist()
        payloads = fields.take(pa.array(at)).to_pylist()
        days = _days(batch.messages.appended_ms[index])
        for row, each in zip(
            at, seal_for(keys, batch.messages.stream, UNKNOWN_FIELDS, payloads, tokens, days), strict=True
        ):
            sealed[row], under[row] = each
    return {UNKNOWN_FIELDS: sealed, UNKNOWN_SEALED_UNDER: under}


def reject_rows(batch: StreamBatch, keys: RejectKeys, table: TableContract, ingest_time_us: int) -> pa.Table:
    """One row a reject, its message sealed under its person's key where the Kafka key names one, else its day's. Of a
    message refused because its person was erased only the position is kept: what is sealed is nothing.

    Calls the vault (`VaultUnavailableError`: wait and call again).
    """
    rejects, messages = batch.rejects, batch.messages
    index = np.array([reject.index for reject in rejects], np.int64)
    tokens = _believed_tokens(batch, index)
    kept = [reject.reason != ERASED for reject in rejects]
    values = [messages.values[at] if keep else None for at, keep in zip(index, kept, strict=True)]
    names = [messages.keys[at] if keep else None for at, keep in zip(index, kept, strict=True)]
    sealed = seal_rejects(
        keys,
        messages.stream,
        list(map(RejectedMessage, names, values)),
        tokens,
        _days(messages.appended_ms[index]),
    )
    columns = {
        "stream": _constant(messages.stream, len(index)),
        "stage": [reject.stage for reject in rejects],
        "reason": [reject.reason for reject in rejects],
        "detail": [reject.detail or None for reject in rejects],
        "subject_token": tokens,
        "sealed_payload": [each.payload for each in sealed],
        "sealed_under": [each.under for each in sealed],
        "size_bytes": [len(value or b"") for value in values],
    }
    return _table(table, columns | _positions(batch, index, ingest_time_us))


def raw_rows(batch: StreamBatch, keys: RejectKeys, table: TableContract, ingest_time_us: int) -> pa.Table:
    """One row a message, whatever became of it but refused as an erased person's: key and payload sealed as a reject's.

    The batch must still have its payloads (`StreamBatch.without_payloads`). Calls the vault
    (`VaultUnavailableError`: wait and call again).
    """
    refused = [reject.index for reject in batch.rejects if reject.reason == ERASED]
    if refused:
        batch = batch.without(refused)
    messages = batch.messages
    index = np.arange(len(messages))
    doubted = np.zeros(len(messages), bool)
    doubted[[reject.index for reject in batch.rejects if reject.reason in _SUBJECT_IN_DOUBT]] = True
    tokens = pc.if_else(pa.array(doubted), None, _tokens(batch, index).cast(pa.string())).to_pylist()
    whole = [RejectedMessage(key, value) for key, value in zip(messages.keys, messages.values, strict=True)]
    sealed = seal_messages(keys, messages.stream, whole, tokens, _days(messages.appended_ms))
    columns = {
        "stream": _constant(messages.stream, len(messages)),
        "subject_token": tokens,
        "sealed_message": [each.payload for each in sealed],
        "sealed_under": [each.under for each in sealed],
        "size_bytes": [len(value or b"") for value in messages.values],
    }
    return _table(table, columns | _positions(batch, index, ingest_time_us))


def duplicate_rows(batch: StreamBatch, table: TableContract, ingest_time_us: int) -> pa.Table:
    """One row a duplicate, with the offset in its partition where the event stood first."""
    duplicates = batch.duplicates
    columns = {
        "stream": _constant(batch.messages.stream, len(duplicates)),
        "event_id": duplicates.event_ids,
        "subject_token": _tokens(batch, duplicates.index),
        "first_offset": duplicates.first_offsets,
    }
    return _table(table, columns | _positions(batch, duplicates.index, ingest_time_us))


def withheld_rows(
    batch: StreamBatch, table: TableContract, categories: tuple[str, ...], ingest_time_us: int
) -> pa.Table:
    """One row a message that its patient's consent keeps out. `categories`: those of which one would have let it in."""
    n = len(batch.withheld)
    columns = {"stream": _constant(batch.messages.stream, n), "categories": _constant(" ".join(categories), n)}
    return _table(table, columns | _positions(batch, batch.withheld, ingest_time_us))


def _table(table: TableContract, columns: dict[str, object]) -> pa.Table:
    """The contract's columns, in its order and types."""
    schema = arrow_schema(table)
    arrays = [_typed(columns[field.name], field.type) for field in schema]
    fields = [field.with_type(array.type) for field, array in zip(schema, arrays, strict=True)]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _typed(column: object, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    if not isinstance(column, pa.Array | pa.ChunkedArray):
        return pa.array(column, kind)
    dictionary = pa.types.is_dictionary(column.type) and column.type.value_type == kind
    return column if dictionary or column.type == kind else column.cast(kind)


def _positions(batch: StreamBatch, index: np.ndarray, ingest_time_us: int) -> dict[str, pa.Array]:
    messages = batch.messages
    return {
        "topic_id": _constant(messages.topic_id, len(index)),
        "kafka_partition": pa.array(messages.partitions[index], pa.int32()),
        "kafka_offset": pa.array(messages.offsets[index], pa.int64()),
        "kafka_time": pa.array(messages.appended_ms[index] * 1000, TIMESTAMP),
        "ingest_time": pa.array(np.full(len(index), ingest_time_us, np.int64), TIMESTAMP),
    }


def _constant(word: str, n: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([word], pa.string()))


def _tokens(batch: StreamBatch, index: np.ndarray) -> pa.DictionaryArray:
    return batch.tokens.take(pa.array(index, pa.int64()))


def _believed_tokens(batch: StreamBatch, index: np.ndarray) -> list[str | None]:
    doubted = pa.array([reject.reason in _SUBJECT_IN_DOUBT for reject in batch.rejects], pa.bool_())
    tokens = _tokens(batch, index).cast(pa.string())
    return pc.if_else(doubted, None, tokens).to_pylist()


def _days(appended_ms: np.ndarray) -> list[date]:
    """The day (UTC) of each append time."""
    return [_EPOCH + timedelta(days=day) for day in (appended_ms // _DAY_MS).tolist()]
