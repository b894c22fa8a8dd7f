"""A daily look for drift as an asset, a day a partition, and when it is taken.

Holds: the asset, its schedule, the page's place, what a run shows.
Does not hold: the look (`pipelines/drift_look.py`), the page's words, what starts a retraining (`training.py`).
"""

# No `from __future__ import annotations`: Dagster reads the annotations of what it decorates.
import os
import socket
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.failures import without_values
from assets.partitions import DAYS
from assets.quality_pages import write_page
from assets.streams import table_key
from assets.training import GROUP, OWNER, SOURCES, model_key
from warehouse.contract import load_contracts
from warehouse.settings import Settings

if TYPE_CHECKING:
    from pipelines.drift_look import Looked

DRIFT = model_key("sepsis_drift")
AT = "10 5 * * *"
"""When the day before is over everywhere and its last results have come."""


def drift_asset() -> dg.AssetsDefinition:
    """One look a day: stays that began in the days up to it."""

    @dg.asset(
        key=DRIFT,
        deps=[table_key(source) for source in (*SOURCES, "scores")],
        partitions_def=DAYS,
        group_name=GROUP,
        kinds={"iceberg"},
        owners=[OWNER],
        description="Whether patients, sensors, laboratories and scores are still those the model was made with.",
    )
    def looked_for(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
        looked = without_values(look_at, settings, date.fromisoformat(context.partition_key), datetime.now(UTC))
        return dg.MaterializeResult(metadata=numbers(looked, settings))

    return looked_for


def drift_schedule() -> dg.ScheduleDefinition:
    """Each morning (UTC) the day before. Ships running."""

    @dg.schedule(
        name="sepsis_drift_daily",
        target=dg.AssetSelection.assets(DRIFT),
        cron_schedule=AT,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description="Looks for drift over the days up to yesterday.",
    )
    def due(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        yesterday = (context.scheduled_execution_time - timedelta(days=1)).date().isoformat()
        return dg.RunRequest(run_key=yesterday, partition_key=yesterday)

    return due


def look_at(settings: Settings, day: date, now: datetime) -> "Looked":
    """Take the look, keep it, and write its page and the list of all."""
    from pipelines.drift_look import DriftWatch
    from pipelines.drift_page import drift_page, index_page, index_path, page_path
    from warehouse.opened_lake import opened_lake

    writer = f"dagster@{socket.gethostname()}-{os.getpid()}"
    with opened_lake(settings) as catalog:
        watch = DriftWatch(settings, load_contracts(own=settings.contracts), catalog, writer)
        looked = watch.look(day, now)
        write_page(page_path(settings.home, day), drift_page(looked))
        write_page(index_path(settings.home), index_page(watch.looks.reports()))
    return looked


def numbers(looked: "Looked", settings: Settings) -> dict[str, Any]:
    """A look as Dagster shows it: causes, counts, and where the page lies."""
    from pipelines.drift_look import no_cause
    from pipelines.drift_page import page_path

    report, value = looked.report, dg.MetadataValue
    rows = [f"| {c.kind} | {', '.join(c.items[:6])} | {c.where} | {c.because} | {c.remedy} |" for c in report.causes]
    table = "\n".join(["| cause | items | where | found | what to do |", "|---|---|---|---|---|", *rows])
    return {
        "causes": value.md(table if rows else no_cause(looked)),
        "page": value.path(str(page_path(settings.home, looked.last_day))),
        "stays": value.int(report.stays),
        "tests": value.int(report.tests),
        "not_judged": value.int(report.not_judged),
        "asks_for_retraining": value.bool(report.retrains),
        "model": value.text(f"{looked.version}{' (built-in)' if looked.built_in else ''}"),
        "stays_with_an_outcome": value.int(looked.outcomes.stays),
        "withheld_by_consent": value.int(looked.withheld),
        "snapshots": value.json({name: str(each) for name, each in looked.snapshots.items()}),
    }
