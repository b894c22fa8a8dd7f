"""The challenge's own files: a stay as `.psv` in, predictions as `.psv` out.

Holds: reading a folder of stays, writing a folder of predictions.
Does not hold: scores.

A stay's file has the challenge's header (columns are found by name, in any order; columns it lacks are unknown; a
column SepsisLabel is not read here) and one row an hour. Where ICULOS is missing, hours count on from the row before.
An age or a sex that nobody has counts as unknown.
Names of files are not repeated in errors beyond their own: a file is a patient.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from pipelines.clinical.sepsis.learning_set import (
    CONTEXT_COLUMNS,
    LABEL,
    LAST_HOUR,
    LearningSet,
    is_hour,
    of_columns,
    panel_of_columns,
)
from pipelines.clinical.sepsis.panel import Panel
from pipelines.clinical.sepsis.variables import NAMES

READ = (*NAMES, *CONTEXT_COLUMNS)
PREDICTION_HEADER = "PredictedProbability|PredictedLabel"


class StayFileError(ValueError):
    """A file is no stay. Says which file and line, never a value."""


@dataclass(frozen=True, slots=True)
class StayFiles:
    """Stays as read: one name a stay, in the panel's order; labels where every file has them."""

    names: tuple[str, ...]
    panel: Panel
    labels: NDArray[np.bool_] | None


def stay_files(folder: Path) -> list[Path]:
    """The `.psv` files of a folder by name. Raises `StayFileError` where there is none."""
    files = sorted(folder.glob("*.psv")) if folder.is_dir() else []
    if not files:
        raise StayFileError(f"{folder}: no .psv file here")
    return files


def read(files: list[Path]) -> StayFiles:
    """These stays. Raises `StayFileError`."""
    stays = [_stay(path) for path in files]
    starts = np.concatenate([[0], np.cumsum([len(stay) for stay in stays])]).astype(np.int64)
    table = np.concatenate(stays)
    columns = {name: table[:, at] for at, name in enumerate(READ)}
    panel = panel_of_columns(columns, starts, "these stays")  # each file's hours were looked at
    labels = table[:, -1]
    return StayFiles(tuple(path.name for path in files), panel, None if np.isnan(labels).any() else labels == 1)


def read_labelled(folder: Path) -> LearningSet:
    """A folder of stays with their outcome, one a patient. Raises `StayFileError`, `LearningSetError`."""
    files = stay_files(folder)
    stays = [_stay(path) for path in files]
    table = np.concatenate(stays)
    columns = {name: table[:, at] for at, name in enumerate((*READ, LABEL))}
    patients = np.repeat(np.array([path.stem for path in files]), [len(stay) for stay in stays])
    return of_columns(columns, patients, str(folder))


@contextmanager
def whole_folder(folder: Path) -> Generator[Path]:
    """A folder to write to, whose files are in `folder` at the end, and none of them where an error ends it: half of
    the predictions would look like all."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".unfinished-", dir=folder) as work:
        yield Path(work)
        for file in Path(work).iterdir():
            file.replace(folder / file.name)


def write(folder: Path, stays: StayFiles, risks: NDArray[np.float64], alerts: NDArray[np.bool_]) -> None:
    """One prediction file a stay, under the stay's own name; the folder is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(stays.names):
        rows = slice(int(stays.panel.starts[number]), int(stays.panel.starts[number + 1]))
        (folder / name).write_text("".join(_lines(risks[rows], alerts[rows])))


def _lines(risks: NDArray[np.float64], alerts: NDArray[np.bool_]) -> Iterator[str]:
    yield f"{PREDICTION_HEADER}\n"
    for risk, alert in zip(risks.tolist(), alerts.tolist(), strict=True):
        yield f"{risk:.12g}|{int(alert)}\n"


def _stay(path: Path) -> NDArray[np.float64]:
    """float64[hours, columns of `READ` and the label]."""
    try:
        header, *lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (ValueError, OSError) as error:
        raise StayFileError(f"{path}: empty, or not to be read as text") from error
    names = header.strip().split("|")
    if unknown := {"HR", "ICULOS"} - set(names):
        raise StayFileError(f"{path}: the first line names no column {', '.join(sorted(unknown))}")
    if twice := {name for name in names if names.count(name) > 1}:
        raise StayFileError(f"{path}: the first line names column {', '.join(sorted(twice))} twice")
    hours = [(at, line) for at, line in enumerate(lines, 2) if line.strip()]
    if not hours:
        raise StayFileError(f"{path}: no hour")
    given = np.array([_row(path, at, line, len(names)) for at, line in hours])
    place = {name: at for at, name in enumerate(names)}
    columns = [given[:, place[name]] if name in place else np.full(len(given), np.nan) for name in (*READ, LABEL)]
    stay = np.stack(columns, axis=1)
    hour = READ.index("ICULOS")
    stay[:, hour] = _counted_on(stay[:, hour])
    _require_hours(path, stay[:, hour], [at for at, _ in hours])
    return stay


def _require_hours(path: Path, hours: NDArray[np.float64], lines: list[int]) -> None:
    if len(wrong := np.flatnonzero(~is_hour(hours))):
        raise StayFileError(f"{path}, line {lines[wrong[0]]}: ICULOS is no whole hour from 1 to {LAST_HOUR:,}")
    if len(wrong := np.flatnonzero(np.diff(hours) != 1)):
        raise StayFileError(
            f"{path}, line {lines[wrong[0] + 1]}: ICULOS is not the hour after that of the line before; hours of a "
            "stay are consecutive, and one without measurements is a line of NaN"
        )


def _row(path: Path, line_number: int, line: str, columns: int) -> list[float]:
    cells = line.split("|")
    if len(cells) != columns:
        raise StayFileError(f"{path}, line {line_number}: {len(cells)} values for {columns} columns")
    try:
        return [float(cell) if cell.strip() else float("nan") for cell in cells]
    except ValueError:
        raise StayFileError(f"{path}, line {line_number}: a value is no number") from None


def _counted_on(hours: NDArray[np.float64]) -> NDArray[np.float64]:
    """The hours with gaps counted on from the hour before, the first from 1."""
    out = hours.copy()
    for at in np.flatnonzero(np.isnan(hours)):
        out[at] = out[at - 1] + 1 if at else 1
    return out
