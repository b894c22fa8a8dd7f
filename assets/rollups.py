"""Roll-ups as daily assets.

Holds: the asset, its partitions and how a backfill runs it.
Does not hold: the query (`warehouse/rollups.py`), nor whether a day may be used (`warehouse/release.py`): the function
called here asks that itself, so the UI, a backfill and the command line are refused alike.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of what it decorates.
from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from assets.failures import without_values
from assets.partitions import DAYS
from assets.schedules import rollup_when
from assets.streams import column_schema, freshness, gate_key, table_key
from warehouse.contract import TableContract
from warehouse.settings import Settings

if TYPE_CHECKING:
    from assets.gate import RollupReceipt


def vitals_by_minute_asset(table: TableContract, owners: list[str]) -> dg.AssetsDefinition:
    """`vitals_by_minute`: a backfill of many days is one run, in which each day stands or is refused by itself."""
    key = table_key(table.name)

    @dg.asset(
        key=key,
        deps=[table_key("vitals"), gate_key("vitals")],
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        automation_condition=rollup_when(gate_key("vitals")),
        freshness_policy=freshness(table),
        group_name="rollups",
        kinds={"duckdb", "iceberg"},
        owners=owners,
        description=table.description,
        metadata={"dagster/column_schema": column_schema(table)},
    )
    def vitals_by_minute(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.AssetMaterialization | dg.MaterializeResult]:
        from assets.gate import run_rollup
        from warehouse.release import DayNotReleasedError

        done: dict[str, dict[str, dg.MetadataValue]] = {}
        refused: list[str] = []
        for partition in context.partition_keys:
            try:
                done[partition] = _numbers(without_values(run_rollup, settings, date.fromisoformat(partition)))
            except DayNotReleasedError as error:
                refused.append(str(error))
        if refused:
            # The step fails, and with it Dagster's own account of its partitions: name those that do stand.
            yield from (dg.AssetMaterialization(key, partition=day, metadata=done[day]) for day in done)
            raise DayNotReleasedError("\n".join(refused))
        for day, numbers in done.items():
            context.add_asset_metadata(numbers, asset_key=key, partition_key=day)
        yield dg.MaterializeResult(asset_key=key)

    return vitals_by_minute


def _numbers(receipt: "RollupReceipt") -> dict[str, dg.MetadataValue]:
    return {
        "dagster/partition_row_count": dg.MetadataValue.int(receipt.rows),
        "snapshot_id": dg.MetadataValue.text(str(receipt.snapshot_id)),
        "source_snapshot_id": dg.MetadataValue.text(str(receipt.source_snapshot_id)),
    }
