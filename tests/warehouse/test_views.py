"""Views over small tables: what is current of versions in any order of arrival, and readings with their faults."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.warehouse.test_analytics import created, lake
from warehouse.analytics import Analytics
from warehouse.contract import Contracts, StreamContract, TableContract, load_contracts
from warehouse.settings import Settings
from warehouse.statement_guard import StatementRefused
from warehouse.tables import arrow_schema
from warehouse.views import View, views

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
LABS = load_contracts().table("labs")
POSITIONS = ("topic_id", "kafka_partition", "kafka_offset", "kafka_time", "ingest_time")


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


def version(event_id: str, reported: int, status: str, value: float | None, **columns: Any) -> dict[str, Any]:
    """A version of one result, without a position."""
    named = {"subject_token": "t1", "order_id": "L-1", "code": "2524-7", "unit": "mmol/L", "collected_at": NOON}
    told = {"event_id": event_id, "reported_at": at(reported), "status": status, "numeric_value": value}
    return {**named, **told, **columns}


def arrived(versions: list[dict[str, Any]], partition: int = 0) -> list[dict[str, Any]]:
    """The versions at positions in the order given, a minute between them; known two seconds after."""
    return [
        {**told, "topic_id": "topic", "kafka_partition": partition, "kafka_offset": offset, "kafka_time": at(offset),
         "ingest_time": at(offset) + timedelta(seconds=2)}
        for offset, told in enumerate(versions)
    ]  # fmt: skip


def labs(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, arrow_schema(LABS))


def shown(view: View, **tables: pa.Table) -> list[dict[str, Any]]:
    with duckdb.connect(":memory:") as session:
        session.execute("SET TimeZone = 'UTC'")
        for name, rows in tables.items():
            session.register(name, rows)
        return session.execute(view.select).to_arrow_table().to_pylist()


def state(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the view says, but for where it stood, in one order."""
    kept = [{name: value for name, value in row.items() if name not in POSITIONS} for row in rows]
    return sorted(kept, key=lambda row: (row["subject_token"] or "", row["order_id"], row["code"]))


def current() -> View:
    return views(load_contracts())["labs_current"]


def newest_by_hand(versions: list[dict[str, Any]]) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """Of each key the greatest (time of report, rank of status, id), said without SQL."""
    newest: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for told in versions:
        key = (told["subject_token"], told["order_id"], told["code"])
        said = (told["reported_at"], "PFCX".index(told["status"]), told["event_id"])
        newest[key] = max(newest.get(key, said), said)
    return newest


def test_the_current_version_is_the_last_reported_and_of_equals_the_highest_status():
    told = [version("a", 5, "P", 1.0), version("b", 9, "F", 2.0), version("c", 9, "C", 3.0), version("d", 7, "C", 4.0)]
    assert [row["numeric_value"] for row in shown(current(), labs=labs(arrived(told)))] == [3.0]


def test_a_withdrawn_result_stays_and_has_no_value():
    told = [version("a", 5, "F", 1.0), version("b", 9, "X", 8.0)]
    (row,) = shown(current(), labs=labs(arrived(told)))
    assert (row["status"], row["numeric_value"], row["reported_at"]) == ("X", None, at(9))


def test_results_of_several_people_orders_and_codes_stay_apart():
    told = [version("a", 5, "F", 1.0), version("b", 5, "F", 2.0, subject_token="t2"),
            version("c", 5, "F", 3.0, order_id="L-2"), version("d", 5, "F", 4.0, code="2160-0"),
            version("e", 5, "F", 5.0, subject_token=None)]  # fmt: skip
    assert len(shown(current(), labs=labs(arrived(told)))) == 5


words = st.builds(
    version,
    event_id=st.sampled_from(["a", "b", "c"]),
    reported=st.integers(0, 2),
    status=st.sampled_from("PFCX"),
    value=st.sampled_from([None, 1.0, 2.0]),
    comparator=st.sampled_from([None, "<"]),
    order_id=st.sampled_from(["L-1", "L-2"]),
    subject_token=st.sampled_from([None, "t1"]),
)


@given(told=st.lists(words, min_size=1, max_size=8), seed=st.integers(0, 1 << 30))
def test_any_order_of_arrival_leaves_the_same_current_state(told: list[dict[str, Any]], seed: int):
    mixed = random.Random(seed).sample(told, len(told))
    first = state(shown(current(), labs=labs(arrived(told))))
    again = state(shown(current(), labs=labs(arrived(mixed, partition=3))))
    assert first == again
    said = {(row["subject_token"], row["order_id"], row["code"]): row for row in first}
    expected = newest_by_hand(told)
    assert said.keys() == expected.keys()
    for key, row in said.items():
        assert (row["reported_at"], "PFCX".index(row["status"]), row["event_id"]) == expected[key]


def test_nulls_of_the_order_come_first():
    told = replace(LABS, versions=replace(LABS.versions, order=("comparator", "event_id")))
    view = views(contracts_of(told))["labs_current"]
    rows = [version("b", 1, "F", 1.0), version("a", 1, "F", 2.0, comparator="<")]
    assert [row["numeric_value"] for row in shown(view, labs=labs(arrived(rows)))] == [2.0]


def contracts_of(*tables: TableContract) -> Contracts:
    """The laboratory's stream with other tables."""
    stream: StreamContract = load_contracts().stream("lab.results")
    return Contracts((replace(stream, tables=tables),))


def test_a_table_of_the_same_name_goes_before_a_view():
    assert "labs_current" not in views(contracts_of(LABS, replace(LABS, name="labs_current", versions=None)))


def test_readings_are_shown_once_with_their_faults():
    vitals = load_contracts().table("vitals")
    view = views(contracts_of(vitals, load_contracts().table("sensor_faults")))["vitals_checked"]
    place = {"topic_id": "topic", "kafka_partition": 0, "event_time": NOON}
    readings = [{**place, "kafka_offset": offset, "numeric_value": 9.0} for offset in range(3)]
    faults = [
        {**place, "kafka_offset": 1, "table_name": "vitals", "fault": "stuck"},
        {**place, "kafka_offset": 1, "table_name": "vitals", "fault": "flat_line"},
        {**place, "kafka_offset": 2, "table_name": "wearables", "fault": "stuck"},
    ]
    rows = shown(view, vitals=pa.Table.from_pylist(readings), sensor_faults=pa.Table.from_pylist(faults))
    assert [row["sensor_fault"] for row in sorted(rows, key=lambda row: row["kafka_offset"])] == [
        None,
        "flat_line stuck",
        None,
    ]


def test_where_nothing_looks_for_faults_the_column_is_null():
    view = views(contracts_of(load_contracts().table("vitals")))["vitals_checked"]
    rows = shown(view, vitals=pa.table({"kafka_offset": [1]}))
    assert rows == [{"kafka_offset": 1, "sensor_fault": None}]


# On a lake


@pytest.fixture(scope="module")
def reading(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Analytics]:
    settings: Settings = lake(store, Path(tmp_path_factory.mktemp("views")))
    told = [version("a", 5, "P", 1.0), version("c", 20, "X", None), version("b", 9, "F", 2.0)]
    created(settings, "labs").append(labs(arrived(told)))
    with Analytics(settings) as opened:
        yield opened


@pytest.mark.parametrize(
    ("minutes", "expected"),
    [(-1, []), (0.5, [("P", 1.0)]), (1.5, [("X", None)]), (2.5, [("X", None)])],
)
def test_as_of_shows_the_state_that_was_current_as_known_then(
    reading: Analytics, minutes: float, expected: list[tuple[str, float | None]]
):
    answer = reading.query("SELECT status, numeric_value FROM labs_current", as_of=at(minutes))
    assert [tuple(row.values()) for row in answer.table.to_pylist()] == expected
    assert answer.snapshots.keys() == {"labs"}


def test_readings_with_faults_have_no_as_of(reading: Analytics):
    with pytest.raises(StatementRefused, match="sensor_faults keeps no system time"):
        reading.query("SELECT * FROM vitals_checked", as_of=NOON)


def test_a_view_joins_with_the_vocabulary(reading: Analytics):
    answer = reading.query("SELECT name, status FROM labs_current JOIN codes USING (code)")
    assert answer.table.to_pylist() == [{"name": "lactate", "status": "X"}]
