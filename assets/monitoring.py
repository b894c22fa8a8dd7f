"""What is seen of topics and tables that Dagster does not make.

Holds: the sensor that looks at the stream's status file and at the catalog, and the events it reports.
Does not hold: alarms. A stale or lagging part shows here; who is called is the site's monitoring.

A topic gets an observation when its figures changed. A table gets an observation at each new snapshot, and a
materialisation for each day that grew: that is what freshness, and the gate's condition, go by.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of what it decorates.
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.failures import without_values
from assets.lineage import STREAM as LINEAGE
from assets.lineage import Lineage
from assets.partitions import is_partition
from assets.streams import table_key, topic_key
from warehouse.contract import Contracts, TableContract
from warehouse.settings import Settings

if TYPE_CHECKING:
    from warehouse.days import Changes

INTERVAL_SECONDS = 30
STATUS_FILE = "run/stream.json"

Event = dg.AssetObservation | dg.AssetMaterialization


@dataclass(frozen=True, slots=True)
class Seen:
    """What the last look found, kept as the sensor's cursor: sequence number by table, figures by topic."""

    tables: Mapping[str, int]
    topics: Mapping[str, Any]

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "Seen":
        known = json.loads(cursor) if cursor else {}
        return cls(known.get("tables", {}), known.get("topics", {}))

    def cursor(self) -> str:
        return json.dumps({"tables": dict(self.tables), "topics": dict(self.topics)})


def observation_sensor(topics: list[str], tables: list[TableContract], contracts: Contracts) -> dg.SensorDefinition:
    """The sensor over these streams' topics and these tables; ships running. What it sees of the stream's commits it
    also tells as lineage, but for the commits of lineage itself."""

    @dg.sensor(
        name="observations",
        minimum_interval_seconds=INTERVAL_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Lag of each topic; newest snapshot, rows and changed days of each table.",
    )
    def observations(context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.SensorResult:
        seen = Seen.from_cursor(context.cursor)
        status = read_status(settings, topics)
        events: list[Event] = list(topic_events(status, seen.topics))
        sequences = dict(seen.tables)
        lineage, now = Lineage(settings, contracts), datetime.now(UTC)
        commits = []
        for contract, changes in without_values(changed_tables, settings, tables, seen.tables):
            sequences[contract.name] = changes.sequence
            events.extend(table_events(contract, changes, now.date()))
            if changes.snapshot_id and contract.fed_by and contract.stream != LINEAGE and any(changes.rows.values()):
                commits.append(lineage.commits(contract.name, changes.snapshot_id, now))
        lineage.tell(commits)
        return dg.SensorResult(asset_events=events, cursor=Seen(sequences, status).cursor())

    return observations


def read_status(settings: Settings, topics: list[str]) -> dict[str, dict[str, int]]:
    """Of each topic in the stream's status file: messages, messages committed to the lake, and the lag between.

    Empty where no stream has run yet, or its file has no figures.
    """
    try:
        status = json.loads((settings.home / STATUS_FILE).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    ends, reached = status.get("end") or {}, status.get("next") or {}
    figures = {}
    for topic in topics:
        if topic in ends:
            end, reach = sum(ends[topic].values()), sum(reached.get(topic, {}).values())
            figures[topic] = {"end": end, "committed": reach, "lag": max(0, end - reach)}
    return figures


def topic_events(
    status: Mapping[str, Mapping[str, int]], before: Mapping[str, Mapping[str, int]]
) -> Iterator[dg.AssetObservation]:
    """An observation of each topic whose figures changed."""
    for topic, figures in status.items():
        if figures != before.get(topic):
            yield dg.AssetObservation(topic_key(topic), metadata=dict(figures))


def changed_tables(
    settings: Settings, contracts: list[TableContract], sequences: Mapping[str, int]
) -> list[tuple[TableContract, "Changes"]]:
    """The tables with snapshots above their sequence number. One that is not created yet is passed over."""
    from warehouse.catalog import TableMismatchError, load_table, open_catalog
    from warehouse.days import changes_since

    catalog, changed = open_catalog(settings), []
    for contract in contracts:
        try:
            table = load_table(catalog, settings.namespace, contract.name)
        except TableMismatchError:
            continue
        before = sequences.get(contract.name, 0)
        changes = changes_since(table, before)
        if changes.sequence > before:
            changed.append((contract, changes))
    return changed


def table_events(contract: TableContract, changes: "Changes", today: date) -> Iterator[Event]:
    """What a table's new snapshots mean: its figures, and each of its days that grew and is a partition."""
    key = table_key(contract.name)
    days = {day: rows for day, rows in changes.rows.items() if day is not None and rows}
    partitions = {day: rows for day, rows in days.items() if is_partition(day, today)}
    yield dg.AssetObservation(
        key,
        metadata={
            "dagster/row_count": changes.total_rows,
            "snapshot_id": str(changes.snapshot_id),
            "days_without_partition": len(days) - len(partitions),
        },
    )
    if contract.daily:
        for day in sorted(partitions):
            yield dg.AssetMaterialization(key, partition=day.isoformat(), metadata={"rows_added": partitions[day]})
