"""What a benchmark says in the end: on which machine, with which data, what came out, and how far it spread.

Holds: the report as data, as a table and as JSON. Does not hold: any measuring.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import confluent_kafka
import numpy as np
from rich.console import Console
from rich.table import Table

from infra.services import jars, store

PACKAGES = ("apache-beam", "confluent-kafka", "msgspec", "numpy", "pyarrow", "pyiceberg", "duckdb")

WIDTH = 120

Value = float | int | str


@dataclass(frozen=True, slots=True)
class Report:
    """One benchmark's outcome.

    Attributes:
        name: `p1` and so on.
        data: what was worked on, in words.
        columns, rows: the table shown; figures are rounded only there.
        figures: the same and more, by name, for programs.
        remarks: what a reader must know to judge the figures.
    """

    name: str
    title: str
    data: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    figures: dict[str, Any]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spread:
    """The least, the middle and the most of some rounds."""

    least: float
    median: float
    most: float
    each: tuple[float, ...] = field(default=())

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Raises `ValueError` for no values."""
        return cls(min(values), statistics.median(values), max(values), tuple(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f} to {self.most:.2f})"


def percentiles(values: np.ndarray, points: Sequence[float] = (50, 95, 99, 100)) -> dict[str, float]:
    """`p50` and so on, `max` for the hundredth; empty for no values."""
    if not len(values):
        return {}
    names = ["max" if point == 100 else f"p{point:g}" for point in points]
    return dict(zip(names, np.percentile(values, points).tolist(), strict=True))


def _ticks() -> tuple[int, int]:
    """Of all processors since the machine began: (ticks, ticks that its host gave to others)."""
    counts = [int(part) for part in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return sum(counts), counts[7]


_BEGAN = _ticks()


def _stolen_percent() -> float:
    """Of the processors' time since this was imported, what the machine's host gave to others."""
    ticks, stolen = (now - then for now, then in zip(_ticks(), _BEGAN, strict=True))
    return round(100 * stolen / max(1, ticks), 1)


def machine() -> dict[str, Any]:
    """Where this runs, how busy it is by now (1, 5 and 15 minutes' load), and how much of it was not there."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30), 1),
        "kernel": platform.release(),
        "load": [round(part, 1) for part in os.getloadavg()],
        "stolen_percent": _stolen_percent(),
    }


def versions() -> dict[str, str]:
    """What this was measured with."""
    weed = store.find_weed()
    of_store = store.version_of(weed) if weed else None
    return {
        "wardstream": _commit(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
        "librdkafka": confluent_kafka.libversion()[0],
        "kafka": jars.KAFKA_VERSION,
        "seaweedfs": ".".join(map(str, of_store)) if of_store else "unknown",
    }


def _commit() -> str:
    asked = ["git", "describe", "--always", "--dirty"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return answer.stdout.strip() or "unknown"


def as_json(reports: Sequence[Report], command: str) -> dict[str, Any]:
    """Everything, for `--json`."""
    return {
        "command": command,
        "machine": machine(),
        "versions": versions(),
        "benchmarks": [asdict(report) for report in reports],
    }


def show(reports: Sequence[Report], command: str, console: Console) -> None:
    """Print one table a benchmark, no narrower than its figures."""
    console.width = max(console.width, WIDTH)
    for report in reports:
        table = Table(title=f"{report.name}: {report.title}", caption=report.data, title_justify="left")
        for column in report.columns:
            table.add_column(column, justify="left" if column == report.columns[0] else "right")
        for row in report.rows:
            table.add_row(*map(shown, row))
        console.print(table)
        for remark in report.remarks:
            console.print(f"- {remark}")
    console.print("; ".join(f"{name} {value}" for name, value in {**machine(), **versions()}.items()))
    console.print(f"command: {command}")


def shown(value: Value) -> str:
    """A figure as people read it."""
    return f"{value:.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
