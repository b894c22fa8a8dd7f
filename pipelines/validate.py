"""What cannot be true of a message: about another person than its key says, of a time that is not yet, no number.

Holds: the checks that need more than one field of a message, or its position.
Does not hold: the reading of single fields (`decode`, `normalise`), nor rules over many rows (`expectations`).
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.batch import Reject, StreamBatch
from warehouse.contract import StreamContract

STAGE = "validate"

_SECOND_US = 1_000_000
# Python, Iceberg and DuckDB agree on these years; Arrow's own reach further.
_FIRST_US = int(datetime(1, 1, 1, tzinfo=UTC).timestamp()) * _SECOND_US
_LAST_US = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * _SECOND_US + _SECOND_US - 1

Finding = tuple[np.ndarray, str, str]
"""bool[rows] of what is wrong, reason, detail (the field, never a value)."""


def validate(batch: StreamBatch, contract: StreamContract) -> StreamBatch:
    """The batch without the rows that cannot be true.

    Rejects, the first that holds: `subject_mismatch` (key and payload name different persons, or the payload names
    one and the key a device), `missing_subject` (the key names a person, the payload none), `implausible_time` (before
    the contract's earliest, or in no year from 1 to 9999), `time_in_future` (further ahead of the broker's append time
    than the contract allows), `not_finite`.
    """
    findings = [*_subjects(batch, contract), *_times(batch, contract), *_numbers(batch, contract)]
    wrong = np.logical_or.reduce([mask for mask, _, _ in findings]) if findings else np.zeros(0, bool)
    if not wrong.any():
        return batch
    rejects = [
        Reject(int(batch.row_index[row]), STAGE, *_first_that_holds(findings, row)) for row in np.flatnonzero(wrong)
    ]
    return batch.keep(~wrong, rejects)


def _first_that_holds(findings: list[Finding], row: int) -> tuple[str, str]:
    return next((reason, detail) for mask, reason, detail in findings if mask[row])


def _subjects(batch: StreamBatch, contract: StreamContract) -> list[Finding]:
    if contract.subject is None:
        return []
    path = str(contract.field(contract.subject.column).path)
    named = _strings(batch.rows[contract.subject.column].combine_chunks())
    keyed = _strings(batch.subjects.take(pa.array(batch.row_index)))
    same = pc.equal(named, keyed).fill_null(False).to_numpy(zero_copy_only=False)
    no_name, no_key = (part.is_null().to_numpy(zero_copy_only=False) for part in (named, keyed))
    return [(~no_name & ~same, "subject_mismatch", path), (no_name & ~no_key, "missing_subject", path)]


def _strings(column: pa.Array) -> pa.Array:
    return column.cast(pa.string())


def _times(batch: StreamBatch, contract: StreamContract) -> list[Finding]:
    findings = []
    for column in contract.message:
        if column.iceberg == "timestamptz":
            time_us, given = _microseconds(batch.rows[column.name])
            impossible = given & ((time_us < _FIRST_US) | (time_us > _LAST_US))
            if column.name == contract.time.column:
                impossible |= given & _too_early(time_us, contract)
                findings.append((given & _too_far_ahead(time_us, batch, contract), "time_in_future", str(column.path)))
            findings.append((impossible, "implausible_time", str(column.path)))
    return findings


def _microseconds(column: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """int64[rows] since 1970 UTC (0 where null), bool[rows] whether given."""
    given = column.is_valid().to_numpy()
    return column.cast(pa.int64()).fill_null(0).to_numpy(), given


def _too_early(time_us: np.ndarray, contract: StreamContract) -> np.ndarray:
    earliest = contract.time.earliest
    return time_us < (_FIRST_US if earliest is None else int(earliest.timestamp()) * _SECOND_US)


def _too_far_ahead(time_us: np.ndarray, batch: StreamBatch, contract: StreamContract) -> np.ndarray:
    ahead_s = contract.time.allowed_ahead_seconds
    if ahead_s is None:
        return np.zeros(len(time_us), bool)
    return time_us > batch.messages.appended_ms[batch.row_index] * 1000 + int(ahead_s * _SECOND_US)


def _numbers(batch: StreamBatch, contract: StreamContract) -> list[Finding]:
    """JSON has no infinity, but a conversion of units can lead there."""
    return [
        (_not_finite(batch.rows[column.name]), "not_finite", str(column.path))
        for column in contract.message
        if column.iceberg in ("double", "list<double>")
    ]


def _not_finite(column: pa.ChunkedArray) -> np.ndarray:
    """bool[rows]; of a list, any of its values."""
    if not pa.types.is_list(column.type):
        return pc.invert(pc.is_finite(column)).fill_null(False).to_numpy()
    wrong = np.zeros(len(column), bool)
    if column.null_count < len(column):
        lists = column.combine_chunks()
        infinite = ~np.isfinite(pc.list_flatten(lists).to_numpy())
        wrong[pc.list_parent_indices(lists).to_numpy()[infinite]] = True
    return wrong
