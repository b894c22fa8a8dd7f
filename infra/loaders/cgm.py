"""A file of continuous glucose readings, replayed as `iot.patient`.

Holds: the loader of a CSV with the columns id, time (without zone, taken as UTC) and gl (mg/dL).
Does not hold: the data; the five real people are the example of the R package iglu.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv

from infra.loaders.loaded import (
    WEARABLES,
    Item,
    Loaded,
    epoch_ms,
    event_id,
    existing,
    patient_id,
    reading,
    stay_end_ms,
)
from infra.simulator.ward import Event

GLUCOSE = Item(WEARABLES, "gl", "99504-3", "mg/dL")


def load(path: Path, end_ms: int, stays: int | None = None) -> Loaded:
    """The first `stays` people of the file, each one's last reading in the hour before `end_ms`.

    Raises `SourceMissingError`.
    """
    table = pv.read_csv(existing(path, "a CSV of glucose readings with the columns id, time, gl"))
    people = pc.unique(table["id"]).slice(0, stays).to_pylist()
    table = table.filter(pc.is_in(table["id"], pa.array(people)))
    given = table.filter(pc.is_valid(table["gl"])).sort_by("time")
    events = sorted(
        (e for n, person in enumerate(people) for e in _person(n, given, person, end_ms)), key=lambda e: e.due_ms
    )
    return Loaded(events, {"gl": GLUCOSE}, len(table), len(table), {"no number": len(table) - len(given)})


def _person(number: int, table: pa.Table, person: str, end_ms: int) -> Iterator[Event]:
    rows = table.filter(pc.equal(table["id"], person)).select(["time", "gl"]).to_pylist()
    patient, device = patient_id("cgm", number + 1), f"CGM-{number:04d}"
    shift_ms = stay_end_ms(number, end_ms) - epoch_ms(rows[-1]["time"]) if rows else 0
    for seq, row in enumerate(rows, 1):
        at_ms = epoch_ms(row["time"]) + shift_ms
        identity = event_id("cgm", person, seq)
        yield reading(GLUCOSE, identity, patient, row["gl"], at_ms, device_id=device, ward="HOME-DIABETES", seq=seq)
