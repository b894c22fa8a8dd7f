"""A table as it stands: its state for the plan, and what its snapshots name.

Holds: the reading of metadata, manifests and the last look's list.
Does not hold: any decision (plan.py), nor the listing of objects (sweep.py).
"""

from __future__ import annotations

from collections.abc import Iterable

from pyiceberg.manifest import ManifestContent, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.utils.concurrent import ExecutorFactory

from warehouse.contract import TableContract
from warehouse.object_store import SinglePutFileIO, StoreUnavailableError
from warehouse.offsets import VectorMissingError
from warehouse.snapshots import (
    TORN,
    Head,
    LiveFile,
    entries_of,
    live_count,
    live_files,
    manifests_of,
    superseded,
    total_files,
    vector_of,
)
from warehouse.staging import SWEEP
from warehouse.sweep_objects import SweepList, mark_location, read_list, sweep_location
from warehouse.table_session import store_of
from warehouse.upkeep.plan import FileState, MarkState, TableState, UpkeepPolicy


def observe(table: Table, contract: TableContract, policy: UpkeepPolicy) -> tuple[TableState, list[LiveFile]]:
    """The state of a freshly loaded table, and its files. Raises `StoreUnavailableError`, OSError."""
    snapshot = table.current_snapshot()
    if snapshot is None:
        return TableState(contract.name, 0, (), 0, (), ()), []
    head = Head(table, _whole(table))
    files = live_files(head, store_of(table))
    return (
        TableState(
            name=contract.name,
            sequence=snapshot.sequence_number or 0,
            files=tuple(map(_file, files)),
            snapshots=len(table.metadata.snapshots),
            superseded=tuple(superseded(table.metadata, policy.kept_snapshots)),
            manifests=tuple(live_count(m) for m in head.manifests if m.content == ManifestContent.DATA),
            refused=refusal(table, contract),
            mark=_mark(last_mark(table)),
            sweeping=_sweeping(table),
        ),
        files,
    )


def refusal(table: Table, contract: TableContract) -> str:
    """Why upkeep must keep its hands off the table; empty where it need not."""
    if len(table.metadata.partition_specs) > 1:
        return "its partitioning was changed: files of two kinds of days cannot be joined"
    if contract.positioned:
        try:
            vector_of(table.metadata)
        except VectorMissingError:
            return "no snapshot of its head's line says how far it has read its topics; mend that first"
    return ""


def last_mark(table: Table) -> SweepList | None:
    """What the last look found; None where there was none of this very table. Raises OSError."""
    try:
        mark = read_list(store_of(table), mark_location(table))
    except (*TORN, KeyError):
        return None
    return mark if mark is not None and mark.table_uuid == str(table.metadata.table_uuid) else None


def interrupted_sweep(table: Table) -> SweepList | None:
    """The sweep whose fence the table has and which has not told that it came to its end. Raises OSError."""
    sweep = table.properties.get(SWEEP)
    return read_list(store_of(table), sweep_location(table, sweep)) if sweep else None


def named_objects(table: Table) -> set[str]:
    """Every object that this metadata leads to by any snapshot of any branch or tag, as `object_name` writes it.

    Metadata files, manifest lists, manifests, data and delete files, statistics. Raises `StoreUnavailableError` where
    one of them came incomplete or cannot be read: then nobody can say what is not named.
    """
    store, metadata = store_of(table), table.metadata
    names = {table.metadata_location, *(entry.metadata_file for entry in metadata.metadata_log)}
    names |= {each.statistics_path for each in (*metadata.statistics, *metadata.partition_statistics)}
    manifests: dict[str, ManifestFile] = {}
    readers = ExecutorFactory.get_or_create()
    for snapshot, found in readers.map(lambda s: (s, _manifests(s, store)), metadata.snapshots):
        names.add(snapshot.manifest_list)
        manifests |= {manifest.manifest_path: manifest for manifest in found}
    for paths in readers.map(lambda m: _paths(m, store), list(manifests.values())):
        names.update(paths)
    return {object_name(name) for name in names | manifests.keys()}


def object_name(location: str) -> str:
    """A location without its scheme: engines write s3, s3a and s3n for one and the same object."""
    scheme, colon, path = location.partition(":")
    return path.lstrip("/") if colon and "/" not in scheme else location.lstrip("/")


def _manifests(snapshot: Snapshot, store: SinglePutFileIO) -> list[ManifestFile]:
    if not snapshot.manifest_list:
        raise StoreUnavailableError(f"snapshot {snapshot.snapshot_id} has no manifest list: not a table of format 2")
    try:
        manifests = list(snapshot.manifests(store))
    except (*TORN, OSError) as error:
        raise StoreUnavailableError(f"{snapshot.manifest_list} cannot be read ({type(error).__name__})") from error
    named = sum(live_count(manifest) for manifest in manifests if manifest.content == ManifestContent.DATA)
    if named < total_files(snapshot):
        raise StoreUnavailableError(f"{snapshot.manifest_list} names {named} of {total_files(snapshot)} data files")
    return manifests


def _paths(manifest: ManifestFile, store: SinglePutFileIO) -> Iterable[str]:
    try:
        return [entry.data_file.file_path for entry in entries_of(manifest, store)]
    except OSError as error:
        raise StoreUnavailableError(f"{manifest.manifest_path} cannot be read ({type(error).__name__})") from error


def _whole(table: Table) -> tuple[ManifestFile, ...]:
    try:
        return manifests_of(table)
    except TORN as error:
        raise StoreUnavailableError(f"table {'.'.join(table.name())}: its manifest list came incomplete") from error


def _file(live: LiveFile) -> FileState:
    file = live.file
    return FileState(file.file_path, live.day, file.file_size_in_bytes, file.record_count, live.sequence)


def _mark(mark: SweepList | None) -> MarkState | None:
    if mark is None:
        return None
    data = sum(each.reason == "data file" for each in mark.objects)
    return MarkState(mark.at, mark.sequence, len(mark.objects), data, mark.size_bytes)


def _sweeping(table: Table) -> int | None:
    sweep = interrupted_sweep(table)
    return len(sweep.objects) if sweep is not None else None
