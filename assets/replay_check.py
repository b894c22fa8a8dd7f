"""Replay as an asset with a check: a day of a table made again and held against it, whenever somebody asks.

Holds: the asset and its check, by day, so that the UI can backfill a stretch of days.
Does not hold: the replay (`replay.py`). It runs for nobody by itself: a day is as much work as when it came, and the
processor is the stream's. Nothing is swapped here; that is a command.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of what it decorates.
from collections.abc import Iterator
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from assets.failures import without_values
from assets.partitions import DAYS
from assets.streams import group, owners, table_key
from warehouse.contract import Contracts, TableContract
from warehouse.settings import Settings

if TYPE_CHECKING:
    from assets.replay import Replay
    from warehouse.comparison import Difference

CHECK = "same_when_made_again"


def replay_key(table: str) -> dg.AssetKey:
    """The asset that makes a table's days again."""
    return dg.AssetKey(["replay", table])


def replay_asset(table: TableContract, contracts: Contracts) -> dg.AssetsDefinition:
    """The replay of `table`: each run makes one day again, and its check says whether it is the same."""
    stream = contracts.stream(table.stream)

    @dg.asset(
        key=replay_key(table.name),
        deps=[table_key(table.name)],
        partitions_def=DAYS,
        check_specs=[_check_spec(table.name)],
        group_name=group(stream),
        kinds={"beam", "duckdb"},
        owners=owners(stream),
        description=f"A day of {table.name} made again from its messages by the graph's own steps, and compared.",
    )
    def replayed(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult]:
        from assets.replay import Request, replay

        day = date.fromisoformat(context.partition_key)
        request = Request(table.name, (day,), who="dagster", why=f"replay check, run {context.run.run_id}")
        done = without_values(replay, settings, contracts, request)
        yield check_result(done)
        yield dg.MaterializeResult(metadata=_numbers(done))

    return replayed


def check_result(done: "Replay") -> dg.AssetCheckResult:
    """A replay as Dagster shows it: counts, columns by name and a few positions, no value of any row."""
    return dg.AssetCheckResult(
        check_name=CHECK,
        passed=done.equal and done.complete,
        severity=dg.AssetCheckSeverity.WARN if done.equal else dg.AssetCheckSeverity.ERROR,
        description=_sentence(done),
        metadata={**_numbers(done), "differences": dg.MetadataValue.md(_page(done))},
    )


def _check_spec(table: str) -> dg.AssetCheckSpec:
    return dg.AssetCheckSpec(
        CHECK,
        asset=replay_key(table),
        partitions_def=DAYS,
        description="The day's messages, worked again, give the rows that the table has.",
    )


def _numbers(done: "Replay") -> dict[str, dg.MetadataValue]:
    own = [table for table in done.tables if table.table == done.table]
    return {
        "rows": dg.MetadataValue.int(sum(sum(table.kept.values()) for table in own)),
        "rows_made_again": dg.MetadataValue.int(sum(sum(table.rebuilt.values()) for table in own)),
        "messages": dg.MetadataValue.int(sum(stream.messages for stream in done.streams)),
        "positions_gone": dg.MetadataValue.int(
            sum(gone.end - gone.start for stream in done.streams for gone in stream.gone)
        ),
    }


def _sentence(done: "Replay") -> str:
    if not done.equal:
        found = (_words(table.table, each) for table in done.tables for each in table.differences)
        return f"different: {'; '.join(found)}"
    return "the same" if done.complete else "the same as far as it can be made again"


def _words(table: str, each: "Difference") -> str:
    return f"{table}: {each.column or each.kind} in {each.rows} rows"


def _page(done: "Replay") -> str:
    """The differences as a Markdown table."""
    lines = ["| table | day | what | rows | for example |", "| --- | --- | --- | --- | --- |"]
    for table in done.tables:
        for each in table.differences:
            what = each.column or (f"{each.kind}, {each.instead} instead" if each.instead else each.kind)
            places = ", ".join(f"{partition}:{offset}" for _, partition, offset in each.examples)
            lines.append(f"| {table.table} | {each.day} | {what} | {each.rows} | {places} |")
    return "\n".join(lines)
