"""What a record of retention keeps of the files that leave, and what a sweep must spare because of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pyiceberg.table import Table

from tests.warehouse.fenced import TOPIC, interval, new_table, no_rows, readings
from warehouse.catalog import open_catalog
from warehouse.commit import FencedTable
from warehouse.retention.undo import (
    RecordError,
    UndoRecord,
    decode_record,
    encode_record,
    folder_of,
    held_paths,
    records_of,
    write_record,
)
from warehouse.settings import Settings
from warehouse.snapshots import Head, LiveFile, live_files, manifests_of
from warehouse.staging import stage
from warehouse.table_session import store_of

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=8)


def fenced(settings: Settings, identifier: tuple[str, str]) -> FencedTable:
    return FencedTable(open_catalog(settings), identifier, writer="test")


def files_of(table: Table) -> list[LiveFile]:
    return live_files(Head(table, manifests_of(table)), store_of(table))


def with_rows(settings: Settings, rows: int = 10) -> Table:
    catalog, identifier = new_table(settings)
    committer = fenced(settings, identifier)
    committer.establish(TOPIC, {0: 0})
    committer.commit(readings(0, rows), [interval(0, rows)])
    return catalog.load_table(identifier)


def record_of(table: Table, receipt: str = "r1", **other: object) -> UndoRecord:
    said = {
        "receipt": receipt,
        "act": "remove",
        "table_uuid": str(table.metadata.table_uuid),
        "at": NOW,
        "until": NOW + timedelta(days=7),
        "files": tuple(files_of(table)),
        "copies": {},
        "told": ({"day": NOW.date(), "rows": 10, "reason": "it is old"},),
        "acted_by": "test",
    }
    return UndoRecord(**(said | other))


def test_a_record_read_again_names_the_same_files_with_the_same_metrics(folder_lake: Settings) -> None:
    table = with_rows(folder_lake)
    record = record_of(table, replaced=("c",))
    record = replace(record, copies={record.files[0].file.file_path: "cold"})
    again = decode_record(encode_record(record), "r")
    assert encode_record(again) == encode_record(record)
    before, after = record.files[0].file, again.files[0].file
    assert [dict(v) if isinstance(v, Mapping) else v for v in before._data] == after._data
    assert (again.rows, again.files[0].day) == (10, record.files[0].day)


def test_files_come_back_from_a_record_as_they_were(lake: Settings) -> None:
    table = with_rows(lake)
    identifier = (lake.namespace, "vitals")
    rows = table.scan().to_arrow().sort_by("kafka_offset")
    write_record(table, record_of(table))
    committer = fenced(lake, identifier)
    committer.replace_files(files_of(table), stage(table, no_rows(), store_of(table)), {}, fewer_rows=10)
    emptied = open_catalog(lake).load_table(identifier)
    assert files_of(emptied) == []
    (record,) = records_of(emptied)
    committer.restore_files(record.files, {})
    back = open_catalog(lake).load_table(identifier)
    assert back.scan().to_arrow().sort_by("kafka_offset").equals(rows)
    # The bounds came back with the files: a question about another day does not open them.
    assert list(back.scan("event_time < '2026-02-01T00:00:00+00:00'").plan_files()) == []


def test_a_sweep_spares_what_left_until_the_undo_window_ends_and_records_always(lake: Settings) -> None:
    table = with_rows(lake)
    assert held_paths(table, NOW) == frozenset()
    paths = {live.file.file_path for live in files_of(table)}
    location = write_record(table, record_of(table, copies=dict.fromkeys(paths, "cold")))
    assert held_paths(table, NOW) == paths | {"cold", location}
    assert held_paths(table, NOW + timedelta(days=7, microseconds=-1)) == paths | {"cold", location}
    assert held_paths(table, NOW + timedelta(days=7)) == {location}


def test_a_record_that_cannot_be_read_lets_nothing_be_swept(folder_lake: Settings) -> None:
    table = with_rows(folder_lake)
    location = write_record(table, record_of(table))
    store_of(table).put(location, encode_record(record_of(table))[:-20])
    with pytest.raises(RecordError, match="no whole record"):
        held_paths(table, NOW)
    store_of(table).put(location, encode_record(record_of(table, table_uuid="another")))
    with pytest.raises(RecordError, match="another table"):
        held_paths(table, NOW)


def test_what_else_lies_beside_the_records_is_spared_and_not_read_as_one(folder_lake: Settings) -> None:
    table = with_rows(folder_lake)
    told = f"{folder_of(table)}/r1.parquet"
    store_of(table).put(told, b"")
    assert held_paths(table, LATER) == {told}
    assert records_of(table) == []
