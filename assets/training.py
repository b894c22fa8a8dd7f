"""Retraining of the sepsis model as assets: training set, model, evaluation, decision; and what starts it.

Holds: the assets, a weekly schedule, the sensor that looks for drift that asks for it, and what a run shows.
Does not hold: the work (`pipelines/retraining.py`), the gate, the register.

All four are made in one step: stays of people pass from one to the next in memory and are written nowhere else.
"""

# No `from __future__ import annotations`: Dagster reads the annotations of what it decorates.
import os
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.failures import without_values
from assets.quality_pages import write_page
from assets.streams import table_key
from warehouse.contract import Contracts, load_contracts
from warehouse.settings import Settings

if TYPE_CHECKING:
    from pipelines.retraining import Retrained

GROUP = "sepsis_model"
OWNER = "team:model-owners"
STEPS = {
    "sepsis_training_set": "Stays with an outcome, of people who allow it, as of snapshots that are kept by a tag.",
    "sepsis_model": "Trees, calibration and threshold, learnt from four fifths of the patients.",
    "sepsis_evaluation": "How good it is on stays it has not seen, beside the champion.",
    "sepsis_promotion": "Whether it becomes the champion, and why not.",
}
SOURCES = ("labs", "vitals", "wearables", "adt_events", "alert_feedback", "consent_updates")
LOOK_SECONDS = 900
LEAST_OUTCOMES = 200
"""Stays with an outcome that a retraining needs (`pipelines/retraining.py`): without them none is started."""
MONITOR = "errors"
"""What a cause of `drift_monitors.py` names: the look that finds it tells it, and no other does."""
ASKED_FOR = timedelta(days=28)
"""So long a change that was told once asks for a retraining, until there is one."""
WHY = "wardstream/why"
SCHEDULED = "the week's retraining"


def model_key(name: str) -> dg.AssetKey:
    """The asset of a step."""
    return dg.AssetKey(["models", name])


def training_assets() -> dg.AssetsDefinition:
    """The steps, one after the other."""
    names, specs = list(STEPS), []
    for at, (name, says) in enumerate(STEPS.items()):
        above = [model_key(names[at - 1])] if at else [table_key(source) for source in SOURCES]
        specs.append(
            dg.AssetSpec(
                model_key(name), deps=above, group_name=GROUP, kinds={"iceberg", "lightgbm"}, owners=[OWNER],
                description=says,
            )
        )  # fmt: skip

    @dg.multi_asset(name="sepsis_retraining", specs=specs)
    def retrained(
        context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
    ) -> Iterator[dg.MaterializeResult]:
        why = context.run.tags.get(WHY, "asked for by hand")
        done = without_values(_retrain, settings, why, context.log.info)
        for name, metadata in numbers(done, card_path(settings, done.model.version)).items():
            yield dg.MaterializeResult(asset_key=model_key(name), metadata=metadata)

    return retrained


def training_schedule() -> dg.ScheduleDefinition:
    """Once a week, at night on Sunday (UTC). Ships stopped: a site begins it once outcomes come in."""
    return dg.ScheduleDefinition(
        name="sepsis_retraining",
        target=_selection(),
        cron_schedule="30 4 * * 0",
        execution_timezone="UTC",
        tags={WHY: SCHEDULED},
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Trains the sepsis model anew each week; the gate decides whether it takes over.",
    )


def drift_sensor() -> dg.SensorDefinition:
    """The sensor that starts a retraining for drift that retraining can mend; ships running."""

    @dg.sensor(
        name="sepsis_drift",
        target=_selection(),
        minimum_interval_seconds=LOOK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Starts a retraining where patients are others than the model was made with; a unit or a sensor is "
        "to be mended, and starts none.",
    )
    def due(context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]) -> dg.SensorResult:
        reports = without_values(_reports, settings)
        newest = _newest(reports)
        asks = _asks(newest) or _told_once(reports, newest)
        if not asks:
            told = "; ".join(f"{row['kind']}: {row['remedy']}" for row in newest) or "no look yet"
            return dg.SensorResult(skip_reason=told)
        why = "; ".join(f"{row['kind']}: {row['because']}" for row in asks)
        if few := _too_few(*without_values(_outcomes, settings)):
            return dg.SensorResult(skip_reason=f"a retraining is asked for and cannot be made: {few}; {why}")
        request = dg.RunRequest(run_key=_once_a_week(asks), tags={WHY: f"drift, {why}"[:240]})
        return dg.SensorResult(run_requests=[request])

    return due


def card_path(settings: Settings, version: str) -> Path:
    """Where the page of a model that was made here lies."""
    return settings.home / "models" / "cards" / f"{version}.html"


def numbers(done: "Retrained", card: Path) -> dict[str, dict[str, Any]]:
    """Each step as Dagster shows it: counts and figures only. `card`: where the model's page lies."""
    figures, value = done.model.metadata["figures"], dg.MetadataValue
    every = figures["all"]
    shown = {name: every[name] for name in ("utility", "auroc", "auprc", "calibration_error")}
    checks = [f"| {c.name} | {c.champion:.4f} | {c.challenger:.4f} | {c.low:+.4f} to {c.high:+.4f} | {c.verdict} |"
              for c in done.decision.checks]  # fmt: skip
    table = "\n".join(["| check | champion | this model | difference | |", "|---|--:|--:|---|---|", *checks])
    beside = value.md(table) if checks else value.text(f"not compared: {done.decision.reason}")
    return {
        "sepsis_training_set": {
            "stays": value.int(done.stays),
            "septic_stays": value.int(done.septic_stays),
            "held_out_stays": value.int(done.held),
            "left_out_for_early_onset": value.int(done.early_onsets),
            "withheld_by_consent": value.int(done.withheld),
            "snapshots": value.json(dict(done.snapshots)),
        },
        "sepsis_model": {
            "version": value.text(done.model.version),
            "card": value.path(str(card)),
            "register": value.text(f"wardstream models show {done.model.version}"),
        },
        "sepsis_evaluation": {
            **{name: value.float(float(figure)) for name, figure in shown.items() if figure is not None},
            "beside_the_champion": beside,
        },
        "sepsis_promotion": {
            "promoted": value.bool(done.decision.promote),
            "role": value.text(done.role.role),
            "reason": value.text(done.role.reason),
            "holds_from": value.text(done.role.in_force_at.isoformat()),
        },
    }


def _newest(reports: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the look at the newest day; of several the one made last. A look at an older day starts nothing, and
    one at a day to come, which an earlier release kept, is none."""
    whole = [row for row in reports if row["day"] is None or row["day"] <= row["made_at"]]
    if not whole:
        return []
    last = max(whole, key=lambda row: (row["day"] or row["made_at"], row["made_at"]))
    return [row for row in reports if row["look"] == last["look"]]


def _asks(look: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in look if row["retrains"]]


def _told_once(reports: list[dict[str, Any]], newest: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What an earlier look asked for, of the same model, for a change that monitors tell once: no later look finds it
    again. The run it asked for has the same key still, so it is not started twice."""
    if not newest:
        return []
    version, made_at = newest[0]["version"], newest[0]["made_at"]
    changes = [
        row
        for row in _asks(reports)
        if row["version"] == version and row["items"] == [MONITOR] and made_at - ASKED_FOR <= row["made_at"] <= made_at
    ]
    return _asks([row for row in reports if row["look"] == changes[-1]["look"]]) if changes else []


def _once_a_week(asks: list[dict[str, Any]]) -> str:
    """The same drift of the same model asks again each day, and the gate would say the same: once a week is enough."""
    first = asks[0]
    kinds = "+".join(sorted({row["kind"] for row in asks}))
    return f"{first['version']} {kinds} {first['made_at']:%G-W%V}"


def _selection() -> dg.AssetSelection:
    return dg.AssetSelection.assets(*map(model_key, STEPS))


def _retrain(settings: Settings, why: str, progress: Any) -> "Retrained":
    from pipelines.clinical.sepsis.card import page
    from pipelines.retraining import Retraining
    from warehouse.opened_lake import opened_lake

    contracts = _contracts(settings)
    with opened_lake(settings) as catalog:
        work = Retraining(settings, contracts, catalog, f"dagster@{socket.gethostname()}-{os.getpid()}")
        done = work.run(why, datetime.now(UTC), progress=progress)
    write_page(card_path(settings, done.model.version), page(done.model))
    return done


def _reports(settings: Settings) -> list[dict[str, Any]]:
    from warehouse.catalog import TableMismatchError
    from warehouse.models.looks import Looks
    from warehouse.opened_lake import opened_lake

    try:
        with opened_lake(settings) as catalog:
            return Looks(catalog, settings.namespace, _contracts(settings), "dagster").reports()
    except TableMismatchError:
        return []


def _outcomes(settings: Settings) -> tuple[int, int]:
    """How many stays have an outcome, and how many septic ones of these are kept for the gate."""
    from pipelines.clinical.sepsis.lake_set import held_out
    from warehouse.analytics import Analytics
    from warehouse.models.shadow_rows import said_outcomes

    with Analytics(settings) as analytics:
        said = said_outcomes(analytics)
    rows = zip(said["subject_token"].to_pylist(), said["outcome"].to_pylist(), strict=True)
    return len(said), int(held_out([token for token, outcome in rows if outcome == "sepsis"]).sum())


def _too_few(stays: int, held_septic: int) -> str:
    """Why a retraining could not end otherwise than it began; empty where it may."""
    from pipelines.clinical.sepsis.gate import LEAST_SEPTIC

    if stays < LEAST_OUTCOMES:
        return f"{stays} stays have an outcome, {LEAST_OUTCOMES} are needed"
    if held_septic < LEAST_SEPTIC:
        return f"{held_septic} septic stays are kept for the gate, which needs {LEAST_SEPTIC}"
    return ""


def _contracts(settings: Settings) -> Contracts:
    return load_contracts(own=settings.contracts)
