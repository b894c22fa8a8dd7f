"""A small real lake: tables as the contracts say, rows put in through the fence as the stream does."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple, dataclass
from typing import Any

import dagster as dg
import pytest

from assets.definitions import definitions
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

    def fenced(self, name: str) -> FencedTable:
        return FencedTable(open_catalog(self.settings), (self.settings.namespace, name), writer="test")

    def rows(self, name: str) -> list[dict[str, Any]]:
        """All rows of a table, read by pyiceberg: not by what is tested."""
        loaded = open_catalog(self.settings).load_table((self.settings.namespace, name))
        return loaded.scan().to_arrow().to_pylist()


@pytest.fixture
def lake(settings: Settings) -> Lake:
    """Empty tables of all contracts; those of outside streams begin at offset 0 of four partitions."""
    catalog = open_catalog(settings)
    for contract in load_contracts().tables():
        create_table(catalog, settings.namespace, contract, table_lock(settings))
    lake = Lake(settings)
    for name in FED:
        for one in (name, "rejects", "duplicates"):
            lake.fenced(one).establish(topic_of(name), dict.fromkeys(range(4), 0))
    return lake


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
def defs(settings: Settings) -> dg.Definitions:
    """What Dagster knows of that lake."""
    return definitions(settings)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance of its own, in memory."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral
