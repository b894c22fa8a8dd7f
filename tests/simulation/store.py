"""An object store in memory, and the encodings that are used on it.

Holds: objects by name, a FileIO over them that is asked through turns, and a plain encoding for manifests and data
files that is some twenty times as fast as Avro and Parquet and keeps what they keep. A world uses the plain encoding or
the real ones (warehouse/staging.py and pyiceberg's writers).
Does not hold: which request fails (machine.py).
"""

from __future__ import annotations

import io as memory
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import InputFile
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat, ManifestContent, ManifestEntry
from pyiceberg.table import Table
from pyiceberg.typedef import Record

from tests.simulation.turns import EPOCH_S, OK, Turns
from warehouse.object_store import Listing, SinglePutFileIO, StoredObject
from warehouse.staging import SWEEP, StagedFiles

DAY_US = 86_400_000_000
UNASSIGNED = -1


@dataclass(slots=True)
class Torn:
    """What is left of an object of which only a part arrived."""

    content: Any

    def part(self) -> Any:
        if isinstance(self.content, bytes):
            return self.content[: len(self.content) // 2]
        raise EOFError("the object ends early")


class Store:
    """Objects by name. `ask(kind)` tells how a request is answered; `fail()` makes the error of one that is not."""

    def __init__(self, turns: Turns, fail: Callable[[], Exception]) -> None:
        self._turns, self._fail = turns, fail
        self.objects: dict[str, Any] = {}

    def put(self, location: str, content: Any) -> None:
        answer = self._turns.ask("put")
        if answer in ("lost after", OK):
            self.objects[location] = content
        elif answer == "partial":
            self.objects[location] = Torn(content)
        if answer != OK:
            raise OSError("the store did not take it, or did and did not say so")

    def get(self, location: str) -> Any:
        answer = self._turns.ask("get")
        if answer == "lost":
            raise OSError("the store does not answer")
        if location not in self.objects:
            raise FileNotFoundError(location)
        content = self.objects[location]
        if answer == "hollow":
            return _hollow(content)
        if answer == "torn":
            content = Torn(content)
        return content.part() if isinstance(content, Torn) else content

    def delete(self, locations: list[str]) -> None:
        answer = self._turns.ask("delete")
        if answer != "lost before":
            for location in locations:
                self.objects.pop(location, None)
        if answer != OK:
            raise OSError("the store does not answer")

    def list(self, prefix: str) -> Listing:
        """Everything below a prefix, and the time by the world's clock."""
        if self._turns.ask("list") != OK:
            raise OSError("the store does not answer")
        at = datetime.fromtimestamp(EPOCH_S + self._turns.now, UTC)
        return Listing(tuple(StoredObject(name, 1, at) for name in self.listed(prefix)), at)

    def quiet(self) -> Store:
        """The same objects without faults and turns, for who watches."""
        watched = Store(Turns(), self._fail)
        watched.objects = self.objects
        return watched

    def listed(self, prefix: str) -> list[str]:
        """Names under a prefix, as the judge sees them."""
        return sorted(name for name in self.objects if name.startswith(prefix))


def _hollow(content: Any) -> Any:
    """What came ends where it could have ended: an Avro file behind its header, with no entry."""
    return content[: content.index(content[-16:]) + 16] if isinstance(content, bytes) else ()


class SimulatedIO(SinglePutFileIO):
    """The FileIO of the simulated tables."""

    def __init__(self, store: Store) -> None:
        super().__init__({})
        self.store = store

    def put(self, location: str, data: Any) -> None:
        self.store.put(location, bytes(data) if isinstance(data, pa.Buffer) else data)

    def new_input(self, location: str) -> Any:
        return _Object(self, location)

    def delete_many(self, locations: list[str]) -> None:
        self.store.delete(locations)

    def listed(self, prefix: str) -> Listing:
        return self.store.list(prefix)


class _Object(InputFile):
    def __init__(self, io: SimulatedIO, location: str) -> None:
        super().__init__(location)
        self._io = io

    def __len__(self) -> int:
        return len(self._io.store.objects[self.location])

    def exists(self) -> bool:
        return self.location in self._io.store.objects

    def open(self, seekable: bool = True) -> Any:
        return memory.BytesIO(self._io.store.get(self.location))


def stage_plainly(table: Table, rows: pa.Table, io: SimulatedIO) -> StagedFiles:
    """`warehouse.staging.stage` without Parquet: one object a partition day."""
    sweep, files = table.properties.get(SWEEP), []
    if rows.num_rows:
        days = rows["kafka_time"].cast(pa.int64()).to_numpy() // DAY_US
        for day in np.unique(days).tolist():
            part = rows if (days == day).all() else rows.filter(pa.array(days == day))
            location = table.location_provider().new_data_location(f"{uuid.uuid4()}.parquet")
            io.put(location, part)
            files.append(_data_file(location, part, day))
    return StagedFiles(tuple(files), table.metadata.current_schema_id, table.metadata.default_spec_id, sweep)


def _data_file(location: str, rows: pa.Table, day: int) -> DataFile:
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=location,
        file_format=FileFormat.PARQUET,
        partition=Record(day),
        record_count=rows.num_rows,
        file_size_in_bytes=rows.nbytes,
        spec_id=0,
    )


def data_rows(content: Any) -> pa.Table:
    """The rows of a data file, in either encoding."""
    return pq.read_table(pa.BufferReader(content)) if isinstance(content, bytes) else content


@dataclass(slots=True)
class PlainManifest:
    """What the product asks of a pyiceberg ManifestFile."""

    manifest_path: str
    partition_spec_id: int
    added_snapshot_id: int
    added_files_count: int
    existing_files_count: int
    sequence_number: int = UNASSIGNED
    min_sequence_number: int = UNASSIGNED
    content: ManifestContent = ManifestContent.DATA
    partitions: None = None

    def fetch_manifest_entry(self, io: SimulatedIO, discard_deleted: bool = True) -> list[ManifestEntry]:
        """Its live entries; those it added itself get the sequence number that its commit gave it."""
        content = io.store.get(self.manifest_path)
        return [_inherited(entry, self.sequence_number) for entry in content]


def _inherited(entry: ManifestEntry, sequence: int) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=entry.status,
        snapshot_id=entry.snapshot_id,
        sequence_number=entry.sequence_number or sequence,
        file_sequence_number=entry.file_sequence_number or sequence,
        data_file=entry.data_file,
    )


@dataclass(slots=True)
class PlainManifestWriter:
    """Stands in for pyiceberg's manifest writer."""

    spec_id: int
    snapshot_id: int
    output: Any
    kept: list[ManifestEntry] = field(default_factory=list)
    added: int = 0

    def __enter__(self) -> PlainManifestWriter:
        return self

    def __exit__(self, *failure: object) -> None:
        self.output.data = tuple(self.kept)

    def add(self, entry: ManifestEntry) -> None:
        self.added += 1
        self.kept.append(entry)

    def existing(self, entry: ManifestEntry) -> None:
        self.kept.append(entry)

    def delete(self, entry: ManifestEntry) -> None:
        """A deleted entry is not live."""

    def to_manifest_file(self) -> PlainManifest:
        existing = len(self.kept) - self.added
        return PlainManifest(self.output.location, self.spec_id, self.snapshot_id, self.added, existing)


def write_plain_manifest(version, spec, schema, output, snapshot_id, compression) -> PlainManifestWriter:
    return PlainManifestWriter(spec.spec_id, snapshot_id, output)


@dataclass(slots=True)
class PlainListWriter:
    """Stands in for pyiceberg's writer of manifest lists."""

    output: Any
    sequence: int

    def __enter__(self) -> PlainListWriter:
        return self

    def __exit__(self, *failure: object) -> None:
        pass

    def add_manifests(self, manifests: list[PlainManifest]) -> None:
        self.output.data = tuple(_listed(manifest, self.sequence) for manifest in manifests)


def _listed(manifest: PlainManifest, sequence: int) -> PlainManifest:
    numbers = manifest.sequence_number, manifest.min_sequence_number
    own, least = (sequence if number == UNASSIGNED else number for number in numbers)
    return PlainManifest(
        manifest.manifest_path,
        manifest.partition_spec_id,
        manifest.added_snapshot_id,
        manifest.added_files_count,
        manifest.existing_files_count,
        own,
        least,
    )


def write_plain_list(version, output, snapshot_id, parent_id, sequence, compression) -> PlainListWriter:
    return PlainListWriter(output, sequence)


def read_plain_list(io: SimulatedIO, location: str) -> tuple[PlainManifest, ...]:
    """Stands in for pyiceberg's reader of manifest lists. Each reader has manifests of its own."""
    return tuple(_listed(manifest, UNASSIGNED) for manifest in io.store.get(location))
