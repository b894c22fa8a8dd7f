"""P8: does a commit become slower as a table grows old, with upkeep running each day?

Holds: the days, their commits, the upkeep between, the figures and the chart.
Does not hold: the lake and its rows (growing.py), upkeep itself (warehouse/upkeep).

The days are made: their commits come one after another, upkeep comes a number of times a day, and the hours that an
object must have been marked before it is deleted are passed by argument.
"""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import numpy as np

from infra.bench.chart import Line, line_chart
from infra.bench.growing import TABLE, TOPIC, Progress, fenced, lake, readings, require_each_once
from infra.bench.report import Report, percentiles
from warehouse.catalog import open_catalog
from warehouse.contract import load_contracts
from warehouse.offsets import Interval
from warehouse.settings import Settings
from warehouse.upkeep.plan import UpkeepPolicy
from warehouse.upkeep.run import TableUpkeep, Upkeep
from warehouse.upkeep.sweep import store_time

ROWS = 100
UPKEEP_A_DAY = 4
POINTS = 60


def measure(days: int, commits_a_day: tuple[int, ...], chart: Path | None, progress: Progress) -> Report:
    """A table for each number of commits a day. `chart`: an SVG file to write. Raises `CheckFailedError`."""
    grown = {each: _grown(days, each, progress) for each in commits_a_day}
    if chart is not None:
        lines = [Line(f"{each} commits a day", *_smoothed(found.seconds)) for each, found in grown.items()]
        chart.write_text(line_chart(lines, "commits so far", "seconds a commit (median of a stretch)"))
        progress(f"chart in {chart}")
    rows = [
        (
            each,
            len(g.seconds),
            *(round(1000 * part) for part in g.ends),
            round(g.growth, 2),
            g.files,
            g.snapshots,
            g.gone,
        )
        for each, g in grown.items()
    ]
    figures = {str(each): found.figures() for each, found in grown.items()}
    return Report(
        "p8",
        "growth of a table under upkeep",
        f"{days} days, {ROWS} rows a commit, upkeep {UPKEEP_A_DAY} times a day",
        ("commits a day", "commits", "first, ms", "last, ms", "growth", "files", "snapshots", "objects deleted"),
        tuple(rows),
        figures,
        ("first and last: median commit of the first and of the last tenth; growth to stay below 1.5",),
    )


class _Grown:
    """What became of one table."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.upkeep_seconds: list[float] = []
        self.files = self.snapshots = self.gone = 0

    @property
    def ends(self) -> tuple[float, float]:
        """Median commit of the first and of the last tenth, the very first commits aside."""
        tenth = max(5, len(self.seconds) // 10)
        return float(np.median(self.seconds[3 : 3 + tenth])), float(np.median(self.seconds[-tenth:]))

    @property
    def growth(self) -> float:
        first, last = self.ends
        return last / first

    def kept(self, done: TableUpkeep, seconds: float) -> None:
        self.upkeep_seconds.append(seconds)
        self.gone += done.swept.objects if done.swept else 0
        self.files, self.snapshots = len(done.after.files), done.after.snapshots

    def figures(self) -> dict[str, object]:
        first, last = self.ends
        return {
            "commits": len(self.seconds),
            "first_s": first,
            "last_s": last,
            "growth": self.growth,
            "commit_s": percentiles(np.array(self.seconds)),
            "upkeep_s": percentiles(np.array(self.upkeep_seconds)),
            "files": self.files,
            "snapshots": self.snapshots,
            "objects_deleted": self.gone,
            "each_s": [round(each, 4) for each in self.seconds],
        }


def _grown(days: int, commits_a_day: int, progress: Progress) -> _Grown:
    with lake(f"p8-{commits_a_day}".replace("-", ""), progress) as settings:
        found, table, stretch = _Grown(), fenced(settings), max(1, commits_a_day // UPKEEP_A_DAY)
        for day in range(days):
            for n in range(day * commits_a_day, (day + 1) * commits_a_day):
                rows, span = readings(n * ROWS, ROWS, day), [Interval(TOPIC, 0, n * ROWS, (n + 1) * ROWS)]
                began = time.monotonic()
                table.commit(rows, span)
                found.seconds.append(time.monotonic() - began)
                if n % stretch == stretch - 1:
                    _keep(settings, found, n // stretch)
            progress(f"day {day + 1} of {days}: {len(found.seconds)} commits, {1000 * found.seconds[-1]:.0f} ms")
        require_each_once(settings, {0: days * commits_a_day * ROWS})
        return found


def _keep(settings: Settings, found: _Grown, round_: int) -> None:
    later = timedelta(hours=24 / UPKEEP_A_DAY) * round_
    upkeep = Upkeep(
        settings,
        open_catalog(settings),
        load_contracts(),
        lambda table, now: (),
        UpkeepPolicy(),
        now=lambda table: store_time(table) + later,
    )
    began = time.monotonic()
    done = upkeep.run(TABLE)
    found.kept(done, time.monotonic() - began)


def _smoothed(seconds: list[float]) -> tuple[list[float], list[float]]:
    """At most `POINTS` stretches: commits so far, median seconds."""
    parts = np.array_split(np.array(seconds), min(POINTS, max(1, len(seconds) // 5)))
    ends = np.cumsum([len(part) for part in parts])
    return ends.astype(float).tolist(), [float(np.median(part)) for part in parts]
