"""Two processes on one table: what a row costs when they share the partitions, and how often their commits meet.

Holds: the runs and their figures. Does not hold: the data (`workload`), the judgement (`check`).

One process drains the backlog alone; then two with half of the partitions each drain it into tables of their own. All
share vault and catalog, as two processes of a site do. The cost is counted from the first commit on: a start is paid
once a process, however much it reads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from infra.bench.ingest import PARTITIONS, SEEDS, TIMEOUT_S, Progress
from infra.bench.measured import POLL_S, MeasuredProcess, ProcessError, cpu_seconds, tail
from infra.bench.report import Report, Spread
from infra.bench.surroundings import VITALS, Deployment, Surroundings, surroundings, topic_length
from warehouse.settings import Settings

ALL, HALVES = ("",), ("0,1", "2,3")
"""Partitions of each process; empty: all."""
COMMIT_S = "2"


@dataclass(frozen=True, slots=True)
class Share:
    """What one process did of a run.

    Attributes:
        cpu_s: from its first commit to its end.
        rows: of `vitals`, committed after the first commit.
        commits, extra_attempts: of all its tables; an attempt is extra where another commit came first.
    """

    cpu_s: float
    rows: int
    commits: int
    extra_attempts: int


def measure(messages: int, rounds: int, progress: Progress) -> Report:
    """Raises `ProcessError` where a run fails or its tables are not what the ledger says."""
    with surroundings(progress) as around:
        ledger = _fill(around, messages, progress)
        runs = []
        for nth in range(rounds):
            progress(f"round {nth + 1}: one process, then two")
            runs.append((_run(around, f"one{nth}", ALL, ledger), _run(around, f"two{nth}", HALVES, ledger)))
    return _report(messages, runs)


def _fill(around: Surroundings, messages: int, progress: Progress) -> Path:
    settings = around.settings("backlog")
    with Deployment(settings) as deployment:
        deployment.keep_producers_codec([VITALS])
        progress(f"sending {messages:,} messages")
        address = ("--bootstrap", around.bootstrap, "--topic", settings.topic(VITALS))
        asked = ("--messages", str(messages), "--seed", str(SEEDS["mixed"]))
        ledger = deployment.run("infra.bench.send", *address, *asked).answer(TIMEOUT_S)["ledger"]
        if topic_length(settings, settings.topic(VITALS)) != ledger["messages"]:
            raise ProcessError("the topic is not as long as its ledger says")
    file = around.folder / "ledger.json"
    file.write_text(json.dumps(ledger))
    return file


def _run(around: Surroundings, name: str, shares: Sequence[str], ledger: Path) -> list[Share]:
    """Drain the backlog by a process for each of `shares`."""
    first = around.settings(name, topics_of="backlog", **_variables(shares[0]))
    others = [_beside(around, first, around.folder / f"{name}-{n}", share) for n, share in enumerate(shares[1:], 1)]
    with ExitStack() as stack:
        deployments = [stack.enter_context(Deployment(settings)) for settings in (first, *others)]
        done = _follow([each.run("pipelines.stream", "--until-end") for each in deployments], [first, *others])
        deployments[0].run("infra.bench.check", "lake", "--ledger", str(ledger)).answer(TIMEOUT_S)
    return done


def _variables(partitions: str) -> dict[str, str]:
    shared = {"WARDSTREAM_BRANCHES": "lake", "WARDSTREAM_COMMIT_SECONDS": COMMIT_S, "WARDSTREAM_TAKEOVER": "off"}
    return {**shared, "WARDSTREAM_PARTITIONS": partitions}


def _beside(around: Surroundings, first: Settings, home: Path, partitions: str) -> Settings:
    """Settings of another process of the same site."""
    shared = {
        "WARDSTREAM_HOME": str(home),
        "WARDSTREAM_CATALOG_URI": first.catalog_uri,
        "WARDSTREAM_VAULT_URI": first.vault_uri,
        "WARDSTREAM_COORDINATION_URI": first.coordination_uri,
    }
    return around.settings(first.namespace, topics_of="backlog", **_variables(partitions), **shared)


def _follow(processes: list[MeasuredProcess], settings: list[Settings]) -> list[Share]:
    """Watch them to their ends; what each did from its first commit on."""
    before: list[tuple[float, int] | None] = [None] * len(processes)
    deadline = time.monotonic() + TIMEOUT_S
    while any(process.ended() is None for process in processes):
        if time.monotonic() > deadline:
            raise ProcessError(f"the backlog was not drained within {TIMEOUT_S:.0f} s")
        for at, process in enumerate(processes):
            rows = _vitals(_tables(settings[at])).get("rows", 0)
            if before[at] is None and rows and process.ended() is None:
                before[at] = cpu_seconds(process.pid), rows
        time.sleep(POLL_S)
    return [_share(*each) for each in zip(processes, map(_tables, settings), before, strict=True)]


def _share(process: MeasuredProcess, tables: dict[str, Any], before: tuple[float, int] | None) -> Share:
    usage = process.wait(0)
    if usage.exit_code or before is None:
        raise ProcessError(f"a stream ended with code {usage.exit_code} or committed nothing\n{tail(process.log)}")
    return Share(
        cpu_s=usage.cpu_s - before[0],
        rows=_vitals(tables)["rows"] - before[1],
        commits=sum(table["commits"] for table in tables.values()),
        extra_attempts=sum(table["extra_attempts"] for table in tables.values()),
    )


def _tables(settings: Settings) -> dict[str, Any]:
    """What the stream last said of its tables; empty before its first word."""
    try:
        said = json.loads((settings.home / "run" / "stream.json").read_text())
    except FileNotFoundError:
        return {}
    return (said.get("lake") or {}).get("tables") or {}


def _vitals(tables: dict[str, Any]) -> dict[str, Any]:
    return tables.get("vitals") or {}


def cost(shares: list[Share]) -> float:
    """CPU seconds per million rows of all processes of a run."""
    return sum(share.cpu_s for share in shares) / sum(share.rows for share in shares) * 1e6


def _report(messages: int, runs: list[tuple[list[Share], list[Share]]]) -> Report:
    ratios = Spread.of([cost(two) / cost(one) for one, two in runs])
    both = [share for _, two in runs for share in two]
    commits, extra = sum(share.commits for share in both), sum(share.extra_attempts for share in both)
    rows = []
    for nth, (one, two) in enumerate(runs, start=1):
        rows += [(f"one process {nth}", *_row(one)), (f"two processes {nth}", *_row(two))]
    return Report(
        name="two",
        title=f"two processes / one, CPU a row: {ratios}; {extra} of {commits} commits needed a further attempt",
        data=f"{messages:,} messages in {PARTITIONS} partitions (seed {SEEDS['mixed']}), drained into Iceberg by one "
        "process and by two with two partitions each",
        columns=("run", "CPU-s/M", "commits", "further attempts", "rows of each"),
        rows=tuple(rows),
        figures={
            "ratio": asdict(ratios),
            "commits": commits,
            "extra_attempts": extra,
            "runs": [{"one": list(map(asdict, one)), "two": list(map(asdict, two))} for one, two in runs],
        },
        remarks=(
            "CPU-s/M: of all processes, from the first commit of each to its end, per million rows",
            f"commit every {COMMIT_S} s; SQLite catalog, embedded store",
        ),
    )


def _row(shares: list[Share]) -> tuple[float, int, int, str]:
    each = " + ".join(f"{share.rows:,}" for share in shares)
    commits, extra = sum(share.commits for share in shares), sum(share.extra_attempts for share in shares)
    return cost(shares), commits, extra, each
