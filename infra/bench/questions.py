"""P4: the kept questions over the lake's tables, against DuckDB that reads the same Parquet files directly.

Holds: the rounds, the direct reading, the comparison of answers and the figures.
Does not hold: the rows (`bedside`), the questions (`warehouse/sql`).

Ours is what `wardstream sql` does: guard, catalog, Iceberg metadata, manifests, rows. The direct reading knows its
files beforehand: views over `read_parquet` of the files that the snapshot names, made before any clock runs. Both have
the same SQL, threads, memory, and a session of their own; they take turns, and every pair of answers is compared.
Beside the seconds stand those of this process's CPU, the store's left out: on a busy machine they are the truer ones.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from infra.bench.bedside import Size, fill
from infra.bench.check import CheckFailedError
from infra.bench.report import Report, Spread
from infra.bench.surroundings import store_alone
from warehouse.analytics import VOCABULARY, Analytics, StatementFailed, vocabulary
from warehouse.catalog import open_catalog
from warehouse.lake_session import DoesNotFit, open_session, quoted
from warehouse.named_queries import NamedQuery, named_queries
from warehouse.settings import Settings

QUESTIONS = (
    "alert_context", "alert_latency", "alert_load", "alerts_by_rule", "codes_seen", "desaturations", "device_changes",
    "device_clocks", "device_health", "lab_corrections", "labs_latest", "lateness", "low_pressure_time",
    "offsets_accounted", "patients_by_stream", "rows_by_hour", "stream_freshness", "stream_volume", "unknown_fields",
    "vitals_latest",
)  # fmt: skip
ASKED_AT = datetime(2026, 11, 1, tzinfo=UTC)
SEED = 5
NEAR = 1e-9
APPROXIMATE, NEAR_APPROXIMATE = "approx_", 0.05
"""Two runs of an approximate aggregate differ, by the order in which threads bring their rows."""
WORST_S, QUICK_S = 2.0, 1.0
MEMORY_BYTES = 12 << 30
"""Of a session, so that both read on however much there is; what does not fit by default is told."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a question cost in the rounds: seconds on the clock, and of CPU."""

    wall: Spread
    cpu: Spread


Times = Mapping[str, tuple[Cost, Cost]]
"""Question -> ours, direct."""

Progress = Callable[[str], None]
Ask = Callable[[NamedQuery], pa.Table]


def measure(size: Size, rounds: int, progress: Progress, names: tuple[str, ...] = QUESTIONS) -> Report:
    """Raises `CheckFailedError` where two answers to a question differ."""
    with store_alone("p4", progress) as settings:
        progress(f"bringing {size.rows:,} readings in {size.files} files")
        fill(settings, size, SEED)
        narrow = _too_large(settings, names, progress)
        roomy = replace(settings, sql_memory_bytes=MEMORY_BYTES)
        with _ours(roomy) as ours, _direct(roomy) as (direct, files):
            times = _rounds(ours, direct, rounds, progress, names)
            left_out = [name for name in names if name not in times]
            too_large = f"; they too are too little for {', '.join(left_out)}, left out" if left_out else ""
            return _report(size, files, times, rounds, narrow + too_large)


@contextmanager
def _ours(settings: Settings) -> Generator[Ask]:
    with Analytics(settings) as analytics:
        yield lambda query: analytics.query(query.sql, parameters=query.parameters(ASKED_AT)).table


@contextmanager
def _direct(settings: Settings) -> Generator[tuple[Ask, int]]:
    """A session that reads the Parquet files themselves, and how many files the readings are in."""
    with Analytics(settings) as analytics:
        schemas, views = analytics.tables, analytics.views
    counts = {}
    with open_session(settings) as session:
        for name in schemas.keys() - views.keys() - {VOCABULARY}:
            files = _files(settings, name)
            counts[name] = len(files)
            if files:
                listed = ", ".join(map(quoted, files))
                session.execute(f"CREATE TEMP VIEW {name} AS FROM read_parquet([{listed}], hive_partitioning = false)")
            else:
                session.register(name, schemas[name].empty_table())
        session.register(VOCABULARY, vocabulary())
        for view in views.values():
            session.execute(f"CREATE TEMP VIEW {view.name} AS {view.select}")

        def ask(query: NamedQuery) -> pa.Table:
            return session.execute(query.sql, query.parameters(ASKED_AT)).to_arrow_table()

        yield ask, counts["vitals"]


def _too_large(settings: Settings, names: tuple[str, ...], progress: Progress) -> str:
    """In words: the questions that a session of the memory it has by default cannot answer."""
    failed, kept = [], named_queries()
    for name in names:
        with _ours(settings) as ask:
            try:
                ask(kept[name])
            except StatementFailed as error:
                failed.append(name)
                progress(f"{name}: {error}")
    size = f"{settings.sql_memory_bytes / 2**30:g} GiB"
    fails = f"too little for {', '.join(failed)}" if failed else "enough"
    return f"sessions of {MEMORY_BYTES / 2**30:g} GiB; those they have by default, {size}, are {fails}"


def _files(settings: Settings, name: str) -> list[str]:
    catalog = open_catalog(settings)
    if not catalog.table_exists((settings.namespace, name)):
        return []
    return [task.file.file_path for task in catalog.load_table((settings.namespace, name)).scan().plan_files()]


def _rounds(ours: Ask, direct: Ask, rounds: int, progress: Progress, names: tuple[str, ...]) -> Times:
    kept = named_queries()
    taken: dict[str, tuple[list[Taken], list[Taken]]] = {name: ([], []) for name in names}
    for nth in range(rounds):
        for name in list(taken):
            answers = []
            try:
                for at in (0, 1) if nth % 2 else (1, 0):
                    answer, cost = _timed((ours, direct)[at], kept[name])
                    answers.append(answer)
                    taken[name][at].append(cost)
            except DoesNotFit:  # read directly, which comes first: a question that fails by ours alone is a finding
                del taken[name]
                progress(f"{name}: does not fit")
                continue
            if told := difference(*answers, approximate=APPROXIMATE in kept[name].sql):
                raise CheckFailedError(f"the answers to {name} differ: {told}")
        progress(f"round {nth + 1} of {rounds}")
    return {name: (_cost(by_ours), _cost(by_direct)) for name, (by_ours, by_direct) in taken.items()}


Taken = tuple[float, float]
"""Seconds on the clock, and of CPU."""


def _timed(ask: Ask, query: NamedQuery) -> tuple[pa.Table, Taken]:
    wall, cpu = time.perf_counter(), time.process_time()
    answer = ask(query)
    return answer, (time.perf_counter() - wall, time.process_time() - cpu)


def _cost(taken: Sequence[Taken]) -> Cost:
    return Cost(Spread.of([wall for wall, _ in taken]), Spread.of([cpu for _, cpu in taken]))


def difference(one: pa.Table, other: pa.Table, approximate: bool = False) -> str:
    """In what two answers differ, empty if in nothing: columns, number of rows, or a value in rows sorted alike.
    Names no value."""
    if one.column_names != other.column_names:
        return "columns"
    if one.num_rows != other.num_rows:
        return f"{one.num_rows} and {other.num_rows} rows"
    near = NEAR_APPROXIMATE if approximate else NEAR
    for row, twin in zip(_sorted(one), _sorted(other), strict=True):
        for name in one.column_names:
            if not _alike(row[name], twin[name], near):
                return f"column {name}"
    return ""


def _sorted(rows: pa.Table) -> list[dict[str, Any]]:
    exact = [field.name for field in rows.schema if not pa.types.is_floating(field.type)]
    return sorted(rows.to_pylist(), key=lambda row: [repr(row[name]) for name in exact])


def _alike(one: Any, other: Any, near: float) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=near, abs_tol=near) or (math.isnan(one) and math.isnan(other))
    return one == other


def _report(size: Size, files: int, times: Times, rounds: int, memory: str) -> Report:
    wall = {name: ours.wall.median / direct.wall.median for name, (ours, direct) in times.items()}
    cpu = {name: ours.cpu.median / direct.cpu.median for name, (ours, direct) in times.items()}
    slow = slower_than_allowed(times)
    rows = [
        (name, str(ours.wall), str(direct.wall), wall[name], str(ours.cpu), str(direct.cpu), cpu[name])
        for name, (ours, direct) in times.items()
    ]
    totals = _of_totals(times)
    middles = statistics.geometric_mean(wall.values()), statistics.geometric_mean(cpu.values())
    return Report(
        name="p4",
        title=f"{len(times)} kept questions, Iceberg tables by ours against their Parquet files read directly",
        data=f"{size.rows:,} readings in {files} files, results and alerts beside; {rounds} rounds, seconds, "
        "median (least to most)",
        columns=("question", "ours", "direct", "ratio", "ours, CPU", "direct, CPU", "ratio"),
        rows=(
            *rows,
            ("all, by total", "", "", totals[0], "", "", totals[1]),
            ("all, geometric mean", "", "", middles[0], "", "", middles[1]),
        ),
        figures={
            "seconds": {
                name: {"ours": asdict(ours), "direct": asdict(direct)} for name, (ours, direct) in times.items()
            },
            "ratios": wall,
            "cpu_ratios": cpu,
            "ratio_of_totals": totals[0],
            "cpu_ratio_of_totals": totals[1],
            "geometric_mean": middles[0],
            "cpu_geometric_mean": middles[1],
            "over_2_s_where_direct_is_under_1_s": slow,
        },
        remarks=(
            memory,
            "each pair of answers was compared; numbers of approximate aggregates to 5 %, others to 1e-9",
            f"over {WORST_S:.0f} s where the direct reading is under {QUICK_S:.0f} s: {', '.join(slow) or 'none'}",
        ),
    )


def _of_totals(times: Times) -> tuple[float, float]:
    """Ours over direct, all questions together: on the clock, and of CPU."""
    pairs = times.values()
    wall = sum(ours.wall.median for ours, _ in pairs) / sum(direct.wall.median for _, direct in pairs)
    return wall, sum(ours.cpu.median for ours, _ in pairs) / sum(direct.cpu.median for _, direct in pairs)


def slower_than_allowed(times: Times) -> list[str]:
    """Questions that take us more than `WORST_S` on the clock where the direct reading takes less than `QUICK_S`."""
    return [
        name for name, (ours, direct) in times.items() if ours.wall.median > WORST_S and direct.wall.median < QUICK_S
    ]
