"""Derived tables as daily assets: one builder, driven by the contract.

Holds: the asset, its partitions, what a run shows, and how a backfill runs it.
Does not hold: how a table is made or whether a day may be used (`derive.py`): that asks itself, so the UI, a backfill
and the command line are refused alike. A refused day fails the run and is named; it is mended by judging it and
materialising it again.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of what it decorates.
from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from assets.failures import without_values
from assets.lineage import Job, Lineage
from assets.partitions import DAYS
from assets.schedules import derived_when
from assets.streams import column_schema, freshness, gate_key, group, owners, table_key
from warehouse.contract import Contracts, TableContract
from warehouse.settings import Settings

if TYPE_CHECKING:
    from assets.derive import DerivedDay

BARS = " ▁▂▃▄▅▆▇█"


class DaysRefusedError(RuntimeError):
    """Days that were not made: a line each, naming table, day and the way out."""


def derived_asset(table: TableContract, contracts: Contracts, gated: Sequence[str]) -> dg.AssetsDefinition:
    """A derived table: a backfill of many days is one run, in which each day stands or is refused by itself."""
    key, stream = table_key(table.name), contracts.stream(table.stream)
    gates = [gate_key(source) for source in table.derived_from if source in gated]
    job = Job(key.to_user_string(), table.derived_from, [table.name])
    # Not the registry of consent: each grant of anybody would make every day again.
    made = [table_key(source) for source in table.derived_from if contracts.table(source).derived]

    @dg.asset(
        key=key,
        deps=[*map(table_key, table.derived_from), *gates],
        partitions_def=DAYS,
        backfill_policy=dg.BackfillPolicy.single_run(),
        automation_condition=derived_when(gates, made),
        freshness_policy=freshness(table),
        group_name=group(stream),
        kinds={"duckdb", "iceberg"},
        owners=owners(stream),
        description=table.description,
        metadata={"dagster/column_schema": column_schema(table), "grain": table.grain},
    )
    def derived(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.AssetMaterialization | dg.MaterializeResult]:
        from assets.derive import derive

        asked = [date.fromisoformat(partition) for partition in context.partition_keys]
        with Lineage(settings, contracts).of_run(job, context.run.run_id):
            receipt = without_values(derive, settings, contracts, table.name, asked)
            if receipt.refused:
                # The step fails, and with it Dagster's own account of its partitions: name those that do stand.
                yield from (_materialisation(key, day) for day in receipt.done)
                raise DaysRefusedError("\n".join(receipt.refused))
        for day in receipt.done:
            if day.day in asked:
                context.add_asset_metadata(numbers(day), asset_key=key, partition_key=day.day.isoformat())
            else:
                yield _materialisation(key, day)
        yield dg.MaterializeResult(asset_key=key)

    return derived


def _materialisation(key: dg.AssetKey, day: "DerivedDay") -> dg.AssetMaterialization:
    return dg.AssetMaterialization(key, partition=day.day.isoformat(), metadata=numbers(day))


def numbers(day: "DerivedDay") -> dict[str, dg.MetadataValue]:
    """A day as Dagster shows it: counts, snapshots, rows by hour as a small plot; no value of any row."""
    return {
        "dagster/partition_row_count": dg.MetadataValue.int(day.rows),
        "added_bytes": dg.MetadataValue.int(day.added_bytes),
        "snapshot_id": dg.MetadataValue.text(str(day.snapshot_id or "as it was")),
        "source_snapshots": dg.MetadataValue.json({name: str(id_) for name, id_ in day.sources.items()}),
        "rows_by_hour": dg.MetadataValue.md(plot(day.by_hour)),
        "warnings": dg.MetadataValue.json(dict(day.warnings)),
    }


def plot(counts: Sequence[int]) -> str:
    """Counts of hours as one line of bars, with the greatest named."""
    most = max(counts, default=0)
    bars = "".join(BARS[-(-count * (len(BARS) - 1) // most)] if most else BARS[0] for count in counts)
    return f"`|{bars}|` 0 to 24 h UTC, at most {most} rows an hour"
