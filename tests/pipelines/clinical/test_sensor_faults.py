"""Marks on readings, worked by hand: what each fault looks like, and what looks like it and is none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from pipelines.clinical.sensor_faults import (
    FLAT_LINE,
    IMPOSSIBLE_SLOPE,
    LIMITS,
    PROBE_OFF,
    STUCK,
    sensor_faults,
)
from warehouse.vocabulary import (
    CGM_GLUCOSE,
    CODES,
    ECG_LEAD_II,
    HEART_RATE,
    MAP,
    SPO2,
    SUPPLEMENTAL_OXYGEN,
    TEMPERATURE,
)

BEGIN = datetime(2026, 11, 21, 8, tzinfo=UTC)
SCHEMA = pa.schema(
    {
        "device_id": pa.string(), "code": pa.string(), "subject_token": pa.string(),
        "event_time": pa.timestamp("us", "UTC"), "numeric_value": pa.float64(), "quality_flag": pa.string(),
        "samples": pa.list_(pa.float64()), "period_ms": pa.float64(),
    }
)  # fmt: skip


def series(code: str, every_s: float, *values: float | None, patient: str = "A", device: str = "M") -> list[dict]:
    """Readings of one signal, so many seconds apart."""
    return [
        {"device_id": device, "code": code, "subject_token": patient, "numeric_value": value,
         "event_time": BEGIN + timedelta(seconds=every_s * number)}
        for number, value in enumerate(values)
    ]  # fmt: skip


def wave(code: str, period_ms: float, values: list[float]) -> list[dict]:
    return [{**series(code, 1, None)[0], "samples": values, "period_ms": period_ms}]


def marks(rows: list[dict]) -> list[tuple[int, str]]:
    found = sensor_faults(pa.Table.from_pylist(rows, schema=SCHEMA))
    return list(zip(found["reading"].to_pylist(), found["fault"].to_pylist(), strict=True))


def test_nothing_is_marked_in_nothing() -> None:
    assert marks([]) == []


def test_a_pressure_unchanged_for_a_quarter_of_an_hour_is_stuck_in_all_its_readings() -> None:
    still = series(MAP, 60, *[72.0] * 16)
    assert marks(still) == [(n, STUCK) for n in range(16)]
    assert marks(series(MAP, 60, *[72.0] * 15)) == []


def test_few_readings_of_a_cuff_are_not_stuck_however_long_they_last() -> None:
    assert marks(series(MAP, 300, *[72.0] * 9)) == []


def test_a_run_ends_with_a_change_a_silence_or_another_patient() -> None:
    assert marks(series(MAP, 60, *[72.0] * 8, 73.0, *[72.0] * 8)) == []
    silence = series(MAP, 60, *[72.0] * 8)
    late = [{**row, "event_time": row["event_time"] + timedelta(minutes=16)} for row in silence]
    assert marks([*silence, *late]) == []
    assert marks([*series(MAP, 60, *[72.0] * 9), *series(MAP, 60, *[72.0] * 9, patient="B")]) == []


def test_full_saturation_and_a_steady_temperature_may_last() -> None:
    assert marks(series(SPO2, 60, *[100.0] * 600)) == []
    assert marks(series(TEMPERATURE, 60, *[37.0] * 600)) == []


def test_a_spike_is_marked_and_the_way_back_is_not() -> None:
    assert marks(series(HEART_RATE, 1, 80.0, 82.0, 240.0, 81.0, 80.0)) == [(2, IMPOSSIBLE_SLOPE)]


def test_every_spike_of_a_flapping_signal_is_marked() -> None:
    flapping = series(HEART_RATE, 1, 80.0, 240.0, 80.0, 240.0, 80.0, 240.0, 80.0)
    assert marks(flapping) == [(n, IMPOSSIBLE_SLOPE) for n in (1, 3, 5)]


def test_a_lasting_step_is_marked_where_it_begins() -> None:
    assert marks(series(TEMPERATURE, 60, 37.0, 37.1, 39.5, 39.5, 39.4)) == [(2, IMPOSSIBLE_SLOPE)]


def test_the_same_change_over_a_longer_time_is_a_patient_s() -> None:
    assert marks(series(TEMPERATURE, 3600, 37.0, 39.5)) == []
    assert marks(series(CGM_GLUCOSE, 300, 120.0, 145.0, 170.0)) == []  # 5 mg/dL a minute: steep, and possible
    assert marks(series(CGM_GLUCOSE, 300, 120.0, 200.0)) == [(1, IMPOSSIBLE_SLOPE)]  # 16 a minute is not


def test_a_change_between_patients_is_no_slope() -> None:
    assert marks([*series(HEART_RATE, 1, 80.0), *series(HEART_RATE, 1, 240.0, patient="B")]) == []


def test_a_wave_that_does_not_move_for_two_seconds_is_flat() -> None:
    beats = [0.01 * (n % 25) for n in range(500)]
    assert marks(wave(ECG_LEAD_II, 8.0, [0.0] * 250)) == [(0, FLAT_LINE)]
    assert marks(wave(ECG_LEAD_II, 8.0, [*beats, *[0.3] * 250])) == [(0, FLAT_LINE)]
    assert marks(wave(ECG_LEAD_II, 8.0, [*beats, *[0.3] * 200])) == []
    assert marks(wave(ECG_LEAD_II, 8.0, [0.0] * 125)) == [(0, FLAT_LINE)]  # all of a whole second
    assert marks(wave(ECG_LEAD_II, 8.0, [0.0] * 100)) == []  # too short to tell


def test_a_still_end_and_a_still_beginning_of_two_waves_are_not_one() -> None:
    move = [0.01 * (n % 25) for n in range(250)]
    assert marks([*wave(ECG_LEAD_II, 8.0, [*move, *[0.0] * 130]), *wave(ECG_LEAD_II, 8.0, [*[0.0] * 130, *move])]) == []


def test_zero_is_a_probe_that_is_off_where_nobody_living_shows_zero() -> None:
    assert marks(series(SPO2, 1, 97.0, 0.0, 97.0)) == [(1, PROBE_OFF)]
    assert marks(series(SUPPLEMENTAL_OXYGEN, 1, 0.0)) == []


def test_what_normalise_flagged_as_off_is_off() -> None:
    assert marks([{**series(HEART_RATE, 1, 5.0)[0], "quality_flag": "probe_off"}]) == [(0, PROBE_OFF)]


def test_a_probe_that_is_off_makes_no_slope_and_does_not_get_stuck() -> None:
    assert marks(series(MAP, 60, 80.0, *[0.0] * 20, 80.0)) == [(n, PROBE_OFF) for n in range(1, 21)]


@pytest.mark.parametrize("code", LIMITS)
def test_every_limit_is_of_a_known_number_and_names_its_source(code: str) -> None:
    assert CODES[code].numeric
    assert LIMITS[code].source
