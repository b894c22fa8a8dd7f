"""Files as the committer writes them: split by day, typed and identified as the table says, silent about tokens."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from tests.examples import tried
from tests.warehouse.fenced import DAY, NOON, contract, new_table, no_rows, readings
from warehouse import tables
from warehouse.settings import Settings
from warehouse.staging import day_number, split_by_day, stage

TODAY = NOON // DAY


@pytest.fixture
def table(folder_lake: Settings) -> Table:
    catalog, identifier = new_table(folder_lake)
    return catalog.load_table(identifier)


def written(table: Table, rows: pa.Table) -> tuple[DataFile, ...]:
    return stage(table, rows, table.io).files


def content(file: DataFile) -> bytes:
    return Path(file.file_path.removeprefix("file://")).read_bytes()


def parquet(file: DataFile) -> pq.ParquetFile:
    return pq.ParquetFile(file.file_path.removeprefix("file://"))


def at(times: Iterable[int]) -> pa.Table:
    """Readings whose event times are these."""
    times = list(times)
    rows = readings(0, len(times))
    at = rows.column_names.index("event_time")
    return rows.set_column(at, "event_time", pa.array(times, pa.timestamp("us", "UTC")))


def test_no_rows_make_no_file(table: Table) -> None:
    assert written(table, no_rows()) == ()


def test_one_file_a_day_named_by_its_day(table: Table) -> None:
    files = written(table, at([NOON + DAY, NOON, NOON - 3 * DAY, NOON + 1]))
    assert [(file.partition[0], file.record_count) for file in files] == [(TODAY - 3, 1), (TODAY, 2), (TODAY + 1, 1)]
    assert [file.file_path.split("/")[-2] for file in files] == [
        "event_time_day=2026-02-26",
        "event_time_day=2026-03-01",
        "event_time_day=2026-03-02",
    ]


@tried(12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(-40 * DAY, 40 * DAY), min_size=1, max_size=60))
def test_the_split_loses_no_row_and_keeps_their_order(table: Table, times: list[int]) -> None:
    parts = list(split_by_day(at(times), table.spec().fields[0], table))
    days = [day for day, _ in parts]
    assert days == sorted(set(days))
    assert days == sorted({time // DAY for time in times})
    offsets = {day: part["kafka_offset"].to_pylist() for day, part in parts}
    assert all(kept == [n for n, time in enumerate(times) if time // DAY == day] for day, kept in offsets.items())


def test_the_last_microsecond_before_1970_is_the_day_before(table: Table) -> None:
    assert [file.partition[0] for file in written(table, at([-1, 0]))] == [-1, 0]


def test_days_are_counted_from_1970() -> None:
    assert (day_number(date(1970, 1, 2)), day_number(date(1969, 12, 31))) == (1, -1)


def test_files_carry_field_ids_and_the_table_s_types(table: Table) -> None:
    [file] = written(table, readings(0, 5))
    schema = parquet(file).schema_arrow
    assert schema.names == tables.arrow_schema(contract()).names
    ids = [int(field.metadata[b"PARQUET:field_id"]) for field in schema]
    assert ids == [field.field_id for field in table.schema().fields]
    assert schema.field("event_time").type == pa.timestamp("us", "UTC")
    assert not schema.field("event_id").nullable


def test_dictionaries_of_several_chunks_become_one(table: Table) -> None:
    """Parquet writes a chunk whose dictionary is not the first one's as plain strings, 37 bytes a row here."""
    rows = pa.concat_tables([readings(n, n + 500, topic=f"{n:033d}") for n in range(0, 2000, 500)])
    [file] = written(table, rows)
    assert parquet(file).read()["topic_id"].to_pylist() == rows["topic_id"].to_pylist()
    group = parquet(file).metadata.row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert columns["topic_id"].total_uncompressed_size < 2 * len(rows)


@pytest.mark.parametrize("index", [pa.int8(), pa.uint16(), pa.int32(), pa.int64()])
def test_no_file_keeps_a_word_that_none_of_its_rows_has(table: Table, index: pa.DataType) -> None:
    """Pages of a dictionary hold all its words: those of another day's people, and of rows that were rejected."""
    rows = at([NOON, NOON + DAY, NOON])
    words = pa.array(["only-today", "only-tomorrow", "only-rejected"])
    tokens = pa.DictionaryArray.from_arrays(pa.array([0, 1, None], index), words)
    rows = rows.set_column(rows.column_names.index("subject_token"), "subject_token", tokens)
    today, tomorrow = written(table, rows)
    for file, own, words in (
        (today, ["only-today", None], ["only-today"]),
        (tomorrow, ["only-tomorrow"], ["only-tomorrow"]),
    ):
        read = pq.read_table(pa.BufferReader(content(file)), read_dictionary=["subject_token"])["subject_token"]
        assert read.to_pylist() == own
        assert read.combine_chunks().dictionary.to_pylist() == words


def test_plain_and_dictionary_strings_are_the_same_file_contents(table: Table) -> None:
    rows = readings(0, 50)
    plain = pa.table(
        {n: rows[n].cast(pa.string()) if pa.types.is_dictionary(rows[n].type) else rows[n] for n in rows.column_names}
    )
    [one], [other] = written(table, rows), written(table, plain)
    assert parquet(one).read().equals(parquet(other).read())


def test_an_optional_column_may_be_missing_and_is_null(table: Table) -> None:
    [file] = written(table, readings(0, 5))
    assert parquet(file).read()["ward"].null_count == 5
    assert dict(file.null_value_counts)[table.schema().find_field("ward").field_id] == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop_columns("code"), "needs column code"),
        (lambda rows: rows.append_column("patient_id", rows["event_id"]), "has no column patient_id"),
        (lambda rows: rows.drop_columns("unit").append_column("units", rows["event_id"]), "has no column units"),
        (
            lambda rows: rows.set_column(0, "event_id", pc.if_else(pc.equal(rows["kafka_offset"], 2), None, rows[0])),
            "event_id of .* is null in 1 rows",
        ),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_name(table: Table, change: object, message: str) -> None:
    assert callable(change)
    rows = readings(0, 5).append_column("unit", pa.nulls(5, pa.string()))
    with pytest.raises(ValueError, match=message):
        written(table, change(rows))


def test_bounds_are_kept_where_queries_prune_and_nowhere_else(table: Table) -> None:
    [file] = written(table, readings(10, 60))
    name = {field.field_id: field.name for field in table.schema().fields}
    bounded = {"event_time", "code", "kafka_partition", "kafka_offset", "kafka_time"}
    assert {name[id_] for id_ in file.lower_bounds} == {name[id_] for id_ in file.upper_bounds} == bounded
    offset = table.schema().find_field("kafka_offset").field_id
    assert [int.from_bytes(b[offset], "little") for b in (file.lower_bounds, file.upper_bounds)] == [10, 59]
    counted = {name[id_] for id_ in file.value_counts}
    assert counted == set(name.values()) - {"subject_token", "unknown_fields", "samples"}
    assert set(file.value_counts.values()) == {50}


def test_no_token_stands_in_a_footer_or_manifest_entry(table: Table) -> None:
    [file] = written(table, readings(0, 50))
    group = parquet(file).metadata.row_group(0)
    columns = [group.column(n) for n in range(group.num_columns)]
    [token] = [column for column in columns if column.path_in_schema == "subject_token"]
    assert not token.is_stats_set
    assert b"tokena" not in b"".join([*file.lower_bounds.values(), *file.upper_bounds.values()])


def test_sizes_and_counts_are_those_of_the_file(table: Table) -> None:
    staged = stage(table, readings(0, 500), table.io)
    [file] = staged.files
    size = pyarrow.fs.LocalFileSystem().get_file_info(file.file_path.removeprefix("file://")).size
    assert (staged.rows, staged.size_bytes, file.file_size_in_bytes) == (500, size, size)
    assert staged.fits(table)


def test_alerts_with_their_lists_can_be_staged(folder_lake: Settings) -> None:
    catalog, identifier = new_table(folder_lake, "alerts")
    alerts = catalog.load_table(identifier)
    schema = tables.arrow_schema(contract("alerts"))
    columns = {}
    for field in schema:
        if pa.types.is_list(field.type):
            columns[field.name] = pa.array([["a", "b"], []], field.type)
        elif pa.types.is_timestamp(field.type):
            columns[field.name] = pa.array([NOON, NOON + 1], field.type)
        elif field.type == pa.string():
            columns[field.name] = pa.array(["x", "y"])
        else:
            columns[field.name] = pa.array([0, 1]).cast(field.type)
    [file] = written(alerts, pa.table(columns))
    assert parquet(file).read()["reasons"].to_pylist() == [["a", "b"], []]
    fields = parquet(file).schema_arrow.field("reasons").type.value_field.metadata
    assert int(fields[b"PARQUET:field_id"]) == alerts.schema().find_field("reasons").field_type.element_id
