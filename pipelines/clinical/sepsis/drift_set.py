"""Stays of a parquet file with their values as sent: what drift is judged on offline.

Holds: the reading. Does not hold: facts, profiles, labels (`learning_set.py` has those).

Columns are the challenge's, as `learning_set.py` names them; `ward` and `device` besides, one value a stay, where a
site has them. Without them the kind of unit stands for the ward.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.clinical.sepsis.learning_set import CONTEXT_COLUMNS, LearningSetError, panel_of_columns
from pipelines.clinical.sepsis.panel import Panel, with_values
from pipelines.clinical.sepsis.stay_facts import StayFacts, facts_of
from pipelines.clinical.sepsis.variables import NAMES, VARIABLES

WARDS = np.array(["unknown", "medical", "surgical"])


def facts_of_parquet(path: Path) -> StayFacts:
    """The facts of a file's stays. Raises `LearningSetError`."""
    panel, ward, device = read_as_sent(path)
    return facts_of(panel, ward, device)


def read_as_sent(path: Path) -> tuple[Panel, NDArray[np.str_], NDArray[np.str_]]:
    """Hours with values as sent (canonical unit, implausible ones kept), ward and device of each stay.

    Raises `LearningSetError`.
    """
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise LearningSetError(f"{path}: cannot be read as parquet") from error
    if missing := [name for name in ("patient_id", *NAMES, *CONTEXT_COLUMNS) if name not in table.column_names]:
        raise LearningSetError(f"{path}: no column {', '.join(missing)}")
    table = table.sort_by([("patient_id", "ascending"), ("ICULOS", "ascending")])
    if not len(table):
        raise LearningSetError(f"{path}: no rows")
    columns = {name: _numbers(table[name]) for name in (*NAMES, *CONTEXT_COLUMNS)}
    encoded = table["patient_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    starts = np.r_[0, np.flatnonzero(np.diff(encoded)) + 1, len(encoded)].astype(np.int64)
    panel = panel_of_columns(columns, starts, str(path))
    sent = np.stack([columns[v.name] * v.factor for v in VARIABLES], axis=1).astype(np.float32)
    unit = np.nan_to_num(panel.unit[starts[:-1]]).astype(int)
    return with_values(panel, sent), _words(table, "ward", starts, WARDS[unit]), _words(table, "device", starts, None)


def _words(
    table: pa.Table, name: str, starts: NDArray[np.int64], otherwise: NDArray[np.str_] | None
) -> NDArray[np.str_]:
    if name not in table.column_names:
        return np.full(len(starts) - 1, "") if otherwise is None else otherwise
    first = table[name].take(pa.array(starts[:-1])).cast(pa.string())
    return pc.fill_null(first, "").to_numpy(zero_copy_only=False).astype(np.str_)


def _numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    return pc.fill_null(column.cast(pa.float64()), float("nan")).to_numpy()
