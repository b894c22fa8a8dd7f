"""Upkeep of each table as an asset of its own, run when enough has accumulated.

Holds: the assets, the sensor that asks after each table's health, and what a run shows.
Does not hold: plan and doers (`warehouse/upkeep`).

These assets stand apart from the lineage: upkeep changes how a table lies in the store and nothing of what it says.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of what it decorates.
from typing import TYPE_CHECKING

import dagster as dg

from assets.failures import without_values
from assets.streams import owners
from warehouse.contract import Contracts, TableContract
from warehouse.settings import Settings

if TYPE_CHECKING:
    from warehouse.upkeep.health import Health
    from warehouse.upkeep.run import TableUpkeep, Upkeep

GROUP = "upkeep"
INTERVAL_SECONDS = 600


class UpkeepRefusedError(RuntimeError):
    """A table that upkeep must not touch. The message says why."""


def upkeep_key(table: str) -> dg.AssetKey:
    """The asset of a table's upkeep."""
    return dg.AssetKey(["upkeep", table])


def upkeep_asset(table: TableContract, contracts: Contracts) -> dg.AssetsDefinition:
    """The upkeep of one table: each run does what there is to do."""

    @dg.asset(
        key=upkeep_key(table.name),
        group_name=GROUP,
        kinds={"iceberg"},
        owners=owners(contracts.stream(table.stream)),
        description=f"How {table.name} lies in the store: files joined, old snapshots and what nobody names let go.",
    )
    def kept(settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
        done = without_values(_keep, settings, contracts, table.name)
        if done.plan.refused:
            raise UpkeepRefusedError(f"{table.name}: {done.plan.refused}")
        return dg.MaterializeResult(metadata=numbers(done))

    return kept


def upkeep_sensor(tables: list[TableContract], contracts: Contracts) -> dg.SensorDefinition:
    """The sensor that asks for one run of all tables whose upkeep is due; ships running."""

    @dg.sensor(
        name="upkeep",
        target=dg.AssetSelection.assets(*(upkeep_key(table.name) for table in tables)),
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Keeps tables in which small files, snapshots, manifests or unreferenced objects have accumulated.",
    )
    def due(context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.SensorResult:
        if _under_way(context.instance):
            return dg.SensorResult(skip_reason="upkeep is under way")
        found = without_values(healths, settings, contracts, [table.name for table in tables])
        ill = [(health, sequence) for health, sequence in found if health.due]
        if not ill:
            return dg.SensorResult(skip_reason=f"{len(found)} tables, none of which is due")
        for health, _ in ill:
            context.log.info(f"{health.table}: {health.figure}: {health.reason}")
        return dg.SensorResult(run_requests=[_request(ill)])

    return due


def healths(settings: Settings, contracts: Contracts, tables: list[str]) -> list[tuple["Health", int]]:
    """Each table's health, and the sequence number of the head it is of. One that is not created yet is passed over."""
    from warehouse.catalog import TableMismatchError

    upkeep, found = _upkeep(settings, contracts), []
    for name in tables:
        try:
            found.append(upkeep.health_at_head(name))
        except TableMismatchError:
            continue
    return found


def numbers(done: "TableUpkeep") -> dict[str, dg.MetadataValue]:
    """A run as Dagster shows it: what was before and is after, and why. Counts only."""
    before, after = done.before, done.after
    pairs = {
        "rows": (before.rows, after.rows),
        "files": (len(before.files), len(after.files)),
        "bytes": (before.size_bytes, after.size_bytes),
        "manifests": (len(before.manifests), len(after.manifests)),
        "snapshots": (before.snapshots, after.snapshots),
    }
    return {
        "reason": dg.MetadataValue.text(done.health.reason),
        "health_before": dg.MetadataValue.float(done.health.figure),
        "dagster/row_count": dg.MetadataValue.int(after.rows),
        "changes": dg.MetadataValue.md(_as_markdown(pairs)),
        **{f"{name}_after": dg.MetadataValue.int(pair[1]) for name, pair in pairs.items()},
        "duplicates_removed": dg.MetadataValue.int(sum(each.duplicates for each in done.compacted)),
        "objects_deleted": dg.MetadataValue.int(done.swept.objects if done.swept else 0),
        "bytes_deleted": dg.MetadataValue.int(done.swept.size_bytes if done.swept else 0),
        "objects_marked": dg.MetadataValue.int(done.marked or 0),
    }


def _as_markdown(pairs: dict[str, tuple[int, int]]) -> str:
    lines = [f"| {name} | {before:,} | {after:,} |" for name, (before, after) in pairs.items()]
    return "\n".join(["| | before | after |", "|---|--:|--:|", *lines])


def _keep(settings: Settings, contracts: Contracts, table: str) -> "TableUpkeep":
    return _upkeep(settings, contracts).run(table)


def _upkeep(settings: Settings, contracts: Contracts) -> "Upkeep":
    from warehouse.catalog import open_catalog
    from warehouse.retention.undo import held_paths
    from warehouse.upkeep.run import Upkeep, policy_of

    return Upkeep(settings, open_catalog(settings), contracts, held_paths, policy_of(settings))


def _request(ill: list[tuple["Health", int]]) -> dg.RunRequest:
    """One run for all of them: each run is a process. The same heads are not asked for twice."""
    return dg.RunRequest(
        run_key=" ".join(f"{health.table}@{sequence}:{health.figure}" for health, sequence in ill),
        asset_selection=[upkeep_key(health.table) for health, _ in ill],
        tags={"wardstream/upkeep": "due"},
    )


def _under_way(instance: dg.DagsterInstance) -> bool:
    waiting = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]
    filters = dg.RunsFilter(statuses=waiting, tags={"wardstream/upkeep": "due"})
    return bool(instance.get_run_records(filters, limit=1))
