"""Catalogs by settings, and tables that are made once and then compared."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError, ServerError
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import DayTransform, IdentityTransform
from pyiceberg.types import LongType, NestedField, StringType, TimestamptzType

from tests.warehouse.conftest import lake_settings
from tests.warehouse.fenced import contract, new_table
from warehouse import catalog as catalog_module
from warehouse import tables
from warehouse.catalog import (
    TableMismatchError,
    create_table,
    ensure_namespace,
    load_table,
    open_catalog,
    table_differences,
    table_lock,
)
from warehouse.object_store import SinglePutFileIO, StoreUnavailableError
from warehouse.settings import Settings


def test_a_table_is_made_as_its_contract_says(lake: Settings) -> None:
    catalog, identifier = new_table(lake)
    table = catalog.load_table(identifier)
    schema, spec = tables.iceberg_schema(contract()), tables.partition_spec(contract())
    assert table_differences(table, schema, spec, tables.properties(contract())) == []
    assert table.format_version == 2
    assert table.properties["commit.retry.num-retries"] == "0"
    assert table.location() == f"{lake.warehouse}/{lake.namespace}/vitals"
    assert isinstance(table.io, SinglePutFileIO)


def test_making_a_table_again_leaves_it_alone(lake: Settings) -> None:
    catalog, identifier = new_table(lake)
    before = catalog.load_table(identifier)
    again, _ = new_table(lake)
    assert again.load_table(identifier).metadata_location == before.metadata_location


def test_racing_creators_on_several_hosts_make_one_table(lake: Settings) -> None:
    """Each has a home and so a lock of its own: only the catalog stands between them."""
    barrier = threading.Barrier(3)

    def make(host: int) -> str:
        settings = replace(lake, home=lake.home.with_name(f"host-{host}"))
        barrier.wait()
        catalog, identifier = new_table(settings)
        return str(catalog.load_table(identifier).metadata.table_uuid)

    with ThreadPoolExecutor(3) as hosts:
        assert len(set(hosts.map(make, range(3)))) == 1
    assert open_catalog(lake).list_tables(lake.namespace) == [(lake.namespace, "vitals")]


def test_a_table_that_another_host_is_making_is_waited_for_and_a_catalog_that_stays_broken_is_not_hidden(
    folder_lake: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog, identifier = new_table(folder_lake)
    answers = iter([ServerError("attribute not found"), catalog.load_table(identifier)])

    class HalfMade:
        create_namespace = catalog.create_namespace

        def load_table(self, _: object) -> Table:
            if isinstance(answer := next(answers, ServerError("still")), ServerError):
                raise answer
            return answer

    monkeypatch.setattr(catalog_module, "_HALF_MADE_S", (0.0, 0.0))
    with pytest.raises(ServerError, match="still"):  # the second look, at what was found, finds it broken for good
        create_table(cast(Catalog, HalfMade()), folder_lake.namespace, contract(), table_lock(folder_lake))
    answers = iter([ServerError("attribute not found"), *[catalog.load_table(identifier)] * 2])
    made = create_table(cast(Catalog, HalfMade()), folder_lake.namespace, contract(), table_lock(folder_lake))
    assert made.metadata.table_uuid == catalog.load_table(identifier).metadata.table_uuid


def test_a_namespace_that_another_host_is_making_is_waited_for_too(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([ServerError("failed to check namespace"), NamespaceAlreadyExistsError("there"), ServerError("x")])

    class HalfMade:
        def create_namespace(self, _: object) -> None:
            raise next(answers, ServerError("still"))

    monkeypatch.setattr(catalog_module, "_HALF_MADE_S", (0.0, 0.0))
    ensure_namespace(cast(Catalog, HalfMade()), "lake")
    with pytest.raises(ServerError, match="still"):
        ensure_namespace(cast(Catalog, HalfMade()), "lake")


def test_a_table_that_is_not_its_contract_is_refused(folder_lake: Settings) -> None:
    catalog, identifier = new_table(folder_lake)
    with catalog.load_table(identifier).transaction() as change:
        change.set_properties({"commit.retry.num-retries": "4"})
    with pytest.raises(TableMismatchError, match=r"property commit.retry.num-retries should be 0, is 4"):
        create_table(catalog, folder_lake.namespace, contract(), table_lock(folder_lake))


def test_differences_are_named(folder_lake: Settings) -> None:
    catalog, identifier = new_table(folder_lake)
    table = catalog.load_table(identifier)
    wanted = Schema(
        NestedField(1, "event_id", LongType(), required=True),
        NestedField(2, "event_time", TimestamptzType(), required=True),
    )
    spec = PartitionSpec(PartitionField(2, 1000, IdentityTransform(), "event_time"))
    found = table_differences(table, wanted, spec)
    assert "column event_id should be long required, is string required" in found
    assert "column ward should be absent, is string" in found
    assert "it is partitioned by day(event_time)" in found


def test_the_order_of_columns_is_compared(folder_lake: Settings) -> None:
    catalog, _ = new_table(folder_lake)
    one, other = NestedField(1, "a", StringType()), NestedField(2, "b", StringType())
    table = catalog.create_table((folder_lake.namespace, "ab"), Schema(one, other))
    assert table_differences(table, Schema(one, other)) == []
    assert table_differences(table, Schema(other, one)) == ["its columns stand in another order"]
    assert table_differences(table, Schema(one, other), PartitionSpec(PartitionField(1, 1000, DayTransform(), "d")))


def test_a_table_that_is_missing_is_named_with_the_remedy(folder_lake: Settings) -> None:
    with pytest.raises(TableMismatchError, match="contracts apply"):
        load_table(open_catalog(folder_lake), folder_lake.namespace, "vitals")


def test_sqlite_waits_for_a_busy_catalog_and_keeps_the_safe_journal(folder_lake: Settings) -> None:
    catalog = open_catalog(folder_lake)
    with catalog.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 30_000
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2


def test_the_catalog_s_name_is_for_ever(folder_lake: Settings) -> None:
    new_table(folder_lake)
    with sqlite3.connect(folder_lake.home / "catalog" / "catalog.sqlite") as connection:
        assert connection.execute("SELECT DISTINCT catalog_name FROM iceberg_tables").fetchall() == [("wardstream",)]


def test_a_web_address_means_a_rest_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = {}

    class Recorded(RestCatalog):
        def __init__(self, name: str, **properties: str) -> None:
            opened.update(properties, name=name)

    monkeypatch.setattr(catalog_module, "RestCatalog", Recorded)
    open_catalog(lake_settings(tmp_path, "s3://lakehouse", WARDSTREAM_CATALOG_URI="http://me:secret@127.0.0.1:9/cat"))
    assert (opened["name"], opened["uri"], opened["credential"]) == (
        "wardstream",
        "http://127.0.0.1:9/cat",
        "me:secret",
    )


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9/", "postgresql+psycopg2://ward@127.0.0.1:9/none"])
def test_a_catalog_that_is_away_is_said_to_be_so(tmp_path: Path, uri: str) -> None:
    with pytest.raises(StoreUnavailableError, match="does not answer"):
        open_catalog(lake_settings(tmp_path, "s3://warehouse/x", WARDSTREAM_CATALOG_URI=uri))
