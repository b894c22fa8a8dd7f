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
from numpy.typing import NDArray

from pipelines.clinical.sepsis.learning_set import CONTEXT_COLUMNS, panel_of_columns, read_as, read_rows, starts_of
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
    rows = read_rows(path, (*NAMES, *CONTEXT_COLUMNS))
    columns, starts = rows.numbers, starts_of(rows.patients)
    panel = panel_of_columns(columns, starts, str(path), as_sent=True)
    sent = np.stack([columns[v.name] * v.factor for v in VARIABLES], axis=1).astype(np.float32)
    unit = np.nan_to_num(panel.unit[starts[:-1]]).astype(int)
    ward, device = _words(rows.table, "ward", starts, path), _words(rows.table, "device", starts, path)
    none = np.full(panel.stays, "")
    return with_values(panel, sent), WARDS[unit] if ward is None else ward, none if device is None else device


def _words(table: pa.Table, name: str, starts: NDArray[np.int64], path: Path) -> NDArray[np.str_] | None:
    """The column's word for each stay; None where there is no such column."""
    if name not in table.column_names:
        return None
    first = read_as(table.select([name]).take(pa.array(starts[:-1])), name, pa.string(), path)
    return pc.fill_null(first, "").to_numpy(zero_copy_only=False).astype(np.str_)
