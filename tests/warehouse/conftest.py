"""Lakes for the warehouse's tests: on a local folder (no server), on the worker's real store, on other catalogs."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.services.processes import Child
from infra.services.store import EmbeddedStore
from tests.conftest import READER, WRITER
from warehouse.settings import Settings

REST_PORT = 81
"""The store's own REST catalog listens so many above the port base; the product leaves it closed."""


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


@pytest.fixture
def postgres_lake(tmp_path: Path, store: str, postgres: str) -> Settings:
    """A lake on this worker's store, catalog in PostgreSQL."""
    place = f"s3://warehouse/{uuid.uuid4().hex[:10]}"
    return lake_settings(tmp_path / "home", place, WARDSTREAM_S3_ENDPOINT=store, WARDSTREAM_CATALOG_URI=postgres)


@pytest.fixture(scope="session")
def rest_catalog(
    tmp_path_factory: pytest.TempPathFactory, free_port_base: Callable[[], int]
) -> Iterator[dict[str, str]]:
    """Environment of a store of its own whose REST catalog is open."""
    folder = tmp_path_factory.mktemp("rest")
    base = free_port_base()
    embedded = EmbeddedStore(folder, base, "warehouse", WRITER, READER)
    program = embedded.program(folder / "store.log")
    kept = [flag for flag in program.command if not flag.startswith("-s3.port.iceberg=")]
    opened = (*kept, f"-s3.port.iceberg={base + REST_PORT}", "-tableBucket=lakehouse")
    child = Child.start(replace(program, command=opened))
    try:
        child.wait_ready()
        address = f"http://{WRITER[0]}:{WRITER[1]}@127.0.0.1:{base + REST_PORT}"
        yield {"WARDSTREAM_S3_ENDPOINT": embedded.endpoint, "WARDSTREAM_CATALOG_URI": address}
    finally:
        child.kill()
        shutil.rmtree(folder / "data", ignore_errors=True)


@pytest.fixture
def rest_lake(tmp_path: Path, rest_catalog: dict[str, str]) -> Settings:
    """A lake on a store whose own REST catalog keeps the tables."""
    return lake_settings(tmp_path / "home", "s3://lakehouse", **rest_catalog)


@pytest.fixture(params=["folder", "store", "postgres", "rest"])
def lake(request: pytest.FixtureRequest) -> Settings:
    """Each kind of lake in turn."""
    return request.getfixturevalue(f"{request.param}_lake")
