"""A small real lake: tables as the contracts say, rows put in through the fence as the stream does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest

from assets.definitions import definitions
from tests.expectations.day import DAY, TOPIC_ID, table
from warehouse.catalog import create_table, open_catalog, table_lock
from warehouse.commit import FencedTable
from warehouse.contract import load_contracts
from warehouse.offsets import Interval
from warehouse.settings import Settings

PARTITION = DAY.isoformat()


@dataclass(frozen=True, slots=True)
class Lake:
    """The tables under one namespace."""

    settings: Settings

    def commit(self, rows: list[dict[str, Any]]) -> None:
        """Put readings into `vitals`: for each partition everything from its vector to its last offset."""
        fenced = self.fenced("vitals")
        reached = fenced.vector()[TOPIC_ID]
        ends: dict[int, int] = {}
        for row in rows:
            ends[row["kafka_partition"]] = max(ends.get(row["kafka_partition"], 0), row["kafka_offset"] + 1)
        fenced.commit(table(rows), [Interval(TOPIC_ID, p, reached[p], end) for p, end in ends.items()])

    def fenced(self, name: str) -> FencedTable:
        return FencedTable(open_catalog(self.settings), (self.settings.namespace, name), writer="test")

    def rows(self, name: str) -> list[dict[str, Any]]:
        """All rows of a table, read by pyiceberg: not by what is tested."""
        loaded = open_catalog(self.settings).load_table((self.settings.namespace, name))
        return loaded.scan().to_arrow().to_pylist()


@pytest.fixture
def lake(settings: Settings) -> Lake:
    """Empty tables of all contracts; `vitals` begins at offset 0 of four partitions."""
    catalog = open_catalog(settings)
    for contract in load_contracts().tables():
        create_table(catalog, settings.namespace, contract, table_lock(settings))
    lake = Lake(settings)
    lake.fenced("vitals").establish(TOPIC_ID, dict.fromkeys(range(4), 0))
    return lake


@pytest.fixture
def defs(settings: Settings) -> dg.Definitions:
    """What Dagster knows of that lake."""
    return definitions(settings)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of its own, in memory."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral
