"""What left a table by retention, written down before it leaves, so that it can come back.

Holds: the records beside the table's data (`<table location>/data/retention/`), one object an act, and which objects a
sweep of unreferenced ones must spare because of them.
Does not hold: the acts themselves (doer.py), nor the receipts as rows (receipts.py).

A record is never changed. Its name begins with the end of its undo window, so that those whose window is over need not
be opened. It is a Parquet file, a row a file that leaves, because stores that know Iceberg tables (SeaweedFS's table
buckets) take nothing but Parquet and Avro into a table's folder; any tool can read it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSelector, FileType
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from warehouse.object_store import StoreUnavailableError
from warehouse.snapshots import LiveFile
from warehouse.table_session import store_of

FOLDER = "data/retention"
FORMAT = 1
_KEY = b"wardstream.retention"
_STAMP = "%Y%m%dT%H%M%S%fZ"
_RECORD = re.compile(r"(?P<until>\d{8}T\d{12}Z)-(?P<receipt>[\w.-]+)\.parquet")
_COUNTS = ("column_sizes", "value_counts", "null_value_counts", "nan_value_counts")
_BOUNDS = ("lower_bounds", "upper_bounds")
_PLAIN = ("file_path", "record_count", "file_size_in_bytes", "split_offsets", "equality_ids", "sort_order_id")


class RecordError(Exception):
    """A record of retention cannot be read as one: altered, or written by a later version. Nothing is guessed."""


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """One act as it was about to be done.

    Attributes:
        receipt: its id. act: `cool`, `warm` or `remove`.
        table_uuid: of the very table; a table made anew under the name gets nothing back from it.
        at: when it was written down. until: the end of the undo window. Both aware.
        files: what leaves the table, as it stands in it, or for a table without days the leaving rows staged apart.
        copies: path -> its copy, for `cool` and `warm`; empty otherwise.
        told: what the receipts will say of each day: day, rows, bytes, files, retention_class, reason.
        acted_by: the process.
        replaced: for a table without days: paths of the files that were rewritten without the leaving rows.
    """

    receipt: str
    act: str
    table_uuid: str
    at: datetime
    until: datetime
    files: tuple[LiveFile, ...]
    copies: Mapping[str, str]
    told: tuple[Mapping[str, Any], ...]
    acted_by: str
    replaced: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return sum(live.file.record_count for live in self.files)


def held_paths(table: Table, now: datetime) -> frozenset[str]:
    """Locations that a sweep of what no snapshot names must spare: the files of every act whose undo window is open at
    `now` (aware), with their copies, and the records themselves.

    Raises `StoreUnavailableError` or `RecordError` where that cannot be told for certain: then nothing may be swept.
    """
    held: set[str] = set()
    for location, until in _listed(table).items():
        held.add(location)
        if until is not None and until > now:
            record = read_record(table, location)
            held |= {live.file.file_path for live in record.files}
            held |= set(record.copies.values())
    return frozenset(held)


def moved(file: DataFile, path: str) -> DataFile:
    """The same file under another path: nothing else of its manifest entry changes."""
    copy = DataFile(*(path if value is file.file_path else value for value in file._data))
    copy.spec_id = file.spec_id
    return copy


def records_of(table: Table) -> list[UndoRecord]:
    """Every record of the table, oldest first. Raises as `held_paths` does."""
    return sorted(located_records(table).values(), key=lambda record: (record.at, record.receipt))


def located_records(table: Table) -> dict[str, UndoRecord]:
    """Location -> record. Raises as `held_paths` does."""
    return {at: read_record(table, at) for at, until in _listed(table).items() if until is not None}


def write_record(table: Table, record: UndoRecord) -> str:
    """Put the record into the store before its act is done; its location. Raises OSError."""
    location = f"{folder_of(table)}/{record.until.astimezone(UTC):{_STAMP}}-{record.receipt}.parquet"
    store_of(table).put(location, encode_record(record))
    return location


def read_record(table: Table, location: str) -> UndoRecord:
    """Raises `StoreUnavailableError`, or `RecordError` where the object is no record of this table."""
    try:
        with table.io.new_input(location).open() as stream:
            data = stream.read()
    except OSError as error:
        raise StoreUnavailableError(f"{location} cannot be read ({type(error).__name__})") from error
    record = decode_record(data, location)
    if record.table_uuid != str(table.metadata.table_uuid):
        raise RecordError(f"{location} is of another table that once had this name; move it away, and look at it")
    return record


def folder_of(table: Table) -> str:
    """Where the table's records lie."""
    return f"{table.location().rstrip('/')}/{FOLDER}"


def encode_record(record: UndoRecord) -> bytes:
    """The record as Parquet: a row a file with every field of its manifest entry, what concerns all in the footer."""
    said = {
        "format": FORMAT,
        "receipt": record.receipt,
        "act": record.act,
        "table_uuid": record.table_uuid,
        "at": record.at.isoformat(),
        "until": record.until.isoformat(),
        "replaced": list(record.replaced),
        "told": [{**each, "day": each["day"].isoformat()} for each in record.told],
        "acted_by": record.acted_by,
    }
    files = [live.file for live in record.files]
    rows = pa.table(
        {
            "path": pa.array([file.file_path for file in files], pa.string()),
            "copy": pa.array([record.copies.get(file.file_path) for file in files], pa.string()),
            "rows": pa.array([file.record_count for file in files], pa.int64()),
            "bytes": pa.array([file.file_size_in_bytes for file in files], pa.int64()),
            "entry": pa.array([json.dumps(_file_as_json(live)) for live in record.files], pa.string()),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(rows.replace_schema_metadata({_KEY: json.dumps(said)}), sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def decode_record(data: bytes, name: str) -> UndoRecord:
    """What `encode_record` wrote. Raises `RecordError`, which says `name` and nothing of the content."""
    try:
        rows = pq.read_table(pa.BufferReader(data))
        said = json.loads((rows.schema.metadata or {})[_KEY])
        if said["format"] != FORMAT:
            raise RecordError(f"{name} was written by another version of Wardstream; use that one")
        paths, copies = rows["path"].to_pylist(), rows["copy"].to_pylist()
        return UndoRecord(
            receipt=said["receipt"],
            act=said["act"],
            table_uuid=said["table_uuid"],
            at=datetime.fromisoformat(said["at"]),
            until=datetime.fromisoformat(said["until"]),
            files=tuple(_file_from_json(json.loads(entry)) for entry in rows["entry"].to_pylist()),
            copies={path: copy for path, copy in zip(paths, copies, strict=True) if copy},
            told=tuple({**each, "day": date.fromisoformat(each["day"])} for each in said["told"]),
            acted_by=said["acted_by"],
            replaced=tuple(said["replaced"]),
        )
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise RecordError(f"{name} is no whole record of retention ({type(error).__name__})") from None


def listed_under(table: Table, folder: str) -> Iterable[str]:
    """Locations of the objects right in a folder of the table's store; none where there is no such folder.

    Raises `StoreUnavailableError`.
    """
    io = store_of(table)
    scheme, netloc, path = io.parse_location(folder, io.properties)
    try:
        found = io.fs_by_scheme(scheme, netloc).get_file_info(FileSelector(path, allow_not_found=True))
    except OSError as error:
        raise StoreUnavailableError(f"{folder} cannot be listed ({type(error).__name__})") from error
    return [f"{folder}/{info.base_name}" for info in found if info.type == FileType.File]


def _listed(table: Table) -> dict[str, datetime | None]:
    """Every object of the folder -> the end of its undo window, None for what is no record but tells of one."""
    found: dict[str, datetime | None] = {}
    for location in listed_under(table, folder_of(table)):
        match = _RECORD.fullmatch(location.rpartition("/")[2])
        found[location] = datetime.strptime(match["until"], _STAMP).replace(tzinfo=UTC) if match else None
    return found


def _file_as_json(live: LiveFile) -> dict[str, Any]:
    file = live.file
    return {
        "sequence": live.sequence,
        "content": int(file.content),
        "file_format": FileFormat(file.file_format).value,
        "partition": [file.partition[index] for index in range(len(file.partition))],
        **{name: getattr(file, name) for name in _PLAIN},
        # pyiceberg gives these as mappings that are read on demand, which JSON does not take.
        **{name: _plain(getattr(file, name)) for name in _COUNTS},
        **{name: _in_base_64(getattr(file, name)) for name in _BOUNDS},
        "key_metadata": base64.b64encode(file.key_metadata).decode() if file.key_metadata else None,
        "spec_id": file.spec_id,
    }


def _file_from_json(document: Mapping[str, Any]) -> LiveFile:
    counts = {name: document[name] and {int(id_): n for id_, n in document[name].items()} for name in _COUNTS}
    bounds = {
        name: document[name] and {int(id_): base64.b64decode(text) for id_, text in document[name].items()}
        for name in _BOUNDS
    }
    file = DataFile.from_args(
        content=DataFileContent(document["content"]),
        file_format=FileFormat(document["file_format"]),
        partition=Record(*document["partition"]),
        key_metadata=base64.b64decode(document["key_metadata"]) if document["key_metadata"] else None,
        **{name: document[name] for name in _PLAIN},
        **counts,
        **bounds,
    )
    file.spec_id = document["spec_id"]
    return LiveFile(file, document["sequence"])


def _plain(counts: Mapping[int, int] | None) -> dict[int, int] | None:
    return None if counts is None else dict(counts)


def _in_base_64(bounds: Mapping[int, bytes] | None) -> dict[int, str] | None:
    return None if bounds is None else {id_: base64.b64encode(value).decode() for id_, value in bounds.items()}
