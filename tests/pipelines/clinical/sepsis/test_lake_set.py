"""Stays of the lake become a learning set: hours as the stream has them, labels from the onset that was told."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from pipelines.clinical.sepsis.lake_set import held_out, learning_set, panel_of_rows, part
from pipelines.clinical.sepsis.utility import NEVER_H, hours_from_onset
from pipelines.clinical.sepsis.variables import INDEX
from tests.pipelines.clinical.sepsis.stream_rows import at, reading, result

US = pa.timestamp("us", "UTC")
EMPTY_ADT = pa.table(
    {
        name: pa.array([], pa.string() if name not in ("event_time", "recorded_at", "birth_year") else
                       US if name != "birth_year" else pa.int32())
        for name in ("subject_token", "stay_id", "event_id", "type", "ward", "bed", "event_time", "recorded_at",
                     "birth_year", "sex")
    }
)  # fmt: skip


def table(rows: list[dict[str, object]]) -> pa.Table:
    made = pa.Table.from_pylist(rows)
    times = dict.fromkeys(("event_time", "kafka_time", "collected_at", "reported_at"), US)
    for name, kind in times.items():
        if name in made.column_names:
            made = made.set_column(made.column_names.index(name), name, made[name].cast(kind))
    for name in ("quality_flag", "text_value"):
        if name in made.column_names:
            made = made.set_column(made.column_names.index(name), name, made[name].cast(pa.string()))
    return made


def outcomes(*rows: tuple[str, str, float | None]) -> pa.Table:
    return pa.table(
        {
            "subject_token": [row[0] for row in rows],
            "outcome": [row[1] for row in rows],
            "onset_at": pa.array([None if row[2] is None else at(row[2]) for row in rows], US),
            "said_at": pa.array([at(60) for _ in rows], US),
        }
    )


def rows() -> dict[str, pa.Table]:
    hours = range(20)
    readings = [reading(token, "8867-4", 80.0 + hour, hour) for token in ("a", "b") for hour in hours]
    labs = [result("a", "o1", "2524-7", 4.0, 5.0)]
    return {"vitals": table(readings), "wearables": table(readings[:0]), "labs": table(labs), "adt_events": EMPTY_ADT}


def test_labels_begin_six_hours_before_the_onset_that_was_told() -> None:
    given = learning_set(rows(), outcomes(("a", "sepsis", 12.5), ("b", "no_sepsis", None)))
    by_patient = dict(zip(given.patients.tolist(), range(2), strict=True))
    starts = given.panel.starts
    septic = given.labels[starts[by_patient["a"]] : starts[by_patient["a"] + 1]]
    assert np.flatnonzero(septic).tolist() == list(range(6, 20))
    assert not given.labels[starts[by_patient["b"]] : starts[by_patient["b"] + 1]].any()


@pytest.mark.parametrize(("onset", "left_out"), [(-10.0, 1), (0.5, 1), (5.9, 1), (6.0, 0)])
def test_who_was_septic_before_the_seventh_hour_is_left_out_and_counted(onset: float, left_out: int) -> None:
    given = learning_set(rows(), outcomes(("a", "sepsis", onset), ("b", "no_sepsis", None)))
    assert (given.panel.stays, given.early_onsets) == (2 - left_out, left_out)
    since = hours_from_onset(given.labels, given.panel.starts)
    told = since[since != NEVER_H]
    assert len(told) == 20 * (1 - left_out)
    assert told.tolist() == [hour - int(onset) for hour in range(len(told))], "what is left has the onset that was told"


def test_nobody_is_left_where_all_were_septic_before() -> None:
    with pytest.raises(ValueError, match="before their sepsis"):
        learning_set(rows(), outcomes(("a", "sepsis", 1.0), ("b", "sepsis", -3.0)))


def test_hours_and_values_are_those_of_the_stream() -> None:
    panel, tokens, _ = panel_of_rows(rows())
    first = int(panel.starts[tokens.index("a")])
    assert panel.hour[first : first + 20].tolist() == list(range(1, 21))
    assert panel.values[first : first + 20, INDEX["HR"]].tolist() == [80.0 + hour for hour in range(20)]
    assert panel.values[first + 5, INDEX["Lactate"]] == 4.0


def test_nobody_measured_is_said() -> None:
    nothing = {name: each.slice(0, 0) for name, each in rows().items()}
    with pytest.raises(ValueError, match="no measurement"):
        panel_of_rows(nothing)


def test_a_patient_is_always_on_the_same_side_of_the_gate() -> None:
    tokens = [f"token{n}" for n in range(2000)]
    aside = held_out(tokens)
    assert np.array_equal(aside[::-1], held_out(tokens[::-1]))
    assert 0.15 < aside.mean() < 0.25


def test_a_part_has_the_rows_and_labels_of_its_stays() -> None:
    given = learning_set(rows(), outcomes(("a", "sepsis", 12.5), ("b", "no_sepsis", None)))
    one = part(given, np.array([given.patients.tolist().index("a")]))
    assert one.patients.tolist() == ["a"]
    assert one.labels.sum() == 14
    assert one.digest != given.digest
