"""From Arrow rows to data files in the store that no snapshot names yet.

Holds: the split by partition day, the Parquet encoding, one PUT a file, and the manifest entries with their metrics.
Does not hold: any decision about what is written, nor the commit that makes it part of a table.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import (
    MetricModeTypes,
    MetricsMode,
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    schema_to_pyarrow,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionField
from pyiceberg.table import Table
from pyiceberg.transforms import DayTransform
from pyiceberg.typedef import Record

from warehouse.object_store import SinglePutFileIO

ROW_GROUP_ROWS = 1 << 20
ZSTD_LEVEL = 1
EPOCH = date(1970, 1, 1)
DAY_US = 86_400_000_000
NO_DAY = np.iinfo(np.int64).min
SWEEP = "wardstream.sweep"
"""Property of a table: the last sweep that deleted, or is about to delete, objects which no snapshot names."""

NO_METRICS = MetricsMode(MetricModeTypes.NONE)


@dataclass(frozen=True, slots=True)
class StagedFiles:
    """Files in the store and their manifest entries, made for one schema and one partition spec of the table.

    `sweep`: the last sweep of the table that their writer knew of, before it wrote the first of them.
    """

    files: tuple[DataFile, ...]
    schema_id: int
    spec_id: int
    sweep: str | None

    @property
    def rows(self) -> int:
        """Rows in all files."""
        return sum(file.record_count for file in self.files)

    @property
    def size_bytes(self) -> int:
        """Bytes in the store."""
        return sum(file.file_size_in_bytes for file in self.files)

    def fits(self, table: Table) -> bool:
        """Whether schema and partition spec are still the table's, and no sweep can have taken the files since."""
        now = table.metadata.current_schema_id, table.metadata.default_spec_id, table.properties.get(SWEEP)
        return (self.schema_id, self.spec_id, self.sweep) == now


def stage(table: Table, rows: pa.Table, io: SinglePutFileIO) -> StagedFiles:
    """Write rows as one Parquet file per partition day; none for no rows.

    `rows` has the table's columns by name in any order, strings plain or dictionary-encoded; a missing optional column
    becomes null. Raises `ValueError` for a column that is unknown, missing or null where it must not be, and OSError
    when the store does not take a file; what was written until then belongs to nobody.
    """
    sweep, files = table.properties.get(SWEEP), []
    if rows.num_rows:
        encoder = _ParquetEncoder(table)
        for day, part in split_by_day(encoder.conformed(rows), _partition_field(table), table):
            file, data = encoder.encode(part, day)
            io.put(file.file_path, data)
            files.append(file)
    return StagedFiles(tuple(files), table.metadata.current_schema_id, table.metadata.default_spec_id, sweep)


def days_of(rows: pa.Table, table: Table) -> frozenset[int | None]:
    """The partition days (days since 1970 UTC) that the rows lie in; only None without partitioning."""
    field = _partition_field(table)
    if field is None:
        return frozenset({None})
    return frozenset(_day(day) for day in np.unique(_days(rows[table.schema().find_column_name(field.source_id)])))


def split_by_day(rows: pa.Table, field: PartitionField | None, table: Table) -> Iterator[tuple[int | None, pa.Table]]:
    """The rows of each partition day (days since 1970 UTC, None for a null time) in their order; all as one without
    partitioning."""
    if field is None:
        yield None, rows
        return
    days = _days(rows[table.schema().find_column_name(field.source_id)])
    if days.min() == days.max():
        yield _day(days[0]), rows
        return
    order = np.argsort(days, kind="stable")
    days, rows = days[order], rows.take(pa.array(order))
    bounds = [0, *(np.flatnonzero(np.diff(days)) + 1).tolist(), len(days)]
    for start, end in pairwise(bounds):
        yield _day(days[start]), rows.slice(start, end - start)


def day_number(day: date) -> int:
    """Days since 1970-01-01, as Iceberg's day transform counts them."""
    return (day - EPOCH).days


def _days(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_date(column.type):
        return pc.fill_null(column.cast(pa.int32()).cast(pa.int64()), NO_DAY).to_numpy()
    micros = pc.fill_null(column.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), NO_DAY).to_numpy()
    return np.where(micros == NO_DAY, NO_DAY, micros // DAY_US)


def _day(number: np.int64) -> int | None:
    return None if number == NO_DAY else int(number)


def _partition_field(table: Table) -> PartitionField | None:
    fields = table.spec().fields
    if not fields:
        return None
    if len(fields) > 1 or not isinstance(fields[0].transform, DayTransform):
        raise ValueError(f"table {'.'.join(table.name())}: only partitioning by one day can be written")
    return fields[0]


class _ParquetEncoder:
    """Parquet in memory for one table: Arrow types, field ids and metrics derived once a commit."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._schema: pa.Schema = schema_to_pyarrow(table.schema())
        self._paths = parquet_path_to_id_mapping(table.schema())
        self._modes = compute_statistics_plan(table.schema(), table.properties)
        self._partition = _partition_field(table)

    def conformed(self, rows: pa.Table) -> pa.Table:
        """The rows with the table's columns, order, types and field ids; dictionary columns and small strings stay."""
        unknown = set(rows.column_names) - set(self._schema.names)
        if unknown:
            raise ValueError(f"table {'.'.join(self._table.name())} has no column {', '.join(sorted(unknown))}")
        fields, columns = [], []
        for field in self._schema:
            column = self._column(rows, field)
            fields.append(field.with_type(column.type))
            columns.append(column)
        # Chunks of one column may carry different dictionaries; Parquet wants one.
        return pa.Table.from_arrays(columns, schema=pa.schema(fields)).unify_dictionaries()

    def encode(self, rows: pa.Table, day: int | None) -> tuple[DataFile, pa.Buffer]:
        """One Parquet file and its manifest entry."""
        rows, sink = _with_used_words(rows), pa.BufferOutputStream()
        with pq.ParquetWriter(
            sink,
            rows.schema,
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            use_dictionary=[field.name for field in rows.schema if _few_values(field.type)],
            write_statistics=self._with_bounds(),
            store_schema=False,
        ) as writer:
            writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)
        data = sink.getvalue()
        file = DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=self._location(day),
            file_format=FileFormat.PARQUET,
            partition=Record(day) if self._partition else Record(),
            file_size_in_bytes=data.size,
            sort_order_id=None,
            spec_id=self._table.metadata.default_spec_id,
            equality_ids=None,
            key_metadata=None,
            **self._metrics(writer.writer.metadata, rows),
        )
        return file, data

    def _column(self, rows: pa.Table, field: pa.Field) -> pa.ChunkedArray:
        if field.name not in rows.column_names:
            if not field.nullable:
                raise ValueError(f"table {'.'.join(self._table.name())} needs column {field.name}")
            return pa.chunked_array([pa.nulls(rows.num_rows, field.type)])
        column = rows[field.name]
        if not field.nullable and column.null_count:
            raise ValueError(
                f"column {field.name} of {'.'.join(self._table.name())} is null in {column.null_count} rows"
            )
        return column if _same_in_parquet(column.type, field.type) else column.cast(field.type)

    def _with_bounds(self) -> list[str]:
        """Columns whose least and greatest value may stand in a footer; for tokens and sealed columns they may not."""
        ids = {id_: mode.mode.type for id_, mode in self._modes.items()}
        return [
            path for path, id_ in self._paths.items() if ids[id_] in (MetricModeTypes.FULL, MetricModeTypes.TRUNCATE)
        ]

    def _metrics(self, parquet: pq.FileMetaData, rows: pa.Table) -> dict[str, Any]:
        """Bounds where the table's properties ask for them, counts from Arrow, sizes of every column."""
        bounded = {self._paths[path] for path in self._with_bounds()}
        plan = {id_: mode if id_ in bounded else replace(mode, mode=NO_METRICS) for id_, mode in self._modes.items()}
        metrics = data_file_statistics_from_parquet_metadata(parquet, plan, self._paths).to_serialized_dict()
        for field in self._table.schema().fields:
            mode = self._modes.get(field.field_id)
            if mode is not None and mode.mode.type == MetricModeTypes.COUNTS:
                metrics["value_counts"][field.field_id] = rows.num_rows
                metrics["null_value_counts"][field.field_id] = rows[field.name].null_count
        return metrics

    def _location(self, day: int | None) -> str:
        name = f"{uuid.uuid4()}.parquet"
        if self._partition is not None:
            folder = "null" if day is None else str(EPOCH + timedelta(days=day))
            name = f"{self._partition.name}={folder}/{name}"
        return self._table.location_provider().new_data_location(name)


def _few_values(type_: pa.DataType) -> bool:
    """Whether a Parquet dictionary pays: columns that come as one, partition numbers and flags."""
    return pa.types.is_dictionary(type_) or pa.types.is_int32(type_)


def _same_in_parquet(have: pa.DataType, want: pa.DataType) -> bool:
    if pa.types.is_dictionary(have):
        have = have.value_type
    both = {have, want}
    return have == want or both == {pa.string(), pa.large_string()} or both == {pa.binary(), pa.large_binary()}


def _with_used_words(rows: pa.Table) -> pa.Table:
    """The same, its dictionaries without words that no row has: a dictionary's page would keep them, and with them
    somebody whose rows are of another day, were rejected, or are to be left out. Nobody who looks for rows finds that.
    """
    for at, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            rows = rows.set_column(at, field, _trimmed(rows.column(at).combine_chunks()))
    return rows


def _trimmed(words: pa.DictionaryArray) -> pa.DictionaryArray:
    absent = words.indices.is_null().to_numpy(zero_copy_only=False) if words.null_count else None
    places = pc.fill_null(words.indices, 0).to_numpy(zero_copy_only=False)
    used = np.zeros(len(words.dictionary), bool)
    used[places if absent is None else places[~absent]] = True
    if used.all():
        return words
    moved = (np.cumsum(used) - 1).astype(places.dtype)[places]
    return pa.DictionaryArray.from_arrays(pa.array(moved, mask=absent), words.dictionary.filter(pa.array(used)))
