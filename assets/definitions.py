"""Everything Dagster knows: the module `workspace.yaml` loads.

Holds: which tables have a gate, and the list of all assets, sensors and resources.
Does not hold: any of their behaviour.
"""

from __future__ import annotations

import warnings

import dagster as dg

from assets.monitoring import observation_sensor
from assets.quality import gate_asset
from assets.rollups import vitals_by_minute_asset
from assets.schedules import automation
from assets.streams import owners, table_spec, topic_spec
from warehouse.contract import Contracts, load_contracts
from warehouse.settings import Settings

GATED = ("vitals",)
ROLLUPS = ("vitals_by_minute",)


# What is used although Dagster 1.13 calls it a preview or beta: by name, so that a new warning is still seen.
EXPECTED_WARNINGS = ("Specifying a partitions_def on an AssetCheckSpec", "Parameter `backfill_policy` of function")


def definitions(settings: Settings) -> dg.Definitions:
    """The assets that the contracts lead to, for the lake and stream that `settings` name."""
    contracts = load_contracts()
    topics = [(stream, stream.topic) for stream in contracts.values() if stream.topic]
    observed = [table for table in contracts.tables() if table.name not in ROLLUPS]
    made = _made(contracts)
    return dg.Definitions(
        assets=[
            *(topic_spec(stream, topic) for stream, topic in topics),
            *(table_spec(table, contracts, GATED) for table in observed),
            *made,
        ],
        sensors=[
            observation_sensor([stream.name for stream, _ in topics], observed),
            automation(*(asset.key for asset in made)),
        ],
        resources={"settings": settings},
        executor=dg.in_process_executor,
    )


def _made(contracts: Contracts) -> list[dg.AssetsDefinition]:
    """What Dagster itself makes: verdicts and roll-ups."""

    def owned(name: str) -> list[str]:
        return owners(contracts.stream(contracts.table(name).stream))

    with warnings.catch_warnings():
        for message in EXPECTED_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        minutes = vitals_by_minute_asset(contracts.table("vitals_by_minute"), owned("vitals_by_minute"))
        return [*(gate_asset(name, owned(name)) for name in GATED), minutes]


defs = definitions(Settings.from_environment())
