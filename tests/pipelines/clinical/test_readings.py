"""Which rows rules may look at, and as what numbers."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.clinical.readings import scorable
from pipelines.clinical.signals import SIGNALS
from tests.pipelines.clinical.wards import BASE, reading, table


def test_signals_are_known_by_the_vocabulary():
    assert [signal.name for signal in SIGNALS] == [
        "respiratory_rate",
        "spo2",
        "supplemental_oxygen",
        "sbp",
        "heart_rate",
        "level_of_consciousness",
        "temperature",
        "map",
    ]


@pytest.mark.parametrize(
    ("code", "given", "number"),
    [
        ("80288-4", "A", 0.0),
        ("80288-4", "C", 1.0),
        ("80288-4", "U", 4.0),
        ("3151-8", "air", 0.0),
        ("3151-8", "oxygen", 1.0),
        ("3151-8", 0.0, 0.0),
        ("3151-8", 2.5, 1.0),
        ("8310-5", 37.25, 37.25),
    ],
)
def test_words_and_flows_become_the_numbers_of_the_chart(code, given, number):
    assert scorable(table([reading("t0", code, given, 0, 0)])).value.tolist() == [number]


def test_rows_keep_their_place_and_subjects_their_token():
    rows = [
        reading(None, "8867-4", 80.0, 0, 0),
        reading("t1", "8867-4", 81.0, 1, 1),
        reading("t0", "8867-4", 82.0, 2, 2, flag="probe_off"),
        reading("t2", "8462-4", 60.0, 2, 3),
        reading("t2", "8867-4", 83.0, 3, 4),
    ]
    readings = scorable(table(rows))
    assert readings.row.tolist() == [1, 4]
    assert [readings.tokens[s] for s in readings.subject] == ["t1", "t2"]
    assert readings.effective_ms.tolist() == [BASE + 60_000, BASE + 180_000]


def test_a_reading_counts_from_its_event_but_never_from_after_its_append():
    times = [(0, 0), (1, 3), (53, 3), (3.00001, 3)]
    rows = [reading("t0", "8867-4", 80.0, event, n, appended=appended) for n, (event, appended) in enumerate(times)]
    assert scorable(table(rows)).effective_ms.tolist() == [BASE + m * 60_000 for m in (0, 1, 3, 3)]


def test_a_slice_of_a_table_with_several_chunks_reads_the_same():
    rows = [reading(f"t{n % 3}", "8867-4", float(n + 60), n, n) for n in range(9)]
    whole = scorable(table(rows))
    parts = scorable(pa.concat_tables([table(rows[:4]), table(rows[4:])]))
    assert [whole.tokens[s] for s in whole.subject] == [parts.tokens[s] for s in parts.subject]
    assert np.array_equal(whole.value, parts.value)
