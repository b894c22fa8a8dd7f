"""Topics and their tables as Dagster sees them: external assets that the stream, never Dagster, writes.

Holds: what a contract says in Dagster's words (keys, lineage, owners, columns, freshness).
Does not hold: their state (`monitoring.py` observes it), nor assets that Dagster itself makes.
"""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from assets.partitions import DAYS
from expectations.suites import STALE_AFTER
from warehouse.contract import Column, Contracts, StreamContract, TableContract, TopicContract

# Streams that the graph writes itself, and the streams it makes them from. No contract says so: what a message is made
# from is the graph's business (pipelines/stream.py), and this is its picture.
_WATCHED = ("device.vitals", "iot.patient", "lab.results", "medication.events")
MADE_FROM = dict.fromkeys(("clinical.alerts", "clinical.alerts.withheld", "clinical.scores"), _WATCHED)


def topic_key(stream: str) -> dg.AssetKey:
    """The asset of a stream's Kafka topic."""
    return dg.AssetKey(["kafka", stream])


def table_key(table: str) -> dg.AssetKey:
    """The asset of an Iceberg table."""
    return dg.AssetKey(["lake", table])


def topic_spec(stream: StreamContract, topic: TopicContract) -> dg.AssetSpec:
    """The topic of a stream."""
    return dg.AssetSpec(
        topic_key(stream.name),
        deps=[topic_key(source) for source in MADE_FROM.get(stream.name, ())],
        group_name=group(stream),
        kinds={"kafka"},
        owners=owners(stream),
        description=stream.message_description,
        metadata={
            "dagster/column_schema": _columns(stream.message),
            "partitions": topic.partitions,
            "contract_version": stream.version,
        },
    )


def gate_key(table: str) -> dg.AssetKey:
    """The asset that judges a table's days."""
    return dg.AssetKey(["quality", table])


def table_spec(table: TableContract, contracts: Contracts, gated: Sequence[str]) -> dg.AssetSpec:
    """A table that no asset here makes: fed by topics, or, for verdicts, written by the gates of `gated`."""
    return dg.AssetSpec(
        table_key(table.name),
        deps=[
            *(topic_key(stream) for stream in table.fed_by),
            *(gate_key(source) for source in table.derived_from if source in gated),
        ],
        partitions_def=DAYS if table.daily else None,
        freshness_policy=freshness(table) if table.daily else None,
        group_name=group(contracts.stream(table.stream)),
        kinds={"iceberg"},
        owners=owners(contracts.stream(table.stream)),
        description=table.description,
        metadata={"dagster/column_schema": column_schema(table), "grain": table.grain},
    )


def freshness(table: TableContract) -> dg.FreshnessPolicy:
    """When the table counts as stale, by its latency class."""
    window = STALE_AFTER[table.latency_class]
    return dg.FreshnessPolicy.time_window(fail_window=window, warn_window=window / 2)


def group(stream: StreamContract) -> str:
    """The contract's domain as Dagster's group."""
    return stream.domain.replace("-", "_")


def owners(stream: StreamContract) -> list[str]:
    """The contract's owner as Dagster wants it."""
    return [f"team:{stream.owner}"]


def column_schema(table: TableContract) -> dg.TableSchema:
    """Columns, Iceberg types, units and meaning of a table."""
    return _columns(table.columns)


def _columns(columns: tuple[Column, ...]) -> dg.TableSchema:
    return dg.TableSchema(columns=[_column(column) for column in columns])


def _column(column: Column) -> dg.TableColumn:
    said = {"unit": column.unit, "code system": column.code_system, "class": column.classification}
    return dg.TableColumn(
        column.name,
        column.iceberg,
        description=column.description,
        constraints=dg.TableColumnConstraints(
            nullable=not column.required, other=[f"{name}: {value}" for name, value in said.items() if value]
        ),
    )
