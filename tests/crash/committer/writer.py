"""A process that commits the source into the table until it is told to stop, or killed, by others or by itself.

Holds: the writer's loop, its named crash points, the answers it loses on purpose, and what it leaves for the harness:
the step it is in (a shared page) and the intervals that were acknowledged to it (a file).
Does not hold: when and whom to kill (harness.py), or any judgement (verdict.py).
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog

from tests.crash.committer import source
from warehouse import drafts
from warehouse.catalog import open_catalog
from warehouse.commit import CommitReceipt, FencedTable, StoreUnavailableError
from warehouse.object_store import SinglePutFileIO
from warehouse.offsets import Interval, Placement
from warehouse.settings import Settings

IDLE = "idle"
CRASH_POINTS = (
    "load",
    "stage",
    "data put",
    "data written",
    "manifest",
    "manifest put",
    "list put",
    "swap",
    "metadata put",
    "pointer",
    "answer",
    "landed",
    "unacknowledged",
)
PAGE = 64
PR_SET_PDEATHSIG = 1
LONGEST_BATCH = 120
LONGEST_REWIND = 60


@dataclass(frozen=True, slots=True)
class Orders:
    """What one incarnation of a writer is to do. `crash`: die at the n-th passing of a point."""

    name: str
    environment: dict[str, str]
    identifier: tuple[str, str]
    partitions: tuple[int, ...]
    folder: Path
    seed: int
    crash: tuple[str, int] | None = None
    lost_answers: float = 0.0
    without_fence: bool = False

    @property
    def page(self) -> Path:
        return self.folder / f"{self.name}.step"

    @property
    def acknowledged(self) -> Path:
        return self.folder / f"{self.name}.acknowledged"

    @property
    def stop(self) -> Path:
        return self.folder / "stop"


@dataclass(slots=True)
class _Steps:
    """Tells the harness where we are, and dies where it was ordered."""

    page: mmap.mmap
    crash: tuple[str, int] | None
    passed: dict[str, int] = field(default_factory=dict)

    def at(self, point: str) -> None:
        self.page[:PAGE] = point.encode().ljust(PAGE)
        self.passed[point] = self.passed.get(point, 0) + 1
        if self.crash == (point, self.passed[point]):
            os.kill(os.getpid(), signal.SIGKILL)


def run(orders: Orders) -> None:
    """Commit until the stop file is there. The process's whole life."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    steps = _Steps(_page(orders.page), orders.crash)
    chance = random.Random(orders.seed)
    settings = Settings.from_environment(orders.environment)
    catalog = open_catalog(settings)
    assert isinstance(catalog, SqlCatalog)
    _watch(catalog, steps, lambda: chance.random() < orders.lost_answers, orders.folder / "lost_answers")
    if orders.without_fence:
        drafts.place = lambda vector, intervals: [Placement(i, "accept", i.start) for i in intervals]
    table = FencedTable(catalog, orders.identifier, writer=orders.name, progress=steps.at)
    with orders.acknowledged.open("ab", buffering=0) as ledger:
        _commit_until_told(orders, table, chance, steps, ledger.write)


def _commit_until_told(
    orders: Orders, table: FencedTable, chance: random.Random, steps: _Steps, acknowledge: Callable[[bytes], Any]
) -> None:
    reached = table.vector()[source.TOPIC]
    while not orders.stop.exists():
        steps.at(IDLE)
        partition = chance.choice(orders.partitions)
        start = max(0, reached[partition] - chance.choice((0, 0, chance.randrange(LONGEST_REWIND))))
        end = start + chance.randint(1, LONGEST_BATCH)
        receipt = _commit(table, source.rows(partition, start, end), Interval(source.TOPIC, partition, start, end))
        steps.at("unacknowledged")
        acknowledge(json.dumps([partition, start, end]).encode() + b"\n")
        reached[partition] = end if orders.without_fence else receipt.vector[source.TOPIC][partition]
    steps.at(IDLE)


def _commit(table: FencedTable, rows: pa.Table, interval: Interval) -> CommitReceipt:
    """As the stream's committer does: where store or catalog are away, or the outcome is not known, offer it again."""
    while True:
        try:
            return table.commit(rows, [interval])
        except StoreUnavailableError:
            continue


def _page(path: Path) -> mmap.mmap:
    path.write_bytes(IDLE.encode().ljust(PAGE))
    with path.open("r+b") as handle:
        return mmap.mmap(handle.fileno(), PAGE)


def _watch(catalog: SqlCatalog, steps: _Steps, loses: Callable[[], bool], lost: Path) -> None:
    """Crash points inside the requests, and answers that get lost: half of them after the catalog acted."""
    put, write_metadata, commit_table = SinglePutFileIO.put, catalog._write_metadata, catalog.commit_table

    def watched_put(self: SinglePutFileIO, location: str, data: Any) -> None:
        kind = "data" if location.endswith(".parquet") else "list" if "/snap-" in location else "manifest"
        steps.at(f"{kind} put")
        put(self, location, data)
        if kind == "data":
            steps.at("data written")

    def watched_write(*args: Any, **named: Any) -> None:
        steps.at("metadata put")
        write_metadata(*args, **named)
        steps.at("pointer")

    def watched_commit(*request: Any) -> Any:
        if loses():
            _count(lost)
            raise ConnectionResetError("lost on the way there")
        response = commit_table(*request)
        steps.at("answer")
        if loses():
            _count(lost)
            raise ConnectionResetError("lost on the way back")
        return response

    SinglePutFileIO.put = watched_put  # ty: ignore[invalid-assignment]
    catalog._write_metadata = watched_write  # ty: ignore[invalid-assignment]
    catalog.commit_table = watched_commit  # ty: ignore[invalid-assignment]


def _count(path: Path) -> None:
    with path.open("ab", buffering=0) as handle:
        handle.write(b"x")
