"""A lake in a folder with the tables of models."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.contract import load_contracts
from warehouse.models.artefacts import sha256
from warehouse.models.registry import Model, Registry, Role
from warehouse.settings import Settings

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
TABLES = ("models", "model_roles", "drift_profiles", "drift_reports")


def with_tables(settings: Settings) -> Registry:
    """The register of a lake whose tables are made."""
    catalog, contracts = open_catalog(settings), load_contracts()
    for name in TABLES:
        create_table(catalog, settings.namespace, contracts.table(name), table_lock(settings))
    return Registry(settings, contracts, catalog, "test")


@pytest.fixture
def registry(folder_lake: Settings) -> Registry:
    return with_tables(folder_lake)


def model(version: str, content: bytes = b"trees") -> tuple[Model, dict[str, bytes]]:
    """A model of one file."""
    files = {"model.onnx": content}
    row = Model(
        version=version, name="sepsis", artefacts={"model.onnx": sha256(content)}, learnt_from="", learnt_stays=100,
        source="made up", snapshots={"labs": 7}, code="c0de", parameters={"seed": 1}, metrics={"all": {"utility": 0.4}},
        registered_at=NOON, registered_by="test",
    )  # fmt: skip
    return row, files


def role(act: str, version: str, kind: str, at: datetime, decided: datetime = NOON) -> Role:
    return Role(act, "sepsis", version, kind, at, "because it is a test", {"gate": None}, "test", decided)


def later(each: Role, **other: object) -> Role:
    return replace(each, **other)  # type: ignore[arg-type]
