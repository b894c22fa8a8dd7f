"""Every stream's memory after a restart against a monitor that never stopped, from the rows alone (a real lake:
tests/pipelines/test_rules_before.py)."""

import numpy as np
import pyarrow as pa
import pytest

from pipelines.clinical.monitor import WardMonitor
from pipelines.clinical.remembered import Remembered
from pipelines.clinical.shock_trend import WINDOW_MS
from tests.pipelines.clinical.streams import LABS, MEDICATION, VITALS, WEARABLES, hospital, past, rows_of
from tests.pipelines.clinical.test_streams import observed


def windows(rows):
    """The sums that the lake would be asked for."""
    sums = {}
    for row in rows.to_pylist():
        if row["code"] in ("8867-4", "8478-0") and row["quality_flag"] is None and row["subject_token"]:
            at_us = round(min(row["event_time"], row["kafka_time"]).timestamp() * 1e6)
            told = sums.setdefault((row["subject_token"], at_us // 1000 // WINDOW_MS), [0] * 5)
            tenths = int(np.floor(row["numeric_value"] * 10 + 0.5))
            for at, more in enumerate((1, tenths, tenths**2) if row["code"] == "8867-4" else (0, 0, 0, 1, tenths)):
                told[at] += more
    names = ("rates", "rate_sum", "rate_squares", "pressures", "pressure_sum")
    columns = {name: pa.array([told[at] for told in sums.values()], pa.int64()) for at, name in enumerate(names)}
    tokens = pa.array([token for token, _ in sums], pa.string())
    return pa.table({"subject_token": tokens, "window": pa.array([at for _, at in sums], pa.int64()), **columns})


@pytest.mark.parametrize("stop", [100, 310, 520])
def test_a_monitor_of_every_stream_goes_on_as_if_it_had_never_stopped(stop):
    told = hospital(1, minutes=240)
    going, restored = WardMonitor(), WardMonitor()
    before = observed(told[:stop], going)
    rows = {
        stream: rows_of(stream, [m for of, m in told[:stop] if of == stream]).drop_columns(["patient_id"])
        for stream in (VITALS, LABS, WEARABLES, MEDICATION)
    }
    others = Remembered(rows[LABS], rows[WEARABLES], rows[MEDICATION], windows(rows[VITALS]))
    restored.restore(rows[VITALS], past(before), others)
    expected = observed(told[stop:], going)
    assert len(expected) > 20
    assert observed(told[stop:], restored) == expected
