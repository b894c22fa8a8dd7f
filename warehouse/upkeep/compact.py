"""Many small files of a day become one, in the order of the contract; what stands in it twice becomes once.

Holds: the reading of a group, the taking out of duplicates that are on record, the sort, and the exchange.
Does not hold: which files (plan.py), which rows are duplicates (duplicates.py), the commit (warehouse/commit.py).

Memory: the rows of one group, read, sorted and encoded: some three times their size in Arrow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyiceberg.table import Table
from pyiceberg.utils.concurrent import ExecutorFactory

from warehouse.commit import FencedTable
from warehouse.contract import TableContract
from warehouse.object_store import SinglePutFileIO, StoreUnavailableError
from warehouse.snapshots import UPKEEP, LiveFile
from warehouse.staging import stage
from warehouse.table_session import store_of
from warehouse.upkeep.sorted_rows import sort_order

FIELD_ID = b"PARQUET:field_id"

Progress = Callable[[str], None]
Positions = frozenset[tuple[str, int, int]]
"""(topic id, partition, offset)"""


@dataclass(frozen=True, slots=True)
class Compacted:
    """One exchange. `duplicates`: rows that were taken out."""

    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int
    rows: int
    duplicates: int
    attempts: int


def compact(
    fenced: FencedTable,
    table: Table,
    contract: TableContract,
    files: list[LiveFile],
    duplicates: Positions = frozenset(),
    progress: Progress = lambda step: None,
) -> Compacted:
    """Put one file in the place of `files`, all of one day. `duplicates`: rows to leave out, on record already.

    Raises `FilesChangedError` where the table changed under it (plan again), `StoreUnavailableError`.
    """
    progress("read")
    rows = read_files(table, files)
    rows, dropped = _without(rows, duplicates)
    progress("sort")
    rows = rows.take(pa.array(sort_order(rows, contract.sort))) if contract.sort else rows
    progress("write")
    staged = stage(table, rows, store_of(table))
    progress("exchange")
    receipt = fenced.replace_files(files, staged, {UPKEEP: "compaction"}, fewer_rows=dropped, news=dropped > 0)
    progress("exchanged")
    return Compacted(
        files_before=len(files),
        files_after=len(staged.files),
        bytes_before=sum(live.file.file_size_in_bytes for live in files),
        bytes_after=staged.size_bytes,
        rows=staged.rows,
        duplicates=dropped,
        attempts=receipt.attempts,
    )


def read_files(table: Table, files: list[LiveFile]) -> pa.Table:
    """All rows of the files in the table's present columns, strings that repeat as dictionaries, one chunk a column.

    Raises `StoreUnavailableError` where fewer or more rows came than the files have.
    """
    paths = [live.file.file_path for live in files]
    try:
        rows = _by_name(table, paths) if _names_are_stable(table) else _by_field_id(table, paths)
    except OSError as error:
        raise StoreUnavailableError(f"a file of {len(paths)} cannot be read ({type(error).__name__})") from error
    wanted = sum(live.file.record_count for live in files)
    if rows.num_rows != wanted:
        raise StoreUnavailableError(f"{len(paths)} files came with {rows.num_rows} of {wanted} rows")
    return rows.unify_dictionaries().combine_chunks()


def _by_name(table: Table, paths: list[str]) -> pa.Table:
    """All files in one go, columns by name."""
    store = store_of(table)
    system, named = _filesystem(store, paths)
    first = _footer(store, paths[0])
    options = ds.ParquetReadOptions(dictionary_columns=_repeating(first))
    format_ = ds.ParquetFileFormat(read_options=options, pre_buffer=True)
    inspected = [format_.inspect(named[0], system)]
    schema = pa.schema([_wanted(field, inspected[0]) for field in _arrow_schema(table)])
    return ds.FileSystemDataset.from_paths(named, schema=schema, format=format_, filesystem=system).to_table()


def _by_field_id(table: Table, paths: list[str]) -> pa.Table:
    """File by file, columns by the ids that their fields carry: for tables whose columns had other names once."""
    names = {field.field_id: field.name for field in table.schema().fields}
    store = store_of(table)

    def read(path: str) -> pa.Table:
        with store.new_input(path).open() as file:
            rows = pq.read_table(file)
        columns: dict[str, Any] = {}
        for field in rows.schema:
            id_ = (field.metadata or {}).get(FIELD_ID)
            if id_ is not None and int(id_) in names:
                columns[names[int(id_)]] = rows[field.name]
        return pa.table(columns)

    parts = list(ExecutorFactory.get_or_create().map(read, paths))
    return pa.concat_tables(parts, promote_options="permissive")


def _names_are_stable(table: Table) -> bool:
    """Whether a name has meant the same field in every schema the table has had, and a field had one name."""
    seen: dict[int, str] = {}
    ids: dict[str, int] = {}
    for schema in table.metadata.schemas:
        for field in schema.fields:
            if seen.setdefault(field.field_id, field.name) != field.name:
                return False
            if ids.setdefault(field.name, field.field_id) != field.field_id:
                return False
    return True


def _arrow_schema(table: Table) -> pa.Schema:
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    return schema_to_pyarrow(table.schema(), include_field_ids=False)


def _wanted(field: pa.Field, read: pa.Schema) -> pa.Field:
    """The field as it is read: a string as it comes, plain or as a dictionary; optional, for older files lack it."""
    found = read.field(field.name).type if field.name in read.names else field.type
    string = pa.types.is_dictionary(found) or pa.types.is_string(found) or pa.types.is_large_string(found)
    kind = found if string else _plain(field.type)
    return pa.field(field.name, kind)


def _plain(kind: pa.DataType) -> pa.DataType:
    """Without the 64-bit offsets that pyiceberg's Arrow schemas have and our files do not."""
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_large_list(kind) or pa.types.is_list(kind):
        return pa.list_(pa.field("element", _plain(kind.value_type), nullable=False))
    return kind


def _repeating(footer: pq.FileMetaData) -> list[str]:
    """Columns of strings that were written by a dictionary."""
    if not footer.num_row_groups:
        return []
    group = footer.row_group(0)
    columns = [group.column(at) for at in range(group.num_columns)]
    return [c.path_in_schema for c in columns if c.physical_type == "BYTE_ARRAY" and "RLE_DICTIONARY" in c.encodings]


def _footer(store: SinglePutFileIO, path: str) -> pq.FileMetaData:
    with store.new_input(path).open() as file:
        return pq.ParquetFile(file).metadata


def _filesystem(store: SinglePutFileIO, paths: list[str]) -> tuple[Any, list[str]]:
    parsed = [store.parse_location(path, store.properties) for path in paths]
    scheme, netloc, _ = parsed[0]
    return store.fs_by_scheme(scheme, netloc), [path for _, _, path in parsed]


def _without(rows: pa.Table, duplicates: Positions) -> tuple[pa.Table, int]:
    """The rows but for those at the positions, and how many those were. A position that stands twice goes but once."""
    if not duplicates or "kafka_offset" not in rows.column_names:
        return rows, 0
    offsets = pa.array(sorted({offset for _, _, offset in duplicates}), pa.int64())
    maybe = np.flatnonzero(pc.is_in(rows["kafka_offset"], offsets).to_numpy())
    places = rows.select(["topic_id", "kafka_partition", "kafka_offset"]).take(pa.array(maybe)).to_pylist()
    found: Mapping[tuple, int] = {tuple(place.values()): int(at) for at, place in zip(maybe, places, strict=True)}
    leaving = [at for place, at in found.items() if place in duplicates]
    stays = np.ones(rows.num_rows, bool)
    stays[leaving] = False
    return rows.filter(pa.array(stays)), len(leaving)
