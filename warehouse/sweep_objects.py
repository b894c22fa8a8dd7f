"""The lists a sweep of unreferenced objects leaves in the store: what was marked, and what is about to be deleted.

Holds: their names and their form. They lie beside the table's data and outlive the process that wrote them.
Does not hold: what is marked or deleted, and when (upkeep/sweep.py).

They are Parquet, a row an object, because stores that know Iceberg tables take nothing else into a table's folder.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.table import Table

from warehouse.object_store import SinglePutFileIO
from warehouse.staging import SWEEP

FOLDER = "data/upkeep"
_KEY = b"wardstream.upkeep"
_COLUMNS = pa.schema([("location", pa.string()), ("size_bytes", pa.int64()), ("reason", pa.string())])


@dataclass(frozen=True, slots=True)
class Unreferenced:
    """An object that no snapshot named when it was looked at. `reason`: what it is, in words."""

    location: str
    size_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class SweepList:
    """Objects of one look or one sweep.

    Attributes:
        id: of the sweep, or of the look. table_uuid: of the very table.
        at: when they were listed, by the store's own clock.
        sequence: the sequence number of the head they were held against.
        before: of a sweep, the sweep that the table named when this one was prepared: its fence lands on no other.
    """

    id: str
    table_uuid: str
    at: datetime
    sequence: int
    objects: tuple[Unreferenced, ...]
    before: str | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of all of them."""
        return sum(each.size_bytes for each in self.objects)

    def encoded(self) -> bytes:
        """Itself as Parquet."""
        said = {
            "id": self.id,
            "table": self.table_uuid,
            "at": self.at.isoformat(),
            "sequence": self.sequence,
            "before": self.before,
        }
        rows = pa.Table.from_pylist([asdict(each) for each in self.objects], _COLUMNS)
        sink = pa.BufferOutputStream()
        pq.write_table(rows.replace_schema_metadata({_KEY: json.dumps(said)}), sink, compression="zstd")
        return sink.getvalue().to_pybytes()

    @classmethod
    def decoded(cls, data: bytes) -> SweepList:
        """What `encoded` wrote. Raises `ValueError` (Arrow's errors are such) or `KeyError` for half of it."""
        rows = pq.read_table(pa.BufferReader(data))
        said = json.loads((rows.schema.metadata or {})[_KEY])
        objects = tuple(Unreferenced(**each) for each in rows.to_pylist())
        at = datetime.fromisoformat(said["at"])
        return cls(said["id"], said["table"], at, said["sequence"], objects, said["before"])


def mark_location(table: Table) -> str:
    """Where the one list of marked objects lies."""
    return f"{table.location().rstrip('/')}/{FOLDER}/marked.parquet"


def sweep_location(table: Table, sweep: str) -> str:
    """Where the list of what a sweep deletes lies, from before its fence until all of it is deleted."""
    return f"{table.location().rstrip('/')}/{FOLDER}/sweep-{sweep}.parquet"


def read_list(store: SinglePutFileIO, location: str) -> SweepList | None:
    """The list at a location; None where there is none. Raises OSError, `ValueError` for half of a list."""
    object_ = store.new_input(location)
    if not object_.exists():
        return None
    with object_.open() as stream:
        return SweepList.decoded(stream.read())


def condemned(table: Table) -> frozenset[str]:
    """What the sweep that the table names is deleting; empty once it has deleted all. Raises as `read_list`."""
    sweep = table.properties.get(SWEEP)
    if sweep is None:
        return frozenset()
    found = read_list(table.io, sweep_location(table, sweep))  # ty: ignore[invalid-argument-type]
    return frozenset(each.location for each in found.objects) if found else frozenset()
