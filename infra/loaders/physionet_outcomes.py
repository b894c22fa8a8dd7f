"""What became of PhysioNet's stays, as somebody would have told it at their end: sepsis, with its onset, or none.

Holds: the events of `alert.feedback` that follow the readings of `physionet.py`, in the same shifted times.
Does not hold: readings, results, admissions.

The challenge marks a septic stay's hours from six before the onset on, so the onset is six hours after the first mark.
A stay that is marked from its first hour on is told so too: when its sepsis set in is not known, and not after that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from infra.loaders.loaded import FEEDBACK, HOUR_MS, event_id, message, patient_id, stay_end_ms
from infra.simulator.reading import iso_utc
from infra.simulator.ward import Event
from pipelines.clinical.sepsis.utility import LABEL_AHEAD_H

LABEL = "SepsisLabel"


def play_outcomes(path: Path, end_ms: int, stays: int | None = None) -> list[Event]:
    """An outcome of each of the first `stays` stays by id, in the order of their times, with the shifts of
    `play_stays`; none where the file has no labels, as the challenge's hidden sets."""
    if LABEL not in pq.read_schema(path).names:
        return []
    table = pq.read_table(path, columns=["patient_id", "ICULOS", LABEL])
    marked = table.filter(pc.equal(table[LABEL], 1))
    last, first_marked = _by_stay(table, "max"), _by_stay(marked, "min")
    chosen = sorted(last)[:stays]
    events = [_of_stay(number, name, last[name], first_marked.get(name), end_ms) for number, name in enumerate(chosen)]
    return sorted(events, key=lambda event: event.due_ms)


def _by_stay(table: pa.Table, which: str) -> dict[str, int]:
    found = table.group_by("patient_id").aggregate([("ICULOS", which)])
    return dict(zip(found["patient_id"].to_pylist(), found[f"ICULOS_{which}"].to_pylist(), strict=True))


def _of_stay(number: int, name: str, last_h: int, marked_h: int | None, end_ms: int) -> Event:
    patient = patient_id("physionet", int(name[1:]))
    last_ms = stay_end_ms(number, end_ms)
    onset_ms = None if marked_h is None else last_ms + (marked_h + LABEL_AHEAD_H - last_h) * HOUR_MS
    said_ms = max(last_ms, onset_ms or last_ms)
    fields: dict[str, Any] = {
        "event_id": event_id("physionet", "outcome", patient),
        "alert_id": None, "action": "outcome", "reason": None,
        "outcome": "no_sepsis" if onset_ms is None else "sepsis",
        "onset_at": None if onset_ms is None else iso_utc(onset_ms),
        "event_time": iso_utc(said_ms),
    }  # fmt: skip
    return message(FEEDBACK, "outcome", patient, said_ms, fields)
