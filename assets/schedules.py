"""When gates and derived tables run without anybody asking.

Holds: the automation conditions of daily assets and the sensor that evaluates them.
Does not hold: what they run on (`partitions.py`), nor what they do.

A day whose table grew is judged at the next full hour: not on each commit (a verdict costs seconds of a processor
that the stream shares), and not by the calendar (late rows reopen an old day). What is derived follows in the same run.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import dagster as dg
from dagster import AutomationCondition

# Seven minutes past, so that the hour's last readings have been committed and observed.
HOURLY = "7 * * * *"

_handled = AutomationCondition.newly_requested() | AutomationCondition.newly_updated()

GATE_WHEN = (
    AutomationCondition.any_deps_updated().since(_handled)
    & AutomationCondition.cron_tick_passed(HOURLY)
    & ~AutomationCondition.in_progress()
).with_label("its table's day changed, hourly")


def derived_when(gates: Sequence[dg.AssetKey], made: Sequence[dg.AssetKey]) -> AutomationCondition[dg.AssetKey]:
    """Whenever one of `gates` judges a day or one of `made` makes it again, unless the first gate holds it back."""
    sources, main = dg.AssetSelection.assets(*gates, *made), dg.AssetSelection.assets(*gates[:1])
    return (
        AutomationCondition.any_deps_updated().allow(sources).since(_handled)
        & AutomationCondition.all_deps_blocking_checks_passed().allow(main)
        & ~AutomationCondition.any_deps_in_progress().allow(sources)
        & ~AutomationCondition.in_progress()
    ).with_label("its gates judged the day")


def automation(*keys: dg.AssetKey) -> dg.AutomationConditionSensorDefinition:
    """The sensor that requests runs of `keys`; it ships running, since a gate that waits for a human is no gate."""
    return dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.assets(*keys),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=int(timedelta(seconds=30).total_seconds()),
        description="Judges each day that changed and derives what follows from it, hourly.",
    )
