"""Lakes for the warehouse's tests: on a local folder (no server), on the worker's real store, on PostgreSQL."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from warehouse.settings import Settings


def lake_settings(home: Path, warehouse: str, **environment: str) -> Settings:
    """Settings of a lake with a namespace and a SQLite catalog of its own unless `environment` says otherwise."""
    return Settings.from_environment(
        {
            "WARDSTREAM_HOME": str(home),
            "WARDSTREAM_WAREHOUSE": warehouse,
            "WARDSTREAM_NAMESPACE": f"t{uuid.uuid4().hex[:10]}",
            **environment,
        }
    )


@pytest.fixture
def folder_lake(tmp_path: Path) -> Settings:
    """A lake in a folder: the real formats and the real SQL catalog, no server."""
    return lake_settings(tmp_path / "home", f"file://{tmp_path}/lake")


@pytest.fixture
def store_lake(tmp_path: Path, store: str) -> Settings:
    """A lake on this worker's store, catalog in SQLite."""
    place = f"s3://warehouse/{uuid.uuid4().hex[:10]}"
    return lake_settings(tmp_path / "home", place, WARDSTREAM_S3_ENDPOINT=store)
