"""The exchange of files, for every table the house keeps and for tables whose columns changed: no value does."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.table import Table
from pyiceberg.types import StringType

from tests.warehouse.fenced import contract, interval, new_table, readings
from tests.warehouse.upkeep.kept import fenced, loaded, row_digest, small_files
from warehouse import tables
from warehouse.contract import load_contracts
from warehouse.object_store import StoreUnavailableError
from warehouse.settings import Settings
from warehouse.snapshots import Head, LiveFile, live_files, manifests_of
from warehouse.upkeep.compact import compact, read_files
from warehouse.upkeep.sorted_rows import sort_order

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def files_of(table: Table) -> list[LiveFile]:
    return live_files(Head(table, manifests_of(table)), table.io)


def value(kind: pa.DataType, n: int) -> Any:
    """Some value of a type, another for each n."""
    if pa.types.is_list(kind):
        return [value(kind.value_type, n + i) for i in range(n % 3)]
    if pa.types.is_timestamp(kind):
        return NOON + timedelta(seconds=n)
    if pa.types.is_date(kind):
        return date(2026, 3, 1)
    if pa.types.is_boolean(kind):
        return bool(n % 2)
    if pa.types.is_binary(kind):
        return bytes([n % 256, 0, 255])
    return f"w{n % 4}" if pa.types.is_string(kind) else n


def rows_of(schema: pa.Schema, start: int, n: int) -> pa.Table:
    """Rows of any table, every third value of an optional column null; of the strings half as dictionaries."""
    columns = []
    for at, field in enumerate(schema):
        each = [value(field.type, i) for i in range(start, start + n)]
        column = pa.array([None if field.nullable and (i + at) % 3 == 0 else v for i, v in enumerate(each)], field.type)
        columns.append(column.dictionary_encode() if pa.types.is_string(field.type) and at % 2 else column)
    return pa.table(columns, names=schema.names)


@pytest.mark.parametrize("name", [table.name for table in load_contracts().tables()])
def test_no_value_of_any_table_changes(folder_lake: Settings, name: str) -> None:
    new_table(folder_lake, name)
    table, schema = fenced(folder_lake, name), tables.arrow_schema(contract(name))
    for n in range(3):
        table.append_derived(rows_of(schema, 7 * n, 7), {})
    before, state = row_digest(folder_lake, name), loaded(folder_lake, name)
    by_day: dict[int | None, list[LiveFile]] = {}
    for live in files_of(state):
        by_day.setdefault(live.day, []).append(live)
    for files in by_day.values():
        compact(fenced(folder_lake, name), state, contract(name), files)
    assert len(files_of(loaded(folder_lake, name))) == len(by_day)
    assert row_digest(folder_lake, name) == before


def test_files_from_before_a_column_was_added_get_nulls(folder_lake: Settings) -> None:
    small_files(folder_lake, commits=2)
    with loaded(folder_lake).update_schema() as change:
        change.add_column("added_later", StringType())
    fenced(folder_lake).commit(readings(20, 25).append_column("added_later", pa.array(["x"] * 5)), [interval(20, 25)])
    before, table = row_digest(folder_lake), loaded(folder_lake)
    compact(fenced(folder_lake), table, contract(), files_of(table))
    assert row_digest(folder_lake) == before
    assert loaded(folder_lake).scan().to_arrow()["added_later"].null_count == 20


def test_a_column_that_was_called_otherwise_is_read_by_its_id(folder_lake: Settings) -> None:
    small_files(folder_lake, commits=2)
    with loaded(folder_lake).update_schema() as change:
        change.rename_column("device_id", "monitor_id")
    with loaded(folder_lake).update_schema() as change:
        change.add_column("device_id", StringType())
    before, table = row_digest(folder_lake), loaded(folder_lake)
    compact(fenced(folder_lake), table, contract(), files_of(table))
    assert row_digest(folder_lake) == before


def test_columns_that_repeat_stay_dictionaries_in_parquet(folder_lake: Settings) -> None:
    small_files(folder_lake)
    table = loaded(folder_lake)
    compact(fenced(folder_lake), table, contract(), files_of(table))
    (live,) = files_of(loaded(folder_lake))
    group = pq.ParquetFile(live.file.file_path.removeprefix("file://")).metadata.row_group(0)
    encodings = {group.column(at).path_in_schema: group.column(at).encodings for at in range(group.num_columns)}
    assert "RLE_DICTIONARY" in encodings["subject_token"]
    assert "RLE_DICTIONARY" not in encodings["event_id"]


def test_a_file_with_other_rows_than_it_should_have_stops_it(folder_lake: Settings) -> None:
    small_files(folder_lake, commits=3)
    table = loaded(folder_lake)
    files = files_of(table)
    paths = [live.file.file_path.removeprefix("file://") for live in files]
    pq.write_table(pq.read_table(paths[0]).slice(1), paths[0])
    with pytest.raises(StoreUnavailableError, match="29 of 30 rows"):
        read_files(table, files)


columns = st.sampled_from(["text", "word", "number", "time"])


@given(st.lists(st.tuples(st.none() | st.sampled_from("abc"), st.none() | st.integers(-5, 5)), max_size=30), st.data())
def test_the_order_is_that_of_the_columns(rows: list[tuple[str | None, int | None]], data: st.DataObject) -> None:
    text = pa.array([word for word, _ in rows], pa.string())
    number = pa.array([number for _, number in rows], pa.int64())
    table = pa.table(
        {
            "text": text,
            "word": text.dictionary_encode(),
            "number": number,
            "time": number.cast(pa.timestamp("us", "UTC")),
        }
    )
    by = data.draw(st.lists(columns, min_size=1, max_size=3, unique=True))
    pairs = list(zip(*(table[name].to_pylist() for name in by), strict=True))

    def key(at: int) -> tuple:
        return tuple((value is not None, value) if value is not None else (False,) for value in pairs[at])

    assert sort_order(table, by).tolist() == sorted(range(len(rows)), key=key)


def test_columns_too_wide_for_one_key_are_ordered_all_the_same() -> None:
    wide = pa.array([1 << 62, 0, 5, 5], pa.int64())
    order = sort_order(pa.table({"a": wide, "b": pa.array([0, 1, 1 << 62, 3])}), ["a", "b"])
    assert order.tolist() == [1, 3, 2, 0]
    assert isinstance(order, np.ndarray)
