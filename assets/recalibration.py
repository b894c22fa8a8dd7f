"""Recalibration of the sepsis model as an asset: the champion's risks fitted to the outcomes that came back.

Holds: the asset, a monthly schedule, and what a run shows.
Does not hold: the work (`pipelines/retraining.py`), the gate, the register.

With too few outcomes a run fails and says how many there are: nothing was made.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of what it decorates.
import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.failures import without_values
from assets.streams import table_key
from assets.training import GROUP, OWNER, SOURCES, WHY, model_key
from warehouse.contract import load_contracts
from warehouse.settings import Settings

if TYPE_CHECKING:
    from pipelines.retraining import Recalibration

CALIBRATION = "sepsis_calibration"
SCHEDULED = "the month's recalibration"


def recalibration_asset() -> dg.AssetsDefinition:
    """The one step."""

    @dg.asset(
        key=model_key(CALIBRATION),
        deps=[table_key(source) for source in SOURCES],
        group_name=GROUP,
        kinds={"iceberg"},
        owners=[OWNER],
        description="The champion with risks fitted to what came of this house's stays; the gate decides whether it "
        "takes over. Trees, threshold and so alerts stay as they are.",
    )
    def recalibrated(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> dg.MaterializeResult[None]:
        why = context.run.tags.get(WHY, "asked for by hand")
        return dg.MaterializeResult(metadata=numbers(without_values(_recalibrate, settings, why)))

    return recalibrated


def recalibration_schedule() -> dg.ScheduleDefinition:
    """Once a month, in the night of its first day (UTC). Ships stopped: a site begins it once outcomes come in."""
    return dg.ScheduleDefinition(
        name="sepsis_recalibration",
        target=dg.AssetSelection.assets(model_key(CALIBRATION)),
        cron_schedule="30 3 1 * *",
        execution_timezone="UTC",
        tags={WHY: SCHEDULED},
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Fits the champion's risks to the outcomes that came back; the gate decides whether they hold.",
    )


def numbers(done: "Recalibration") -> dict[str, Any]:
    """The run as Dagster shows it: counts and figures only."""
    anew, value = done.model.metadata["recalibrated"], dg.MetadataValue
    rows = [f"| {name} | {anew['before'][name]:.4f} | {anew['after'][name]:.4f} |" for name in anew["before"]]
    return {
        "version": value.text(done.model.version),
        "of": value.text(anew["of"]),
        "stays": value.int(done.stays),
        "septic_stays": value.int(done.septic_stays),
        "fitted_to": value.int(anew["fitted_to"]),
        "withheld_by_consent": value.int(done.withheld),
        "snapshots": value.json(dict(done.snapshots)),
        "risks": value.md("\n".join(["| | before | after |", "|---|--:|--:|", *rows])),
        "promoted": value.bool(done.decision.promote),
        "reason": value.text(done.decision.reason),
    }


def _recalibrate(settings: Settings, why: str) -> "Recalibration":
    from pipelines.retraining import Retraining
    from warehouse.opened_lake import opened_lake

    with opened_lake(settings) as catalog:
        writer = f"dagster@{socket.gethostname()}-{os.getpid()}"
        work = Retraining(settings, load_contracts(own=settings.contracts), catalog, writer)
        return work.recalibrate(why, datetime.now(UTC))
