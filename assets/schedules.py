"""When the gate and the roll-ups run without anybody asking.

Holds: the automation conditions of daily assets and the sensor that evaluates them.
Does not hold: what they run on (`partitions.py`), nor what they do.

A day whose table grew is judged at the next full hour: not on each commit (a verdict costs seconds of a processor
that the stream shares), and not by the calendar (late rows reopen an old day). The roll-up follows in the same run.
"""

from __future__ import annotations

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


def rollup_when(gate: dg.AssetKey) -> AutomationCondition[dg.AssetKey]:
    """Whenever `gate` judges a day, unless that day is red."""
    return (
        AutomationCondition.any_deps_updated().allow(dg.AssetSelection.assets(gate)).since(_handled)
        & AutomationCondition.all_deps_blocking_checks_passed()
        & ~AutomationCondition.in_progress()
    ).with_label("its gate judged the day fit")


def automation(*keys: dg.AssetKey) -> dg.AutomationConditionSensorDefinition:
    """The sensor that requests runs of `keys`; it ships running, since a gate that waits for a human is no gate."""
    return dg.AutomationConditionSensorDefinition(
        "automation",
        target=dg.AssetSelection.assets(*keys),
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=int(timedelta(seconds=30).total_seconds()),
        description="Judges each day that changed and rolls it up, hourly.",
    )
