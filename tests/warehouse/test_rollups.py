"""Queries of derived tables on days in memory, worked by hand."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import duckdb
import pytest

from tests.expectations.day import DAY, MIDNIGHT, lab, reading, table, wave
from warehouse.contract import load_contracts
from warehouse.rollups import QUERIES, Source, lab_results, open_day, rolled_up
from warehouse.tables import arrow_schema
from warehouse.vocabulary import CGM_GLUCOSE, HEART_RATE

CONTRACTS = load_contracts()
SOURCES = ("vitals", "wearables", "alerts", "stays")


def at(hours: float) -> datetime:
    return MIDNIGHT + timedelta(hours=hours)


def derived(name: str, **sources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a derived table on the day, of sources given by table; they fit its contract's schema."""
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    open_day(connection, DAY, tuple(Source(CONTRACTS.table(source), None, None) for source in SOURCES))
    for source, rows in sources.items():
        connection.register(source, table(rows, source))
    schema = arrow_schema(CONTRACTS.table(name))
    return rolled_up(connection, name).select(schema.names).cast(schema).to_pylist()


@pytest.mark.parametrize("name", QUERIES)
def test_a_day_without_rows_has_none_and_the_contract_s_columns(name: str) -> None:
    assert derived(name) == []


def test_an_hour_has_its_mean_median_spread_and_minutes() -> None:
    values = [60.0, 70.0, 110.0]
    rows = [reading(n * 30, HEART_RATE, numeric_value=value) for n, value in enumerate(values)]
    aside = [
        reading(200, HEART_RATE, numeric_value=900.0, quality_flag="out_of_range"),
        reading(201, HEART_RATE, subject_token=None),
        wave(202),
    ]
    (hour,) = derived("vitals_by_hour", vitals=[*rows, *aside])
    assert (hour["samples"], hour["minutes"], hour["hour"]) == (3, 2, MIDNIGHT)
    assert (hour["mean"], hour["median"], hour["minimum"], hour["maximum"]) == (80.0, 70.0, 60.0, 110.0)
    assert hour["deviation"] == pytest.approx(21.602469)


def test_a_mean_of_equal_values_is_that_value_whatever_the_rounding() -> None:
    rows = [reading(n, HEART_RATE, numeric_value=70.1) for n in range(7)]
    for name in ("vitals_by_hour", "vitals_by_minute"):
        (row,) = derived(name, vitals=rows)
        assert row["minimum"] <= row["mean"] <= row["maximum"]


def alert(hour: float, token: str = "TOKEN0", level: int = 2, **changed: Any) -> dict[str, Any]:
    return {"subject_token": token, "ward": "ICU-1", "episode_start": at(hour), "level": level, **changed}


def test_a_ward_s_hour_counts_patients_readings_flags_and_alerts() -> None:
    rows = [
        reading(0, HEART_RATE),
        reading(1, HEART_RATE, quality_flag="probe_off"),
        reading(2, HEART_RATE, subject_token="B", device_id="MON-0002"),
        reading(3, HEART_RATE, subject_token=None, device_id="MON-0003"),
        reading(4, HEART_RATE, ward=None),
    ]
    first, second = derived("ward_summary", vitals=rows, alerts=[alert(0.5), alert(0.6, level=3), alert(1.5, "C")])
    assert first == {
        "ward": "ICU-1", "hour": MIDNIGHT, "patients": 2, "devices": 3, "readings": 4, "flagged": 1,
        "without_patient": 1, "alerts": 2, "alerts_highest": 1,
    }  # fmt: skip
    assert (second["hour"], second["patients"], second["readings"], second["alerts"]) == (at(1), 1, 0, 1)


def lagging(seconds: float, n: int = 40, code: str = HEART_RATE) -> list[dict[str, Any]]:
    """Readings a minute apart that came so long after their own time, through no gateway."""
    made = [reading(60 * k, code, received_at=None) for k in range(n)]
    return [{**row, "kafka_time": row["event_time"] + timedelta(seconds=seconds)} for row in made]


@pytest.mark.parametrize(
    ("lag", "offset", "flag"),
    [(0.4, None, None), (-1.5, 1.5, None), (-2.0, 2.0, "ahead"), (59.0, None, None), (1440.0, -1440.0, "behind")],
)
def test_a_clock_is_told_by_the_least_lag(lag: float, offset: float | None, flag: str | None) -> None:
    (device,) = derived("device_health", vitals=lagging(lag))
    assert (device["least_lag_s"], device["clock_offset_s"], device["clock_flag"]) == (lag, offset, flag)


def test_one_wrong_stamp_in_forty_does_not_decide() -> None:
    rows = lagging(0.5)
    rows[7]["kafka_time"] = rows[7]["event_time"] - timedelta(hours=1)
    (device,) = derived("device_health", vitals=rows)
    assert (device["clock_flag"], device["median_lag_s"]) == (None, 0.5)


def test_history_sent_again_is_no_wrong_clock() -> None:
    rows = lagging(140_400.0)
    for row in rows:
        row["received_at"] = row["event_time"] + timedelta(seconds=1)
    for table_name in ("vitals", "wearables"):
        (device,) = derived("device_health", **{table_name: rows})
        assert (device["clock_flag"], device["clock_offset_s"], device["least_lag_s"]) == (None, None, 1.0)


def test_a_clock_is_off_though_a_gateway_received_it_in_time() -> None:
    rows = lagging(0.5)
    for row in rows:
        row["received_at"] = row["event_time"] + timedelta(minutes=25)
    (device,) = derived("device_health", vitals=rows)
    assert (device["clock_flag"], device["clock_offset_s"]) == ("behind", -1500.0)


def test_a_wearable_that_sends_in_batches_is_not_behind() -> None:
    (device,) = derived("device_health", wearables=lagging(600.0, code=CGM_GLUCOSE))
    assert (device["table_name"], device["clock_flag"]) == ("wearables", None)


def test_a_silence_is_long_by_the_device_s_own_interval() -> None:
    rows = lagging(0.5, n=20)
    later = [{**row, "event_time": row["event_time"] + timedelta(hours=2), "kafka_offset": 99} for row in rows[:3]]
    (device,) = derived("device_health", vitals=[*rows, *later])
    assert (device["gaps"], device["longest_gap_s"], device["readings"]) == (1, 7200 - 19 * 60, 23)


def stay(token: str, state: str = "admitted", **changed: Any) -> dict[str, Any]:
    row = {"subject_token": token, "stay_id": token, "state": state, "birth_year": 1960, "sex": "F"}
    return row | {"opened_at": at(1), "admitted_at": at(1)} | changed


def test_the_population_of_a_day_is_who_was_in_care_on_it() -> None:
    stays = [
        stay("A"),
        stay("B", admitted_at=at(-48), discharged_at=at(3), state="discharged"),
        stay("long gone", admitted_at=at(-48), discharged_at=at(-1), state="discharged"),
        stay("tomorrow", admitted_at=at(25), opened_at=at(25)),
        stay("cancelled", state="cancelled", admitted_at=None),
        stay("old", birth_year=1930, sex=None),
    ]
    sixties, oldest = derived("population_by_day", stays=stays, vitals=[reading(0, HEART_RATE, subject_token="A")],
                              alerts=[alert(1, "A"), alert(2, "A")])  # fmt: skip
    assert sixties == {
        "day": MIDNIGHT, "age_band": "60-69", "sex": "F", "patients": 2, "stays": 2, "admissions": 1, "discharges": 1,
        "monitored": 1, "alerted": 1, "alerts": 2,
    }  # fmt: skip
    assert (oldest["age_band"], oldest["sex"], oldest["monitored"]) == ("90+", "U", 0)


def test_a_patient_of_two_stays_is_one_person_even_where_the_second_stay_says_less() -> None:
    stays = [
        stay("A", stay_id="S1", discharged_at=at(2), state="discharged", admitted_at=at(-5)),
        stay("A", stay_id="S2", admitted_at=at(8), birth_year=None, sex=None),
        stay("B", birth_year=1, sex=None),
    ]
    sixties, unknown = derived("population_by_day", stays=stays, alerts=[alert(1, "A")])
    assert (sixties["age_band"], sixties["patients"], sixties["stays"], sixties["alerts"]) == ("60-69", 1, 2, 1)
    assert (unknown["age_band"], unknown["sex"], unknown["patients"]) == ("unknown", "U", 1)


def results(versions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of `lab_results` that these versions come to."""
    schema = arrow_schema(CONTRACTS.table("lab_results"))
    made = lab_results(duckdb.connect(), CONTRACTS.table("labs"), table(versions, "labs"))
    return made.select(schema.names).cast(schema).to_pylist()


def test_a_result_is_its_current_version_beside_what_was_first_final() -> None:
    versions = [
        lab(0, status="P", numeric_value=2.0),
        lab(10, status="F", numeric_value=3.0),
        lab(20, status="C", numeric_value=4.0),
        lab(5, order="L-2", status="F"),
        lab(6, order="L-2", status="X", numeric_value=None, unit=None),
    ]
    corrected, withdrawn = results(versions)
    assert (corrected["status"], corrected["numeric_value"], corrected["versions"]) == ("C", 4.0, 3)
    assert (corrected["released_value"], corrected["released_at"]) == (3.0, versions[1]["reported_at"])
    assert corrected["first_reported_at"] == versions[0]["reported_at"]
    assert (withdrawn["status"], withdrawn["numeric_value"], withdrawn["released_value"]) == ("X", None, None)
    assert results(versions[::-1]) == [corrected, withdrawn]


def test_the_order_of_rows_changes_nothing() -> None:
    rows = [reading(n, HEART_RATE, numeric_value=60.0 + n / 7) for n in range(50)]
    for name in ("vitals_by_minute", "vitals_by_hour", "ward_summary", "device_health"):
        assert derived(name, vitals=rows) == derived(name, vitals=list(reversed(rows)))


def test_a_source_of_the_day_before_is_replaced() -> None:
    connection, vitals = duckdb.connect(), CONTRACTS.table("vitals")
    connection.register("vitals", table([reading(0, HEART_RATE)]))
    open_day(connection, DAY, (Source(vitals, None, {}),))
    assert connection.execute("SELECT count(*) FROM vitals").fetchone() == (0,)
