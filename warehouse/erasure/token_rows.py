"""Rows of people in Parquet files: found by their tokens, and files written anew without them.

Holds: reading a file whole, once, with its digest, and the counting and filtering by tokens.
Does not hold: which files (tables.py), nor the commit.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.table import Table
from pyiceberg.utils.concurrent import ExecutorFactory

from warehouse.object_store import SinglePutFileIO, StoreUnavailableError
from warehouse.snapshots import TORN, LiveFile
from warehouse.staging import StagedFiles, stage
from warehouse.subjects import is_of
from warehouse.table_session import store_of

FIELD_ID = b"PARQUET:field_id"
NOT_THERE = (FileNotFoundError,)


@dataclass(frozen=True, slots=True)
class Object:
    """A file as it was read: digest of its bytes, its rows, and how many of them are to go."""

    location: str
    sha256: str
    size_bytes: int
    rows: int
    theirs: int


def tokens_in(
    store: SinglePutFileIO, locations: Iterable[str], column: str, tokens: Collection[str]
) -> dict[str, Counter[str]]:
    """Location -> how often each of the tokens stands in that column of the file; files without any are left out, and
    so are those that have no such column or went meanwhile. Raises `StoreUnavailableError`."""
    wanted = pa.array(sorted(tokens), pa.string())
    read = ExecutorFactory.get_or_create().map(lambda at: (at, _tokens_of(store, at, column, wanted)), list(locations))
    return {location: found for location, found in read if found}


def _tokens_of(store: SinglePutFileIO, location: str, column: str, wanted: pa.Array) -> Counter[str]:
    try:
        with store.new_input(location).open() as stream:
            if column not in pq.read_schema(stream).names:
                return Counter()
            stream.seek(0)
            values = pq.ParquetFile(stream, read_dictionary=[column]).read([column])[column]
    except NOT_THERE:
        return Counter()
    except (OSError, *TORN) as error:
        raise StoreUnavailableError(f"{location} cannot be read ({type(error).__name__})") from None
    return _counted(values, wanted)


def _counted(values: pa.ChunkedArray, wanted: pa.Array) -> Counter[str]:
    """How often each wanted word comes; by the dictionary first, so that a file without them costs next to nothing."""
    found: Counter[str] = Counter()
    for chunk in values.chunks:
        if not pa.types.is_dictionary(chunk.type):
            chunk = chunk.dictionary_encode()
        words = chunk.dictionary.cast(pa.string())
        at = np.flatnonzero(pc.is_in(words, wanted).to_numpy(zero_copy_only=False))
        if len(at):
            counts = np.bincount(pc.fill_null(chunk.indices, len(words)).to_numpy(), minlength=len(words) + 1)
            found.update({words[int(each)].as_py(): int(counts[each]) for each in at if counts[each]})
    return found


def without(table: Table, live: LiveFile, column: str, tokens: Collection[str]) -> tuple[Object, StagedFiles]:
    """A file's rows but for those of the tokens, staged, and what the file was. Raises `StoreUnavailableError`."""
    location = live.file.file_path
    try:
        with store_of(table).new_input(location).open() as stream:
            data = stream.read()
        rows = _named_as_now(table, data)
    except (OSError, *TORN) as error:
        raise StoreUnavailableError(f"{location} cannot be read ({type(error).__name__})") from None
    if rows.num_rows != live.file.record_count:
        raise StoreUnavailableError(f"{location} came with {rows.num_rows} of {live.file.record_count} rows")
    kept = rows.filter(pc.invert(is_of(rows, column, tokens)))
    was = Object(location, hashlib.sha256(data).hexdigest(), len(data), rows.num_rows, rows.num_rows - kept.num_rows)
    return was, stage(table, kept, store_of(table))


def _named_as_now(table: Table, data: bytes) -> pa.Table:
    """All rows, columns under the names their fields have now, words that repeat as dictionaries."""
    names = {field.field_id: field.name for field in table.schema().fields}
    buffer = pa.BufferReader(data)
    rows = pq.read_table(buffer, read_dictionary=_repeating(pq.ParquetFile(pa.BufferReader(data))))
    columns = {}
    for field in rows.schema:
        id_ = (field.metadata or {}).get(FIELD_ID)
        if id_ is not None and int(id_) in names:
            columns[names[int(id_)]] = rows[field.name]
    return pa.table(columns)


def _repeating(file: pq.ParquetFile) -> list[str]:
    """Columns of strings that were written by a dictionary: read and written so again, they stay as small."""
    if not file.metadata.num_row_groups:
        return []
    group = file.metadata.row_group(0)
    columns = [group.column(at) for at in range(group.num_columns)]
    text = {
        field.name
        for field in file.schema_arrow
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    }
    return [c.path_in_schema for c in columns if c.path_in_schema in text and "RLE_DICTIONARY" in c.encodings]
