"""What is computed of a day before it is judged: columns that GX cannot make, as numbers only.

Holds: the order of positions and of versions, what lies in a wave, and how long rows were under way.
Does not hold: what is expected of them (`suites.py`). Pure and vectorised; no measure carries a word of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.contract import TableContract, Versions

APPEND_STEP = "append_step_us"
VERSION_STEP = "version_step"
INGEST_SECONDS = "ingest_seconds"
WAVE_COUNT, WAVE_LEAST, WAVE_GREATEST = "samples_count", "samples_least", "samples_greatest"


@dataclass(frozen=True, slots=True)
class Measure:
    """A computed column: its name, the columns it is made of, and how; float64[rows], NaN where it says nothing."""

    name: str
    columns: frozenset[str]
    of: Callable[[pa.Table], np.ndarray]


def measures_of(table: TableContract) -> Mapping[str, Measure]:
    """The measures that the columns and versions of a table allow, by name."""
    found = [
        Measure(APPEND_STEP, frozenset({"topic_id", "kafka_partition", "kafka_offset", "kafka_time"}), append_steps),
        Measure(INGEST_SECONDS, frozenset({"ingest_time", "kafka_time"}), ingest_seconds),
        *(Measure(name, frozenset({"samples"}), of) for name, of in _WAVES.items()),
    ]
    if table.versions and any(column in table.versions.ranks for column in table.versions.order):
        versions = table.versions
        needed = frozenset({*versions.key, *versions.order})
        found.append(Measure(VERSION_STEP, needed, lambda rows: version_steps(rows, versions)))
    return {measure.name: measure for measure in found if measure.columns <= table.names}


def with_measures(rows: pa.Table, measures: Mapping[str, Measure], wanted: set[str]) -> pa.Table:
    """`rows` with the wanted measures whose columns are there; NaN becomes null."""
    for name in sorted(wanted & measures.keys()):
        if measures[name].columns <= set(rows.column_names):
            rows = rows.append_column(name, pa.array(measures[name].of(rows), from_pandas=True))
    return rows


def append_steps(rows: pa.Table) -> np.ndarray:
    """Microseconds from the append time of the row before, by offset, in the same partition: below 0, time ran back."""
    order = _order(rows, ["topic_id", "kafka_partition", "kafka_offset"])
    same = _same(rows, ["topic_id", "kafka_partition"], order)
    return _steps(_microseconds(rows["kafka_time"]).astype(np.float64), same, order)


def version_steps(rows: pa.Table, versions: Versions) -> np.ndarray:
    """Rise of rank from the version before, in the order that the contract names: below 0, a lesser word came after a
    greater one (a preliminary result after the final one)."""
    ranked = next(column for column in versions.order if column in versions.ranks)
    rank = pc.index_in(rows[ranked], pa.array(versions.ranks[ranked], pa.string())).to_numpy().astype(np.float64)
    before = [column for column in versions.order if column not in versions.ranks]
    leading = versions.order[: versions.order.index(ranked)]
    order = _order(rows.append_column("rank_", pa.array(rank)), [*versions.key, *leading, "rank_", *before])
    return _steps(rank, _same(rows, list(versions.key), order), order)


def ingest_seconds(rows: pa.Table) -> np.ndarray:
    """Seconds from the broker's append to the row's staging."""
    return (_microseconds(rows["ingest_time"]) - _microseconds(rows["kafka_time"])) / 1e6


def _wave(reduce: np.ufunc | None) -> Callable[[pa.Table], np.ndarray]:
    def of(rows: pa.Table) -> np.ndarray:
        counts = pc.list_value_length(rows["samples"]).to_numpy().astype(np.float64)
        filled = np.flatnonzero(np.nan_to_num(counts) > 0)
        if reduce is None:
            return counts
        result = np.full(len(counts), np.nan)
        if len(filled):
            values = pc.list_flatten(rows["samples"]).to_numpy().astype(np.float64)
            starts = np.concatenate([[0], np.cumsum(counts[filled])[:-1]]).astype(np.int64)
            result[filled] = reduce.reduceat(values, starts)
        return result

    return of


_WAVES = {WAVE_COUNT: _wave(None), WAVE_LEAST: _wave(np.minimum), WAVE_GREATEST: _wave(np.maximum)}


def _microseconds(times: pa.ChunkedArray) -> np.ndarray:
    return times.cast(pa.int64()).fill_null(0).to_numpy()


def _order(rows: pa.Table, columns: list[str]) -> np.ndarray:
    """Row numbers sorted by the columns."""
    return pc.sort_indices(rows, sort_keys=[(name, "ascending") for name in columns]).to_numpy()


def _same(rows: pa.Table, columns: list[str], order: np.ndarray) -> np.ndarray:
    """bool[rows - 1]: whether neighbours in `order` agree in the columns."""
    same = np.ones(max(0, len(order) - 1), bool)
    for name in columns:
        codes = pc.fill_null(rows[name].combine_chunks().dictionary_encode().indices, -1).to_numpy()[order]
        same &= codes[1:] == codes[:-1]
    return same


def _steps(values: np.ndarray, same: np.ndarray, order: np.ndarray) -> np.ndarray:
    steps = np.full(len(values), np.nan)
    ordered = values[order]
    steps[order[1:]] = np.where(same, ordered[1:] - ordered[:-1], np.nan)
    return steps
