"""P1: a backlog drained into Iceberg, exactly once, deduplicated, pseudonymised, against the bare loop.

Holds: the rounds and their figures. Does not hold: the loop (`bare`), the data (`workload`), the judgement (`check`).

Both are measured as whole processes, start-up included, one after the other on the same broker and store. Ours reads
the topic with malformed and repeated messages; the bare loop a topic as long without malformed ones, which it could
not read. Each round has tables of its own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.bench.measured import POLL_S, MeasuredProcess, ProcessError, Usage, cpu_seconds, tail
from infra.bench.report import Report, Spread
from infra.bench.surroundings import VITALS, Deployment, Surroundings, create_topic, surroundings, topic_length
from warehouse.catalog import open_catalog
from warehouse.settings import Settings

PARTITIONS = 4
COMMIT_S = "5"
"""Both commit this often, or when they think they hold enough."""
TIMEOUT_S = 1_800.0
STEADY_COMMITS = 4
"""With fewer, what was read before the first commit and written by the last weighs too much."""
SEEDS = {"mixed": 7, "clean": 9}

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Drained:
    """One process's run over the backlog.

    Attributes:
        cpu_s_per_m: CPU seconds per million messages of the topic, start-up included.
        steady_cpu_s_per_m: the same from the first commit to the last, per million rows; None with too few commits.
        servers_cpu_s: what broker and store used meanwhile.
        found: what the tables hold.
    """

    usage: Usage
    cpu_s_per_m: float
    steady_cpu_s_per_m: float | None
    servers_cpu_s: dict[str, float]
    found: dict[str, int]


def measure(messages: int, rounds: int, progress: Progress) -> Report:
    """Raises `ProcessError` where a run fails or its tables are not what the ledger says."""
    with surroundings(progress) as around:
        topics = _fill(around, messages, progress)
        ours, bare = [], []
        for nth in range(rounds):
            ours.append(_ours(around, nth, messages, topics["mixed"]))
            progress(f"round {nth + 1}: ours {ours[-1].cpu_s_per_m:.2f} CPU-s/M")
            bare.append(_bare(around, nth, messages, topics["clean"]))
            progress(f"round {nth + 1}: bare {bare[-1].cpu_s_per_m:.2f} CPU-s/M")
    return _report(messages, ours, bare)


def _fill(around: Surroundings, messages: int, progress: Progress) -> dict[str, Path]:
    """Make both topics; returns where their ledgers are."""
    ledgers = {}
    settings = around.settings("backlog")
    with Deployment(settings) as deployment:
        deployment.keep_producers_codec([VITALS])
        create_topic(settings, "clean", PARTITIONS)
        for name, topic, malformed in (("mixed", settings.topic(VITALS), "0.001"), ("clean", "clean", "0")):
            progress(f"sending {messages:,} messages ({name})")
            options = ("--messages", str(messages), "--seed", str(SEEDS[name]), "--malformed", malformed)
            sender = deployment.run("infra.bench.send", "--bootstrap", around.bootstrap, "--topic", topic, *options)
            ledger = sender.answer(TIMEOUT_S)["ledger"]
            if topic_length(settings, topic) != ledger["messages"]:
                raise ProcessError(f"topic {topic} is not as long as its ledger says")
            ledgers[name] = around.folder / f"{name}.json"
            ledgers[name].write_text(json.dumps(ledger))
    return ledgers


def _ours(around: Surroundings, nth: int, messages: int, ledger: Path) -> Drained:
    variables = {"WARDSTREAM_BRANCHES": "lake", "WARDSTREAM_COMMIT_SECONDS": COMMIT_S}
    settings = around.settings(f"ours{nth}", topics_of="backlog", **variables)
    with Deployment(settings) as deployment:
        command = ("pipelines.stream", "--until-end")
        return _drained(around, deployment, command, messages, table="vitals", check="lake", ledger=ledger)


def _bare(around: Surroundings, nth: int, messages: int, ledger: Path) -> Drained:
    with Deployment(around.settings(f"bare{nth}")) as deployment:
        command = ("infra.bench.bare", "--topic", "clean", "--messages", str(messages))
        return _drained(around, deployment, command, messages, table="bare", check="bare", ledger=ledger)


def _drained(
    around: Surroundings,
    deployment: Deployment,
    command: tuple[str, ...],
    messages: int,
    table: str,
    check: str,
    ledger: Path,
) -> Drained:
    before = around.used()
    process = deployment.run(*command)
    usage, course = _follow(process)
    servers = around.used_since(before)
    found = deployment.run("infra.bench.check", check, "--ledger", str(ledger)).answer(TIMEOUT_S)
    steady = steady_cost(commits(deployment.settings, table), course)
    return Drained(usage, usage.cpu_s / messages * 1e6, steady, servers, found)


def _follow(process: MeasuredProcess) -> tuple[Usage, list[tuple[float, float]]]:
    """Wait for its end; returns what it used, and (UTC epoch seconds, CPU seconds so far) along the way."""
    course, deadline = [], time.monotonic() + TIMEOUT_S
    while (usage := process.ended()) is None and time.monotonic() < deadline:
        course.append((time.time(), cpu_seconds(process.pid)))
        time.sleep(POLL_S)
    usage = usage or process.wait(0)
    if usage.exit_code:
        raise ProcessError(f"{process.module} ended with code {usage.exit_code}\n{tail(process.log)}")
    return usage, course


def commits(settings: Settings, table: str) -> list[tuple[float, int]]:
    """(UTC epoch seconds, rows of the table by then) of each commit that is still in the history and added rows."""
    metadata = open_catalog(settings).load_table((settings.namespace, table)).metadata
    snapshots = [(s.timestamp_ms / 1000, s.summary) for s in metadata.snapshots if s.summary is not None]
    return [(at, int(summary["total-records"] or 0)) for at, summary in snapshots if int(summary["added-records"] or 0)]


def steady_cost(commits: list[tuple[float, int]], course: list[tuple[float, float]]) -> float | None:
    """CPU seconds per million rows between the first commit and the last; None with fewer than `STEADY_COMMITS`."""
    if len(commits) < STEADY_COMMITS:
        return None
    (first_at, first_rows), (last_at, last_rows) = commits[0], commits[-1]
    cpu_s = _cpu_at(course, last_at) - _cpu_at(course, first_at)
    return cpu_s / (last_rows - first_rows) * 1e6


def _cpu_at(course: list[tuple[float, float]], at: float) -> float:
    return next((cpu_s for when, cpu_s in course if when >= at), course[-1][1])


def _report(messages: int, ours: list[Drained], bare: list[Drained]) -> Report:
    ratios = [mine.cpu_s_per_m / theirs.cpu_s_per_m for mine, theirs in zip(ours, bare, strict=True)]
    rows = []
    for nth, (mine, theirs) in enumerate(zip(ours, bare, strict=True), start=1):
        rows += [_row(f"ours {nth}", mine, messages), _row(f"bare {nth}", theirs, messages)]
    figures = {
        "messages": messages,
        "ratio": asdict(Spread.of(ratios)),
        "ours_cpu_s_per_m": asdict(Spread.of([run.cpu_s_per_m for run in ours])),
        "bare_cpu_s_per_m": asdict(Spread.of([run.cpu_s_per_m for run in bare])),
        "ours_peak_bytes": max(run.usage.peak_bytes for run in ours),
        "ours": [asdict(run) for run in ours],
        "bare": [asdict(run) for run in bare],
    }
    return Report(
        name="p1",
        title=f"ours / bare, CPU of whole processes: {Spread.of(ratios)}",
        data=f"{messages:,} messages of ~209 B JSON in {PARTITIONS} partitions, lz4; ours 0.1 % malformed, 1 % "
        f"repeated (seed {SEEDS['mixed']}); bare 1 % repeated, none malformed (seed {SEEDS['clean']})",
        columns=(
            "run",
            "CPU-s/M",
            "steady",
            "wall s",
            "msg/s",
            "MiB",
            "broker",
            "store",
            "rows",
            "rejects",
            "twice",
        ),
        rows=tuple(rows),
        figures=figures,
        remarks=(
            "CPU-s/M: CPU seconds of the whole process, start-up included, per million messages of its topic",
            "steady: from the first commit to the last, per million rows, as the peers' harness counts",
            "MiB: peak resident set; broker, store: their CPU seconds meanwhile",
        ),
    )


def _row(name: str, run: Drained, messages: int) -> tuple[float | int | str, ...]:
    return (
        name,
        run.cpu_s_per_m,
        "-" if run.steady_cpu_s_per_m is None else run.steady_cpu_s_per_m,
        run.usage.wall_s,
        int(messages / run.usage.wall_s),
        run.usage.peak_bytes >> 20,
        run.servers_cpu_s["broker"],
        run.servers_cpu_s["store"],
        run.found["rows"],
        run.found.get("rejects", "-"),
        run.found.get("duplicates", "-"),
    )
