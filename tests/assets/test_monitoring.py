"""What the sensor says of topics and tables: each change once, and only days that are partitions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.monitoring import STATUS_FILE
from tests.assets.conftest import PARTITION, Lake
from tests.expectations.day import good_rows, reading
from warehouse.settings import Settings
from warehouse.vocabulary import HEART_RATE

VITALS = dg.AssetKey(["lake", "vitals"])
TOPIC = dg.AssetKey(["kafka", "device.vitals"])


def look(defs: dg.Definitions, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    """One tick of the sensor."""
    sensor = next(sensor for sensor in defs.sensors or () if sensor.name == "observations")
    with dg.build_sensor_context(instance, cursor=cursor, resources=dict(defs.resources or {})) as context:
        result = sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


def said_of(result: dg.SensorResult, key: dg.AssetKey) -> list[tuple[str, str | None]]:
    return [(type(event).__name__, event.partition) for event in result.asset_events if event.asset_key == key]


def write_status(settings: Settings, end: int, reached: int) -> None:
    path = settings.home / STATUS_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"end": {"device.vitals": {"0": end}}, "next": {"device.vitals": {"0": reached}}}))


def test_a_day_that_grew_is_a_materialisation_and_the_table_an_observation(lake: Lake, defs, instance) -> None:
    lake.commit(good_rows())
    assert said_of(look(defs, instance), VITALS) == [("AssetObservation", None), ("AssetMaterialization", PARTITION)]


def test_nothing_new_is_nothing_said(lake: Lake, defs, instance) -> None:
    lake.commit(good_rows())
    first = look(defs, instance)
    assert look(defs, instance, first.cursor).asset_events == []


def test_only_the_day_that_grew_since_is_told(lake: Lake, defs, instance) -> None:
    lake.commit(good_rows())
    first = look(defs, instance)
    yesterday = datetime.now(UTC) - timedelta(days=2)
    lake.commit([reading(100, HEART_RATE, event_time=yesterday), reading(101, HEART_RATE, event_time=yesterday)])
    grown = [
        event
        for event in look(defs, instance, first.cursor).asset_events
        if event.partition and event.asset_key == VITALS
    ]
    assert [(event.partition, event.metadata["rows_added"].value) for event in grown] == [
        (yesterday.date().isoformat(), 2)
    ]


def test_a_day_of_a_clock_gone_wrong_is_counted_but_is_no_partition(lake: Lake, defs, instance) -> None:
    lake.commit([reading(0, HEART_RATE, event_time=datetime(2001, 1, 1, tzinfo=UTC))])
    (event,) = [event for event in look(defs, instance).asset_events if event.asset_key == VITALS]
    assert event.metadata["days_without_partition"].value == 1


def test_lag_is_observed_when_it_changes(lake: Lake, defs, instance) -> None:
    write_status(lake.settings, end=10, reached=4)
    first = look(defs, instance)
    (observed,) = [event for event in first.asset_events if event.asset_key == TOPIC]
    assert observed.metadata["lag"].value == 6
    assert said_of(look(defs, instance, first.cursor), TOPIC) == []
    write_status(lake.settings, end=12, reached=12)
    assert said_of(look(defs, instance, first.cursor), TOPIC) == [("AssetObservation", None)]
