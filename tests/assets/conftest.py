"""A small real lake: tables as the contracts say, rows put in through the fence as the stream does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import astuple, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import dagster as dg
import pytest

from assets.definitions import definitions
from tests.conftest import settings_on
from tests.expectations.day import DAY, GOOD, MIDNIGHT, TOPIC_ID, table
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.commit import FencedTable
from warehouse.contract import load_contracts
from warehouse.offsets import Interval
from warehouse.settings import Settings

PARTITION = DAY.isoformat()
FED = (*GOOD, "alerts")


@dataclass(frozen=True, slots=True)
class Lake:
    """The tables under one namespace."""

    settings: Settings

    def commit(self, rows: list[dict[str, Any]], name: str = "vitals") -> None:
        """Put rows into a table: for each partition everything from its vector to its last offset. Offsets without a
        row become rejects, so that the account of positions stays even."""
        topic, given = topic_of(name), [{**row, "topic_id": topic_of(name)} for row in rows]
        reached = self.fenced(name).vector()[topic]
        ends: dict[int, int] = {}
        for row in given:
            ends[row["kafka_partition"]] = max(ends.get(row["kafka_partition"], 0), row["kafka_offset"] + 1)
        spans = [Interval(topic, p, reached[p], end) for p, end in ends.items()]
        there = {(row["kafka_partition"], row["kafka_offset"]) for row in given}
        missing = [(p, o) for _, p, start, end in map(astuple, spans) for o in range(start, end) if (p, o) not in there]
        self.fenced("rejects").commit(table([reject(name, *at) for at in missing], "rejects"), spans)
        self.fenced("duplicates").commit(table([], "duplicates"), spans)
        self.fenced(name).commit(table(given, name), spans)

    def lose(self, offset: int) -> None:
        """Take a row of `vitals` out behind everybody's back, the vector staying as it is."""
        loaded = open_catalog(self.settings).load_table((self.settings.namespace, "vitals"))
        loaded.delete(f"kafka_offset = {offset}")

    def tell_erased(self, name: str, step: str, found: int, at: datetime) -> None:
        """A receipt of an erasure that took rows out of a table."""
        receipt = {"batch": "b1", "request_id": "", "store": f"table:{name}", "step": step, "found": found,
                   "left_over": 0, "bytes": 1, "evidence": "{}", "at": at, "acted_by": "t"}  # fmt: skip
        self.fenced("erasure_receipts").append_derived(table([receipt], "erasure_receipts"), {})

    def fenced(self, name: str) -> FencedTable:
        return FencedTable(open_catalog(self.settings), (self.settings.namespace, name), writer="test")

    def rows(self, name: str) -> list[dict[str, Any]]:
        """All rows of a table, read by pyiceberg: not by what is tested."""
        loaded = open_catalog(self.settings).load_table((self.settings.namespace, name))
        return loaded.scan().to_arrow().to_pylist()


@pytest.fixture(scope="session")
def empty_lake(kafka: str, store: str, cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Empty tables of all contracts; those of outside streams begin at offset 0 of four partitions."""
    settings = settings_on(kafka, store, cache, tmp_path_factory.mktemp("empty") / "home")
    catalog, lake = open_catalog(settings), Lake(settings)
    for contract in load_contracts().tables():
        create_table(catalog, settings.namespace, contract, table_lock(settings))
    for name in FED:
        for one in (name, "rejects", "duplicates"):
            lake.fenced(one).establish(topic_of(name), dict.fromkeys(range(4), 0))
    return settings


@pytest.fixture
def lake(settings: Settings, empty_lake: Settings) -> Lake:
    """That lake under a catalog of its own, which alone tells what a test's tables hold."""
    own = replace(settings, namespace=empty_lake.namespace, warehouse=empty_lake.warehouse)
    catalog_file(own).parent.mkdir(parents=True)
    with closing(_opened(empty_lake)) as made, closing(_opened(own)) as copy:
        made.backup(copy)
    return Lake(own)


def catalog_file(settings: Settings) -> Path:
    """The SQLite database of a catalog."""
    return Path(urlsplit(settings.catalog_uri).path[1:])


def _opened(settings: Settings) -> sqlite3.Connection:
    return sqlite3.connect(catalog_file(settings))


def topic_of(table_name: str) -> str:
    """The topic id of a table's stream in these tests."""
    return TOPIC_ID if table_name == "vitals" else f"{TOPIC_ID}-{table_name}"


def reject(name: str, partition: int, offset: int) -> dict[str, Any]:
    """A refused message at that position, appended when the day began."""
    return {
        "stream": name, "stage": "decode", "reason": "malformed_json", "sealed_payload": b"-", "size_bytes": 1,
        "sealed_under": f"day:{PARTITION}", "topic_id": topic_of(name), "kafka_partition": partition,
        "kafka_offset": offset, "kafka_time": MIDNIGHT, "ingest_time": MIDNIGHT,
    }  # fmt: skip


@pytest.fixture
def defs(request: pytest.FixtureRequest, settings: Settings) -> dg.Definitions:
    """What Dagster knows of the test's lake, of none where it has none."""
    return definitions(request.getfixturevalue("lake").settings if "lake" in request.fixturenames else settings)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of its own, in memory."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral
