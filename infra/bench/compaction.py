"""P6: ten thousand small files become few, against pyarrow that only reads and writes them, and beside live commits.

Holds: the measuring. Does not hold: the lake and its rows (growing.py), compaction itself (warehouse/upkeep).

The limit reads the very same files by pyarrow's dataset in the same groups and writes each group as one file of the
same compression into the same store: no sort, no metrics, no commit. It is taken before and after ours.
"""

from __future__ import annotations

import statistics
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from infra.bench.growing import TABLE, Progress, fenced, lake, readings, require_each_once
from infra.bench.measured import MeasuredProcess
from infra.bench.report import Report
from infra.services.environment import environment_of
from warehouse.catalog import load_table, open_catalog
from warehouse.contract import load_contracts
from warehouse.settings import Settings
from warehouse.snapshots import LiveFile
from warehouse.staging import stage
from warehouse.table_session import store_of
from warehouse.upkeep.plan import CompactionGroup, UpkeepPolicy, plan_compaction
from warehouse.upkeep.run import TableUpkeep, Upkeep

ROWS_A_FILE = 150
PERIODS_S = (2.0, 0.2)
POLICY = UpkeepPolicy()


def measure(files: int, progress: Progress) -> Report:
    """Compaction of so many files against the limit, then the same beside commits of each period. Raises
    `CheckFailedError`."""
    with lake("p6", progress) as settings:
        progress(f"staging {files} files of {ROWS_A_FILE} rows")
        _fill(settings, files, 0)
        groups = _groups(settings)
        limits = [_limit(settings, groups, progress)]
        began = time.monotonic()
        done = _upkeep(settings).run(TABLE)
        whole_s = time.monotonic() - began
        limits.append(_limit(settings, groups, progress))
        require_each_once(settings, {0: files * ROWS_A_FILE})
        compaction_s = _compaction_seconds
        progress(f"ours {sum(compaction_s):.1f} s of {whole_s:.1f} s, the limit {limits}")
        beside = [_beside(settings, files, n, period, progress) for n, period in enumerate(PERIODS_S, 1)]
    return _report(files, done, limits, sum(compaction_s), whole_s, beside)


_compaction_seconds: list[float] = []


def _fill(settings: Settings, files: int, round_: int) -> None:
    """So many files of one day in one commit: staged apart, then brought in as files that come back."""
    table = load_table(open_catalog(settings), settings.namespace, TABLE)
    first = round_ * files

    def staged(n: int) -> LiveFile:
        rows = readings((first + n) * ROWS_A_FILE, ROWS_A_FILE)
        return LiveFile(stage(table, rows, store_of(table)).files[0], 1)

    with ThreadPoolExecutor(4) as pool:
        live = list(pool.map(staged, range(files)))
    fenced(settings).restore_files(live, {})


def _groups(settings: Settings) -> tuple[CompactionGroup, ...]:
    return tuple(plan_compaction(_upkeep(settings).observe(TABLE).files, POLICY))


def _upkeep(settings: Settings) -> Upkeep:
    """Upkeep whose compactions are timed: from the reading of a group to its exchange."""
    _compaction_seconds.clear()
    began = [0.0]

    def progress(step: str) -> None:
        if step == "read":
            began[0] = time.monotonic()
        if step == "exchanged":
            _compaction_seconds.append(time.monotonic() - began[0])

    return Upkeep(
        settings, open_catalog(settings), load_contracts(), lambda table, now: (), policy=POLICY, progress=progress
    )


def _limit(settings: Settings, groups: tuple[CompactionGroup, ...], progress: Progress) -> float:
    """Seconds that pyarrow takes to read each group and to write it as one file."""
    table = load_table(open_catalog(settings), settings.namespace, TABLE)
    store = store_of(table)
    scheme, netloc, _ = store.parse_location(groups[0].files[0].location, store.properties)
    system = store.fs_by_scheme(scheme, netloc)
    began = time.monotonic()
    for group in groups:
        paths = [store.parse_location(file.location, store.properties)[2] for file in group.files]
        rows = ds.dataset(paths, format="parquet", filesystem=system).to_table()
        sink = pa.BufferOutputStream()
        pq.write_table(rows, sink, compression="zstd", compression_level=1)
        location = f"{settings.warehouse}/limit/{uuid.uuid4()}.parquet"
        store.put(location, sink.getvalue())
    seconds = time.monotonic() - began
    progress(f"pyarrow alone: {seconds:.1f} s")
    return seconds


def _beside(settings: Settings, files: int, round_: int, period_s: float, progress: Progress) -> dict[str, float]:
    """Compaction of as many files again beside commits every `period_s`."""
    _fill(settings, files, round_)
    folder = Path(settings.home).parent
    live = MeasuredProcess(
        "infra.bench.live_commits",
        [str(period_s), "1"],
        environment_of(settings),
        folder / f"live-{round_}.json",
        folder / "live.log",
    )
    time.sleep(max(3.0, 2 * period_s))
    began = time.monotonic()
    done = _upkeep(settings).run(TABLE)
    seconds = time.monotonic() - began
    live.stop(60)
    told = live.answer(60)
    require_each_once(settings, {0: (round_ + 1) * files * ROWS_A_FILE, 1: told["rows"]})
    share = told["second_attempts"] / told["commits"]
    progress(f"every {period_s} s: {told['second_attempts']} of {told['commits']} commits again, {seconds:.1f} s")
    return {
        "period_s": period_s,
        "commits": told["commits"],
        "second_attempts": told["second_attempts"],
        "share": share,
        "commit_p50_s": statistics.median(told["seconds"]),
        "upkeep_s": seconds,
        "attempts_of_upkeep": sum(each.attempts for each in done.compacted),
        "groups": len(done.compacted),
    }


def _report(
    files: int, done: TableUpkeep, limits: list[float], ours_s: float, whole_s: float, beside: list[dict[str, float]]
) -> Report:
    limit_s = statistics.median(limits)
    share = limit_s / ours_s
    rows = [
        ("pyarrow reads and writes, s (before, after)", " ".join(f"{each:.2f}" for each in limits)),
        ("compaction, s", round(ours_s, 2)),
        ("share of the limit's speed (to reach 0.5)", round(share, 3)),
        ("whole run with plan, manifests, expiry and look, s", round(whole_s, 2)),
        ("files before, after", f"{len(done.before.files):,} {len(done.after.files):,}"),
        *(
            (
                f"commits every {each['period_s']} s beside it: second attempts (to stay below 5 %)",
                f"{each['second_attempts']} of {each['commits']} ({100 * each['share']:.1f} %)",
            )
            for each in beside
        ),
    ]
    figures = {
        "limit_s": limits,
        "compaction_s": ours_s,
        "whole_s": whole_s,
        "share_of_limit": share,
        "files_before": len(done.before.files),
        "files_after": len(done.after.files),
        "bytes_before": done.before.size_bytes,
        "bytes_after": done.after.size_bytes,
        "beside": beside,
    }
    return Report(
        "p6",
        "compaction of small files",
        f"{files:,} files of {ROWS_A_FILE} rows of vitals in one day",
        ("what", "figure"),
        tuple(rows),
        figures,
        ("the limit neither sorts nor commits; both read through the same Arrow S3 client",),
    )
