"""The session on a real store: what it shows, what it cannot reach, and what its errors say."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from pyiceberg.table import Table

from warehouse.analytics import Analytics, LakeUnavailable, StatementFailed, _told
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.contract import load_contracts
from warehouse.lake_session import open_session
from warehouse.settings import Settings
from warehouse.statement_guard import StatementRefused
from warehouse.tables import arrow_schema

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
CANARY = "canary-7f3a"


def created(settings: Settings, name: str) -> Table:
    contract = load_contracts().table(name)
    return create_table(open_catalog(settings), settings.namespace, contract, table_lock(settings))


def vitals(*values: float, ingested: datetime = NOON, ward: str = "ICU-1") -> pa.Table:
    """One heart rate a second for one patient."""
    rows = [
        {
            "event_id": f"e{ingested:%H%M}-{offset}",
            "subject_token": "token",
            "device_id": "MON-1",
            "ward": ward,
            "code": "8867-4",
            "numeric_value": value,
            "unit": "/min",
            "event_time": NOON + timedelta(seconds=offset),
            "topic_id": "topic",
            "kafka_partition": 0,
            "kafka_offset": offset,
            "kafka_time": NOON + timedelta(seconds=offset),
            "ingest_time": ingested,
        }
        for offset, value in enumerate(values)
    ]
    return pa.Table.from_pylist(rows, arrow_schema(load_contracts().table("vitals")))


def lake(store: str, home: Path) -> Settings:
    """Settings on the worker's store with a lake and a catalog of their own; no broker is needed here."""
    mark = f"t{uuid.uuid4().hex[:10]}"
    return Settings.from_environment(
        {
            "WARDSTREAM_HOME": str(home),
            "WARDSTREAM_S3_ENDPOINT": store,
            "WARDSTREAM_WAREHOUSE": f"s3://warehouse/{mark}",
            "WARDSTREAM_NAMESPACE": mark,
        }
    )


@pytest.fixture
def settings(store: str, tmp_path: Path) -> Settings:
    return lake(store, tmp_path / "home")


@pytest.fixture
def table(settings: Settings) -> Table:
    """A table of this test alone, for those that write."""
    table = created(settings, "vitals")
    table.append(vitals(80.0, 90.0))
    return table


@pytest.fixture
def analytics(settings: Settings, table: Table) -> Iterator[Analytics]:
    with Analytics(settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def reading(store: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Analytics]:
    """A session for tests that only read: two rows in `vitals`, the second with a canary as its ward."""
    settings = lake(store, tmp_path_factory.mktemp("reading"))
    table = created(settings, "vitals")
    table.append(vitals(80.0))
    table.append(vitals(90.0, ward=CANARY))
    with Analytics(settings) as opened:
        yield opened


def test_an_answer_names_the_snapshot_it_was_read_from(analytics: Analytics, table: Table):
    answer = analytics.query("SELECT avg(numeric_value) AS mean FROM vitals")
    assert answer.table.to_pylist() == [{"mean": 85.0}]
    assert answer.snapshots == {"vitals": table.current_snapshot().snapshot_id}


def test_a_commit_is_seen_by_the_next_statement(analytics: Analytics, table: Table):
    before = analytics.query("SELECT count(*) AS n FROM vitals")
    table.append(vitals(100.0))
    after = analytics.query("SELECT count(*) AS n FROM vitals")
    assert (before.table["n"][0].as_py(), after.table["n"][0].as_py()) == (2, 3)
    assert before.snapshots != after.snapshots


def test_a_table_nobody_made_yet_has_its_columns_and_no_row(reading: Analytics):
    for name in sorted(reading.tables.keys() - reading.views.keys() - {"vitals", "codes"}):
        answer = reading.query(f"SELECT * FROM {name}")
        assert answer.table.num_rows == 0
        assert answer.table.column_names == reading.tables[name].names
        assert answer.snapshots == {name: None}


def test_a_view_has_the_columns_it_says_and_names_the_tables_it_was_read_from(reading: Analytics):
    for name, view in reading.views.items():
        answer = reading.query(f"SELECT * FROM {name}")
        assert answer.table.column_names == view.schema.names == reading.tables[name].names
        assert answer.snapshots.keys() == set(view.reads)


def test_a_with_table_does_not_come_between_a_view_and_its_table(reading: Analytics):
    told = "WITH vitals AS (SELECT 1 AS evil) SELECT count(*) AS n FROM vitals_checked"
    assert reading.query(told).table.to_pylist() == [{"n": 2}]


def test_a_table_without_a_snapshot_has_its_columns_and_no_row(analytics: Analytics, settings: Settings):
    created(settings, "rejects")
    answer = analytics.query("SELECT * FROM rejects")
    assert answer.table.num_rows == 0
    assert answer.table.column_names == analytics.tables["rejects"].names
    assert answer.snapshots == {"rejects": None}


def test_as_of_shows_what_was_known_then_whatever_snapshots_are_left(analytics: Analytics, table: Table):
    later = NOON + timedelta(hours=1)
    table.append(vitals(100.0, ingested=later))
    table.maintenance.expire_snapshots().older_than(datetime(2100, 1, 1, tzinfo=UTC)).commit()

    def count(as_of: datetime | None) -> int:
        return analytics.query("SELECT count(*) AS n FROM vitals", as_of=as_of).table["n"][0].as_py()

    assert [count(NOON - timedelta(microseconds=1)), count(NOON), count(later), count(None)] == [0, 2, 3, 3]


def test_as_of_in_another_zone_is_the_same_instant(reading: Analytics):
    berlin = datetime.fromisoformat("2026-11-22T13:00:00+01:00")
    assert reading.query("SELECT * FROM vitals", as_of=berlin).table.num_rows == 2


def test_as_of_without_a_zone_is_refused(reading: Analytics):
    with pytest.raises(ValueError, match="time zone"):
        reading.query("SELECT * FROM vitals", as_of=datetime(2026, 11, 22))  # noqa: DTZ001


def test_as_of_on_a_table_without_system_time_is_refused(reading: Analytics):
    with pytest.raises(StatementRefused, match="vitals_by_minute keeps no system time"):
        reading.query("SELECT * FROM vitals_by_minute", as_of=NOON)


def test_parameters_fill_a_statement(reading: Analytics):
    by_name = reading.query("SELECT * FROM vitals WHERE numeric_value > $bound", parameters={"bound": 85})
    by_place = reading.query("SELECT * FROM vitals WHERE numeric_value > ?", parameters=[85])
    assert by_name.table.num_rows == by_place.table.num_rows == 1


def test_codes_have_names(reading: Analytics):
    answer = reading.query("SELECT DISTINCT name FROM vitals JOIN codes USING (code)")
    assert answer.table.to_pylist() == [{"name": "heart_rate"}]
    assert list(answer.snapshots) == ["vitals"]


def test_codes_name_their_system_and_value_sets(reading: Analytics):
    answer = reading.query("SELECT system, value_sets FROM codes WHERE list_contains(value_sets, 'laboratory') LIMIT 1")
    assert answer.table.to_pylist() == [{"system": "http://loinc.org", "value_sets": ["bedside", "laboratory"]}]


def test_statements_at_a_time_do_not_see_each_others_views(reading: Analytics):
    moments = [NOON - timedelta(days=1), NOON] * 8

    def count(as_of: datetime) -> int:
        return reading.query("SELECT count(*) AS n FROM vitals", as_of=as_of).table["n"][0].as_py()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(count, moments)) == [0, 2] * 8


def test_nothing_of_a_statement_stays_for_the_next(reading: Analytics):
    reading.query("SELECT * FROM vitals")
    rest = reading._session.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    assert rest == []


def test_a_refused_statement_opens_no_table(settings: Settings):
    unreachable = dataclasses.replace(settings, s3_endpoint="http://127.0.0.1:1", catalog_uri="sqlite:////nowhere/x")
    with Analytics(unreachable) as analytics, pytest.raises(StatementRefused):
        analytics.query("SELECT * FROM vitals; SELECT 1")


@pytest.mark.parametrize("sql", ["SELECT 1\0; COPY vitals TO 'x'", "SELECT '\ud800'"])
def test_a_statement_that_is_no_text_is_refused(reading: Analytics, sql: str):
    with pytest.raises(StatementRefused, match="NUL or half a character"):
        reading.query(sql)


# The session without the guard: what its own locks and its credential still hold.


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "COPY (SELECT 1) TO '/tmp/wardstream-escape.csv'",
        "ATTACH '/tmp/wardstream-escape.db'",
        "SET enable_external_access = true",
        "SET threads = 8",
        "INSTALL spatial",
        "SELECT * FROM table_of_python",
    ],
)
def test_the_session_reaches_nothing_but_the_lake(settings: Settings, sql: str):
    table_of_python = pa.table({"x": [1]})
    with open_session(settings) as session, pytest.raises(duckdb.Error):
        session.execute(sql)
    assert table_of_python.num_rows == 1


def test_the_sessions_credential_reads_the_lake_and_cannot_write_it(settings: Settings, table: Table):
    with open_session(settings) as session:
        found = session.execute(f"SELECT count(*) FROM glob('{settings.warehouse}/**/*.parquet')").fetchall()
        assert found == [(1,)]
        with pytest.raises(duckdb.HTTPException, match=r"Denied|403"):
            session.execute(f"COPY (SELECT 1) TO '{settings.warehouse}/escape.parquet'")


def test_a_statement_too_large_for_memory_ends_and_leaves_nothing_on_disk(settings: Settings, table: Table):
    with (
        Analytics(dataclasses.replace(settings, sql_memory_bytes=256 << 20)) as small,
        pytest.raises(StatementFailed, match="WARDSTREAM_SQL_MEMORY_BYTES"),
    ):
        small.query("SELECT i, repeat('x', 500) || i AS t FROM range(5000000) AS r(i) ORDER BY t")
    assert not os.path.exists(".tmp")


def test_an_answer_too_large_to_hand_out_is_refused_before_it_fills_the_machine(
    reading: Analytics, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("warehouse.analytics.ANSWER_BYTES", 8_000_000)
    assert reading.query("SELECT * FROM range(900000)").table.num_rows == 900_000
    with pytest.raises(StatementFailed, match="its answer is larger than 7 MiB"):
        reading.query("SELECT * FROM range(10000000000)")
    assert reading.query("SELECT 1 AS one").table.num_rows == 1


def test_what_a_start_cannot_do_without_is_never_refused_for_its_size(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("warehouse.analytics.ANSWER_BYTES", 1_000_000)
    question = "SELECT i, 'patient ' || (i % 3) AS subject FROM range(900000) AS r(i)"
    with Analytics(settings, whole=True) as whole:
        plain = whole.query(question).table
        narrow = whole.query(question, repeating=["subject"]).table
        nobody = whole.query(f"{question} WHERE i < 0", repeating=["subject"]).table
    assert pa.types.is_dictionary(narrow["subject"].type)
    assert narrow.schema == nobody.schema
    assert narrow.nbytes < 0.7 * plain.nbytes
    assert narrow["subject"].cast(pa.string()).equals(plain["subject"].cast(pa.string()))


# Errors


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT ward::INT FROM vitals", "use try_cast"),
        ("SELECT wrad FROM vitals", 'column "wrad" not found'),
        ("SELECT sum(ward) FROM vitals", "sum"),
        ("SELECT strptime(ward, '%Y') FROM vitals", "does not fit"),
        ("SELECT numeric_value::TINYINT * 100::TINYINT FROM vitals", "range"),
        ("SELECT * FROM vitals WHERE ward = ?", "parameter"),
        ('SELECT from_json(ward, \'{"a": "INT"}\') FROM vitals', ""),
        ("SELECT decode(unhex('ff')) || ward FROM vitals", ""),
        ("SELECT regexp_matches(ward, ward || '(') FROM vitals", ""),
    ],
)
def test_an_error_says_what_is_wrong_and_no_value(reading: Analytics, sql: str, says: str):
    with pytest.raises(StatementFailed) as failed:
        reading.query(sql)
    assert says in str(failed.value)
    assert CANARY not in str(failed.value)
    assert failed.value.__cause__ is None
    assert failed.value.__suppress_context__


def test_a_store_that_is_down_is_named(settings: Settings, table: Table):
    down = dataclasses.replace(settings, s3_endpoint="http://127.0.0.1:1")
    expected = pytest.raises(LakeUnavailable, match=r"did not answer .*wardstream up")
    with Analytics(down) as analytics, expected:
        analytics.query("SELECT * FROM vitals")


def test_a_catalog_that_was_never_made_is_named(settings: Settings):
    with Analytics(settings) as analytics, pytest.raises(LakeUnavailable, match="wardstream up"):
        analytics.query("SELECT * FROM vitals")


def test_ctrl_c_ends_a_statement_and_the_session_goes_on(reading: Analytics):
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        reading.query("SELECT sum(a.i * b.i) FROM range(10000000) AS a(i), range(1000000) AS b(i)")
    assert reading.query("SELECT 1 AS one").table.num_rows == 1


def test_a_store_that_refuses_the_credential_is_not_said_to_be_away(settings: Settings, table: Table):
    stranger = dataclasses.replace(settings, s3_reader_secret="not-the-secret")
    with Analytics(stranger) as analytics, pytest.raises(LakeUnavailable, match=r"refuses .*WARDSTREAM_S3_READER_KEY"):
        analytics.query("SELECT count(*) FROM vitals")


def test_a_clock_that_is_off_is_named_as_such():
    answer = "HTTP Error: HTTP GET error (HTTP 403) RequestTimeTooSkewed: the difference is too large"
    assert "its clock is off" in str(_told(answer))
