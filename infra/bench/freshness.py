"""P2: from the sending of a message to its being seen in an answer of DuckDB, at a steady light load.

Holds: the run and the arithmetic. Does not hold: the watching (`watch`).

A message counts as seen when an answer that contains it, or a later one of its partition, has come back.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from infra.bench.measured import MeasuredProcess, cpu_seconds, peak_bytes
from infra.bench.report import Report, percentiles
from infra.bench.surroundings import VITALS, Deployment, Surroundings, surroundings
from infra.bench.workload import Ledger
from warehouse.catalog import open_catalog
from warehouse.settings import Settings

RATE = 2_000.0
RUNS = ((2.0, "all"), (5.0, "all"), (5.0, "lake"))
"""Seconds between commits, and the branches of the graph: the last is what the peers do."""
WARM_UP_S = 5.0
"""Messages of the first seconds are left out."""
SEEN_S = 30.0
SEED = 21

Progress = Callable[[str], None]


def measure(seconds: float, progress: Progress) -> Report:
    """Raises `ProcessError` where a part fails or the tables are not what the ledger says."""
    with surroundings(progress) as around:
        runs = {run: _run(around, *run, seconds, progress) for run in RUNS}
    return Report(
        name="p2",
        title="seconds from sending to being seen in DuckDB",
        data=f"a ward of 2,000 patients, {RATE:,.0f} messages/s for {seconds:g} s, 0.1 % malformed, 1 % repeated "
        f"(seed {SEED}), event time = now",
        columns=("", "p50", "p95", "p99", "max", "messages", "cores", "MiB", "question s", "questions"),
        rows=tuple((f"commit every {every:g} s, {branches}", *_row(run)) for (every, branches), run in runs.items()),
        figures={f"commit_{every:g}s_{branches}": run for (every, branches), run in runs.items()},
        remarks=(
            f"the first {WARM_UP_S:g} s are left out; cores: the stream's CPU seconds a second of load, start left out",
            "all: alerts are decided and sent too; lake: ingest alone, as the peers",
            "question: median time of one answer of the watcher; it asks again 0.15 s after each and is part of "
            "what is measured; MiB: peak resident set of the stream",
        ),
    )


def _run(around: Surroundings, every_s: float, branches: str, seconds: float, progress: Progress) -> dict[str, Any]:
    progress(f"{RATE:,.0f} messages/s for {seconds:g} s, commit every {every_s:g} s, {branches}")
    variables = {"WARDSTREAM_COMMIT_SECONDS": str(every_s), "WARDSTREAM_BRANCHES": branches}
    settings = around.settings(f"fresh{every_s:g}{branches}", **variables)
    with Deployment(settings) as deployment:
        deployment.keep_producers_codec([VITALS])
        stream = deployment.start_stream()
        watcher = deployment.start_watcher("lake")
        load = ("--rate", str(RATE), "--seconds", str(seconds), "--seed", str(SEED), "--ward")
        address = ("--bootstrap", around.bootstrap, "--topic", settings.topic(VITALS))
        sender = deployment.run("infra.bench.send", *address, *load)
        time.sleep(WARM_UP_S)
        used, since = cpu_seconds(stream.pid), time.monotonic()
        sent = sender.answer(seconds * 3 + 60)
        cores = (cpu_seconds(stream.pid) - used) / (time.monotonic() - since)
        distinct = Ledger(**sent["ledger"]).distinct
        deployment.wait_for("the last row", lambda status: rows_committed(status) >= distinct, SEEN_S, stream)
        time.sleep(2.0)
        watcher.stop(SEEN_S)
        peak = peak_bytes(stream.pid)
        deployment.drain(stream)
        ledger = settings.home / "ledger.json"
        ledger.write_text(json.dumps(sent["ledger"]))
        found = deployment.run("infra.bench.check", "lake", "--ledger", str(ledger)).answer(120)
        answers = sightings(watcher)
        waits = freshness(sent_rows(settings), answers, from_ms=(sent["began"] + WARM_UP_S) * 1000)
    return {
        "freshness_s": percentiles(waits),
        "messages": len(waits),
        "cores": cores,
        "peak_bytes": peak,
        "question_s": float(np.median([answer["took_s"] for answer in answers])),
        "questions": len(answers),
        "rate": sent["ledger"]["messages"] / (sent["ended"] - sent["began"]),
        "found": found,
    }


def rows_committed(status: dict[str, Any]) -> int:
    """Rows of `vitals` that the stream has committed since its start."""
    return status["lake"]["tables"]["vitals"]["rows"]


def sightings(watcher: MeasuredProcess) -> list[dict[str, Any]]:
    """What a watcher saw, once it has ended."""
    return [json.loads(line) for line in watcher.output.read_text().splitlines()[1:]]


def sent_rows(settings: Settings) -> pa.Table:
    """Where each row of `vitals` stood, and when it was sent."""
    table = open_catalog(settings).load_table((settings.namespace, "vitals"))
    return table.scan(selected_fields=("kafka_partition", "kafka_offset", "event_time")).to_arrow()


def freshness(sent: pa.Table, answers: list[dict[str, Any]], from_ms: float) -> np.ndarray:
    """float64: seconds from sending to being seen, of all rows sent at `from_ms` (UTC epoch) or later.

    Raises `ValueError` for a row that no answer showed.
    """
    offsets, partitions = sent["kafka_offset"].to_numpy(), sent["kafka_partition"].to_numpy()
    sent_s = sent["event_time"].cast(pa.int64()).to_numpy() / 1e6
    counted = sent_s * 1000 >= from_ms
    seen_s = np.full(len(offsets), np.nan)
    for partition in np.unique(partitions).tolist():
        times, newest = _course(answers, partition)
        ours = partitions == partition
        at = np.searchsorted(newest, offsets[ours])
        seen_s[ours] = np.append(times, np.nan)[at]
    if np.isnan(seen_s[counted]).any():
        raise ValueError("a committed row was never seen by the watcher")
    return (seen_s - sent_s)[counted]


def _course(answers: list[dict[str, Any]], partition: int) -> tuple[np.ndarray, np.ndarray]:
    """When each answer came, and the newest offset of the partition in it."""
    known = [
        (answer["at"], answer["newest"][str(partition)]) for answer in answers if str(partition) in answer["newest"]
    ]
    return np.array([at for at, _ in known]), np.array([newest for _, newest in known], np.int64)


def _row(run: dict[str, Any]) -> tuple[float | int, ...]:
    shown = [run["freshness_s"][point] for point in ("p50", "p95", "p99", "max")]
    return *shown, run["messages"], run["cores"], run["peak_bytes"] >> 20, run["question_s"], run["questions"]
