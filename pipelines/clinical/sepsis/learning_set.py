"""Stays with their outcome, as a model learns from them: a parquet file or a folder of the challenge's `.psv` files.

Holds: reading both into a panel with labels, the digest that names what was read, and a sample of its stays by which
they are known again in another file.
Does not hold: features, folds, and the data itself (not ours to redistribute).

Columns are those of the PhysioNet/CinC Challenge 2019 (Reyna et al., Critical Care Medicine 48(2):210-217, 2020); a
parquet file has `patient_id` besides. What is there comes out in canonical units, implausible values left out, so that
a stay is the same whether it came by file or through the stream.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipelines.clinical.sepsis.panel import MEDICAL, SURGICAL, Panel, without_implausible
from pipelines.clinical.sepsis.variables import NAMES, VARIABLES

LABEL = "SepsisLabel"
SAMPLE = 1024
"""So many stays of a learning set are known again: of a file that holds a hundredth of them about ten."""
LAST_HOUR = 100_000
"""Eleven years in intensive care: what is beyond is no hour."""
AGES = (0.0, 130.0)
CONTEXT_COLUMNS = ("Age", "Gender", "Unit1", "Unit2", "HospAdmTime", "ICULOS")


class LearningSetError(ValueError):
    """The file is none to learn from. Says which and why; names no patient."""


@dataclass(frozen=True, slots=True)
class LearningSet:
    """Attributes:
    panel: the hours.
    labels: bool[n], SepsisLabel: 1 from six hours before the onset of sepsis.
    patients: one id a stay; kept in memory, for grouping.
    digest: sha256 of all that is above.
    early_onsets: stays that are not in it, since their onset lies too early for labels to say when it was.
    """

    panel: Panel
    labels: NDArray[np.bool_]
    patients: NDArray[np.str_]
    digest: str
    early_onsets: int = 0


def read_parquet(path: Path) -> LearningSet:
    """The stays of a parquet file, by patient id, then hour. Raises `LearningSetError`."""
    if not path.is_file():
        raise LearningSetError(f"{path}: no such file; a parquet file with the challenge's columns is wanted")
    rows = read_rows(path, (*NAMES, *CONTEXT_COLUMNS, LABEL))
    return of_columns(rows.numbers, rows.patients, str(path))


@dataclass(frozen=True, slots=True)
class ParquetRows:
    """Rows by patient id, then hour.

    Attributes:
        table: all columns.
        patients: str[n], the patient of each row; no row is without.
        numbers: float64[n] by name, the columns that were asked for; NaN for null.
    """

    table: pa.Table
    patients: NDArray[np.str_]
    numbers: Mapping[str, NDArray[np.float64]]


def read_rows(path: Path, names: Sequence[str]) -> ParquetRows:
    """The rows of a parquet file with these columns as numbers, and `patient_id`. Raises `LearningSetError`."""
    table = _table(path, names)
    if pa.types.is_dictionary(table.schema.field("patient_id").type):  # such a column cannot be sorted by
        table = _with_column(table, "patient_id", read_as(table, "patient_id", pa.string(), path))
    _require_patients(table["patient_id"], path)
    patients = read_as(table, "patient_id", pa.string(), path)
    for name in names:
        table = _with_column(table, name, read_as(table, name, pa.float64(), path))
    order = pc.sort_indices(table, [("patient_id", "ascending"), ("ICULOS", "ascending")])
    table, patients = table.take(order), patients.take(order).to_numpy(zero_copy_only=False).astype(np.str_)
    return ParquetRows(table, patients, {name: pc.fill_null(table[name], np.nan).to_numpy() for name in names})


def _table(path: Path, names: Sequence[str]) -> pa.Table:
    """The file as it is, once it has rows and these columns."""
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise LearningSetError(f"{path}: cannot be read as parquet") from error
    if missing := [name for name in ("patient_id", *names) if name not in table.column_names]:
        raise LearningSetError(f"{path}: no column {', '.join(missing)}")
    if not len(table):
        raise LearningSetError(f"{path}: no rows")
    return table


def _with_column(table: pa.Table, name: str, column: pa.ChunkedArray) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, column)


def _require_patients(patients: pa.ChunkedArray, path: Path) -> None:
    """Rows without an id belong to nobody: taken together they would be one stay of many patients."""
    unknown = np.flatnonzero(pc.is_null(patients, nan_is_null=True).to_numpy(zero_copy_only=False))
    if len(unknown):
        first = int(unknown[0]) + 1
        raise LearningSetError(f"{path}: rows without patient_id: {len(unknown):,}, the first is row {first:,}")


def read_as(table: pa.Table, name: str, kind: pa.DataType, path: Path) -> pa.ChunkedArray:
    """A column as text or numbers. Raises `LearningSetError` with its name; a value is not repeated."""
    try:
        return table[name].cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # The cause would show the cell.
        wanted = "text" if pa.types.is_string(kind) else "numbers"
        raise LearningSetError(f"{path}: column {name} cannot be read as {wanted}") from None


def of_columns(columns: Mapping[str, NDArray[np.float64]], patients: NDArray[np.str_], source: str) -> LearningSet:
    """Rows sorted by patient and hour, PhysioNet's columns in PhysioNet's units. Raises `LearningSetError`."""
    labels = columns[LABEL]
    if not np.isin(labels, (0.0, 1.0)).all():
        raise LearningSetError(f"{source}: {LABEL} is neither 0 nor 1 in some rows")
    starts = starts_of(patients)
    panel = panel_of_columns(columns, starts, source)
    return LearningSet(panel, labels == 1.0, patients[starts[:-1]], digest_of(panel, labels, patients[starts[:-1]]))


def starts_of(patients: NDArray[np.str_]) -> NDArray[np.int64]:
    """int64[stays + 1]: the first row of each stay, of rows sorted by patient; the last entry is their number."""
    changes = np.flatnonzero(patients[1:] != patients[:-1]) + 1
    return np.concatenate([[0], changes, [len(patients)]]).astype(np.int64)


def panel_of_columns(
    columns: Mapping[str, NDArray[np.float64]], starts: NDArray[np.int64], source: str, as_sent: bool = False
) -> Panel:
    """The panel of PhysioNet's columns; NaN where a column does not know, and unless `as_sent` where it says what
    nobody is: an age outside `AGES`, a sex that is neither 0 nor 1. Raises `LearningSetError`."""
    factors = np.array([variable.factor for variable in VARIABLES])
    values = np.stack([columns[name] for name in NAMES], axis=1) * factors
    unit = np.where(columns["Unit1"] == 1, MEDICAL, np.where(columns["Unit2"] == 1, SURGICAL, np.nan))
    hour, age, sex = columns["ICULOS"], columns["Age"], columns["Gender"]
    if not is_hour(hour).all():
        raise LearningSetError(f"{source}: ICULOS is missing in some rows, or no whole hour from 1 to {LAST_HOUR:,}")
    if not as_sent:
        age = np.where((age >= AGES[0]) & (age <= AGES[1]), age, np.nan)
        sex = np.where(np.isin(sex, (0.0, 1.0)), sex, np.nan)
    try:
        return Panel(
            values=without_implausible(values),
            starts=starts,
            hour=hour.astype(np.int64),
            age=age.astype(np.float32),
            sex=sex.astype(np.float32),
            admission_h=columns["HospAdmTime"].astype(np.float32),
            unit=unit.astype(np.float32),
        )
    except ValueError as error:
        raise LearningSetError(f"{source}: {error}") from None


def is_hour(hours: NDArray[np.float64]) -> NDArray[np.bool_]:
    """bool[n]: whether each is an hour of a stay: whole, from 1 to `LAST_HOUR`."""
    return (hours >= 1) & (hours <= LAST_HOUR) & (hours == np.floor(hours))


def digest_of(panel: Panel, labels: NDArray[np.float64], patients: NDArray[np.str_]) -> str:
    digest = hashlib.sha256()
    columns = (panel.values, panel.starts, panel.hour, panel.age, panel.sex, panel.admission_h, panel.unit)
    for part in (*columns, labels.astype(np.uint8)):
        digest.update(np.ascontiguousarray(part).tobytes())
    digest.update("\n".join(patients).encode())
    return digest.hexdigest()


def sample_of(given: LearningSet) -> list[str]:
    """Marks of stays, the `SAMPLE` least of all: which stays are in the sample follows from the stays alone."""
    return sorted(set(_marks(given)))[:SAMPLE]


def known_again(sample: Sequence[str], given: LearningSet) -> tuple[int, int]:
    """How many stays could be in a learning set's sample, and how many are. One whose hours differ is another one."""
    last = sample[-1] if len(sample) == SAMPLE else chr(0x7F)
    candidates = [mark for mark in _marks(given) if mark <= last]
    return len(candidates), len(set(sample).intersection(candidates))


def _marks(given: LearningSet) -> list[str]:
    """Of each stay eight bytes of a hash of its hours, whatever the patient is called."""
    panel = given.panel
    columns = (panel.values, panel.hour, panel.age, panel.sex)
    marks = []
    for first, last in pairwise(panel.starts.tolist()):
        digest = hashlib.sha256()
        for column in columns:
            digest.update(np.ascontiguousarray(column[first:last]).tobytes())
        marks.append(digest.hexdigest()[:16])
    return marks
