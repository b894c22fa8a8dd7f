"""PhysioNet/CinC Challenge 2019 stays, replayed: who came, bedside vitals, laboratory results, what became of them.

Holds: the loader of `training_setA.parquet`, and its values. Their mapping to LOINC and UCUM is the sepsis model's
(`pipelines/clinical/sepsis/variables.py`).
Does not hold: the data (not ours to redistribute), admissions (`physionet_people.py`), outcomes
(`physionet_outcomes.py`).

Source: Reyna et al., Critical Care Medicine 48(2):210-217, 2020; data doi 10.13026/v64v-d857. A stay's rows are hours
since admission (`ICULOS`) without a date. Of two columns the challenge's page names a unit that the values cannot have,
lactate in mg/dL (median 1.8) and magnesium in mmol/dL (median 2.0): they leave as mmol/L and mg/dL.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from infra.loaders.loaded import (
    HOUR_MS,
    RESULTS,
    VITALS,
    Item,
    Loaded,
    event_id,
    existing,
    patient_id,
    reading,
    result,
    stay_end_ms,
)
from infra.loaders.physionet_outcomes import play_outcomes
from infra.loaders.physionet_people import play_people
from infra.simulator.ward import Event
from pipelines.clinical.sepsis.variables import VARIABLES, VITAL

COLUMNS = {
    variable.name: Item(
        VITALS if variable.kind == VITAL else RESULTS, variable.name, variable.codes[0], variable.given_in
    )
    for variable in VARIABLES
}


def load(path: Path, end_ms: int, stays: int | None = None) -> Loaded:
    """The first `stays` stays by id, all without it; each one's last hour falls within the hour before `end_ms`.

    Raises `SourceMissingError`. `rows` and `mapped` count cells with a value in the columns read.
    """
    table = load_stays(path, stays)
    cells = sum(len(table) - table[name].null_count for name in COLUMNS)
    came, outcomes = play_people(path, end_ms, stays), play_outcomes(path, end_ms, stays)
    events = heapq.merge(came, play_stays(table, end_ms), outcomes, key=lambda event: event.due_ms)
    return Loaded(events, COLUMNS, cells, cells)


def load_stays(path: Path, stays: int | None = None) -> pa.Table:
    """The first `stays` stays by id: patient_id, ICULOS, the `COLUMNS`; missing values null. Raises
    `SourceMissingError`."""
    existing(path, "training_setA.parquet of the PhysioNet Challenge 2019 (doi 10.13026/v64v-d857)")
    table = pq.read_table(path, columns=["patient_id", "ICULOS", *COLUMNS])
    wanted = pc.unique(table["patient_id"]).sort().slice(0, stays)
    chosen = table.filter(pc.is_in(table["patient_id"], wanted))
    for name in COLUMNS:
        at = chosen.schema.get_field_index(name)
        numbers = chosen[name].cast(pa.float64())
        chosen = chosen.set_column(at, name, pc.if_else(pc.is_nan(numbers), None, numbers))
    return chosen.sort_by([("patient_id", "ascending"), ("ICULOS", "ascending")])


def play_stays(stays: pa.Table, end_ms: int) -> Iterator[Event]:
    """The values of all stays in the order of their (shifted) times; event ids are the same on every call."""
    return heapq.merge(*_by_stay(stays, end_ms), key=lambda event: event.due_ms)


def _by_stay(stays: pa.Table, end_ms: int) -> list[Iterator[Event]]:
    """One iterator a stay, over its slice of the table: its rows become objects only when their turn comes."""
    if not len(stays):
        return []
    names = stays["patient_id"].combine_chunks().dictionary_encode()
    starts = [0, *(pc.indices_nonzero(pc.not_equal(names.indices[1:], names.indices[:-1])).to_numpy() + 1), len(stays)]
    return [
        _stay_events(number, stays.slice(int(start), int(end - start)), end_ms)
        for number, (start, end) in enumerate(pairwise(starts))
    ]


def _stay_events(number: int, stay: pa.Table, end_ms: int) -> Iterator[Event]:
    patient = patient_id("physionet", int(stay["patient_id"][0].as_py()[1:]))
    device = f"MON-{number % 10_000:04d}"
    shift_ms = stay_end_ms(number, end_ms) - stay["ICULOS"][-1].as_py() * HOUR_MS
    seq = 0
    for batch in stay.to_batches(max_chunksize=24):
        for row in batch.to_pylist():
            hour, at_ms = row["ICULOS"], row["ICULOS"] * HOUR_MS + shift_ms
            order = event_id("physionet", "order", patient, hour)
            for name, item in COLUMNS.items():
                if row[name] is not None:
                    seq += 1
                    identity = event_id(patient, hour, name)
                    if item.stream == RESULTS:
                        yield result(item, identity, patient, order, row[name], at_ms, at_ms)
                    else:
                        yield reading(
                            item, identity, patient, row[name], at_ms, device_id=device, ward="ICU-1", seq=seq
                        )
