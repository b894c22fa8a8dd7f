"""Retention of each class as an asset of its own, run once a day.

Holds: the assets, their schedules, which acts the site's setting lets them do, and what a run shows.
Does not hold: plan and doer (`warehouse/retention`).

By default a run only plans and shows: what leaves a table by mistake of a class is noticed before it is done. Dagster
never moves days back from the cold store: that is `wardstream retention apply`.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of what it decorates.
import os
import secrets
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from assets.failures import without_values
from warehouse.contract import Contracts, RetentionClass
from warehouse.settings import Settings

if TYPE_CHECKING:
    from warehouse.retention.doer import Outcome
    from warehouse.retention.run import Survey

GROUP = "retention"
OWNER = "team:data-protection"
ALLOWED = {"plan": (), "move": ("cool",), "apply": ("cool", "remove", "destroy_key")}
"""What a run does by the word of WARDSTREAM_RETENTION."""

FIRST_HOUR, MINUTES_APART = 2, 10
WAIT_SECONDS = 1_800
SHOWN_SPARED = 20


class RetentionRefusedError(RuntimeError):
    """Days that were due and not done: a line each. The next run plans them anew."""


def retention_key(name: str) -> dg.AssetKey:
    """The asset of a class's retention."""
    return dg.AssetKey(["retention", name])


def scheduled_classes(contracts: Contracts) -> list[RetentionClass]:
    """Classes of which something can become due: they have tables, and days of them move or go."""
    used = {table.retention_class for table in contracts.tables()}
    return [
        each
        for each in contracts.retention_classes.values()
        if each.name in used and (each.cold_after_days, each.gone_after_days) != (None, None)
    ]


def retention_asset(kept: RetentionClass, contracts: Contracts) -> dg.AssetsDefinition:
    """The retention of one class: each run plans, does what the setting allows, and shows both."""

    @dg.asset(
        key=retention_key(kept.name),
        group_name=GROUP,
        kinds={"iceberg"},
        owners=[OWNER],
        description=f"Days of class {kept.name} move to the cold store and leave: {kept.kept}.",
    )
    def retained(context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]) -> dg.MaterializeResult:
        survey, outcome = without_values(_retain, settings, contracts, kept.name)
        for spared in survey.plan.spared[:SHOWN_SPARED]:
            context.log.info(f"{spared.table} {spared.day or ''}: {spared.reason}")
        if outcome.refused:
            raise RetentionRefusedError("\n".join(f"{r.table} {r.day}: {r.reason}" for r in outcome.refused))
        return dg.MaterializeResult(metadata=numbers(settings.retention, survey, outcome))

    return retained


def retention_schedules(contracts: Contracts) -> list[dg.ScheduleDefinition]:
    """A daily schedule for each class, some minutes apart at night (UTC); they ship running."""
    return [
        dg.ScheduleDefinition(
            name=f"retention_{kept.name}",
            target=dg.AssetSelection.assets(retention_key(kept.name)),
            cron_schedule=f"{n * MINUTES_APART % 60} {FIRST_HOUR + n * MINUTES_APART // 60} * * *",
            execution_timezone="UTC",
            default_status=dg.DefaultScheduleStatus.RUNNING,
            description=f"Plans the retention of class {kept.name}; does it as WARDSTREAM_RETENTION says.",
        )
        for n, kept in enumerate(scheduled_classes(contracts))
    ]


def numbers(setting: str, survey: "Survey", outcome: "Outcome") -> dict[str, dg.MetadataValue]:
    """A run as Dagster shows it: the plan, what was done of it, and what storing costs. Counts only."""
    cost, prices = survey.cost, survey.prices
    examples = " (some prices are examples)" if prices.examples else ""
    return {
        "setting": dg.MetadataValue.text(setting),
        "plan": dg.MetadataValue.md(_plan(survey)),
        "days_due": dg.MetadataValue.int(len(survey.plan.actions)),
        "days_spared": dg.MetadataValue.int(len(survey.plan.spared)),
        "receipts": dg.MetadataValue.int(len(outcome.receipts)),
        "rows_removed": dg.MetadataValue.int(sum(each.rows for each in outcome.receipts if each.act == "removed")),
        "bytes_warm": dg.MetadataValue.int(cost.before.warm_bytes),
        "bytes_cold": dg.MetadataValue.int(cost.before.cold_bytes),
        "monthly_cost": dg.MetadataValue.text(
            f"{cost.before.monthly:.4f} → {cost.after.monthly:.4f} {prices.currency}{examples}"
        ),
    }


def _plan(survey: "Survey") -> str:
    """A line a table and kind of act."""
    sums: dict[tuple[str, str], list[int]] = {}
    for action in survey.plan.actions:
        line = sums.setdefault((action.table, action.kind), [0, 0, 0])
        for at, n in enumerate((1, action.rows, action.bytes)):
            line[at] += n
    lines = [f"| {table} | {kind} | {n:,} | {rows:,} | {size:,} |" for (table, kind), (n, rows, size) in sums.items()]
    return (
        "\n".join(["| table | act | days | rows | bytes |", "|---|---|--:|--:|--:|", *lines])
        if lines
        else "nothing due"
    )


def _retain(settings: Settings, contracts: Contracts, name: str) -> "tuple[Survey, Outcome]":
    from warehouse.retention.doer import Outcome
    from warehouse.retention.run import opened_retention

    tables = [table.name for table in contracts.tables() if table.retention_class == name]
    writer = f"dagster@{socket.gethostname()}-{os.getpid()}"
    with opened_retention(settings, contracts, writer=writer, clock=_now, new_id=_new_receipt) as retention:
        if not (allowed := ALLOWED[settings.retention]):
            return retention.survey(tables), Outcome((), ())
        return retention.apply(tables, allowed, WAIT_SECONDS)


def _now() -> datetime:
    return datetime.now(UTC)


def _new_receipt() -> str:
    return f"{_now():%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
