"""Everything Dagster knows: the module `workspace.yaml` loads.

Holds: which tables have a gate and which are derived or can be replayed, as the contracts have it, and the list of all
assets, sensors and resources.
Does not hold: any of their behaviour.
"""

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager

import dagster as dg

from assets.derived import derived_asset
from assets.drift import drift_asset, drift_schedule
from assets.erasure import coverage_check, erasure_asset, erasure_sensor, page_asset, vault_asset
from assets.monitoring import observation_sensor
from assets.quality import gate_asset
from assets.recalibration import recalibration_asset, recalibration_schedule
from assets.replay_check import replay_asset
from assets.retention import retention_asset, retention_schedules, scheduled_classes
from assets.schedules import automation
from assets.streams import table_spec, topic_spec
from assets.training import drift_sensor, training_assets, training_schedule
from assets.upkeep import upkeep_asset, upkeep_sensor
from warehouse.contract import Contracts, load_contracts
from warehouse.settings import Settings

# What is used although Dagster 1.13 calls it a preview or beta: by name, so that a new warning is still seen.
EXPECTED_WARNINGS = ("Specifying a partitions_def on an AssetCheckSpec", "Parameter `backfill_policy` of function")


def definitions(settings: Settings) -> dg.Definitions:
    """The assets that the contracts lead to, for the lake and stream that `settings` name."""
    contracts = load_contracts(own=settings.contracts)
    topics = [(stream, stream.topic) for stream in contracts.values() if stream.topic]
    observed = [table for table in contracts.tables() if not table.derived]
    gates = [table.name for table in contracts.tables() if table.gated]
    made = _made(contracts, gates)
    return dg.Definitions(
        assets=[
            *(topic_spec(stream, topic) for stream, topic in topics),
            *(table_spec(table, contracts, gates) for table in observed),
            *made,
            *_replays(contracts),
            *(upkeep_asset(table, contracts) for table in contracts.tables()),
            *(retention_asset(kept, contracts) for kept in scheduled_classes(contracts)),
            erasure_asset(),
            page_asset(),
            vault_asset(),
            training_assets(),
            recalibration_asset(),
            drift_asset(),
        ],
        asset_checks=[coverage_check()],
        sensors=[
            observation_sensor([stream.name for stream, _ in topics], observed, contracts),
            automation(*(asset.key for asset in made)),
            upkeep_sensor(list(contracts.tables()), contracts),
            erasure_sensor(),
            drift_sensor(),
        ],
        schedules=[*retention_schedules(contracts), training_schedule(), recalibration_schedule(), drift_schedule()],
        resources={"settings": settings},
        executor=dg.in_process_executor,
    )


def _made(contracts: Contracts, gates: list[str]) -> list[dg.AssetsDefinition]:
    """What Dagster itself makes: verdicts and derived tables."""
    with _expected_warnings():
        return [
            *(gate_asset(name, contracts) for name in gates),
            *(derived_asset(table, contracts, gates) for table in contracts.tables() if table.derived),
        ]


def _replays(contracts: Contracts) -> list[dg.AssetsDefinition]:
    """The replays of the tables that messages can be worked into again; only people ask for them."""
    with _expected_warnings():
        return [replay_asset(table, contracts) for table in contracts.tables() if table.positioned and table.daily]


@contextmanager
def _expected_warnings() -> Generator[None]:
    with warnings.catch_warnings():
        for message in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield


defs = definitions(Settings.from_environment())
