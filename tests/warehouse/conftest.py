"""Lakes for the warehouse's tests: on a local folder (no server), on the worker's real store, on PostgreSQL."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.conftest_postgres import postgres
from warehouse.settings import Settings

__all__ = ["postgres"]


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


@pytest.fixture(params=["folder", "store", "postgres"])
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Each kind of lake in turn: folder and SQLite, store and SQLite, store and PostgreSQL."""
    if request.param == "postgres":
        place = f"s3://warehouse/{uuid.uuid4().hex[:10]}"
        uri, endpoint = request.getfixturevalue("postgres"), request.getfixturevalue("store")
        environment = {"WARDSTREAM_CATALOG_URI": uri, "WARDSTREAM_S3_ENDPOINT": endpoint}
        return lake_settings(tmp_path / "home", place, **environment)
    return request.getfixturevalue(f"{request.param}_lake")
