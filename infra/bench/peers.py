"""What other programs need for the same job, as their own harness measured them beside ours.

Holds: the reading of that harness's results (`results.jsonl`: a line of measures and a line of its check for each run)
into a report. Does not hold: the harness, which lies outside this repository, nor any running of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.bench.report import Report

COLUMNS = ("program", "rows/s", "CPU-s/M steady", "CPU-s/M from start", "peak MB", "first commit s", "exact")


class PeersError(RuntimeError):
    """The results are not what the harness writes."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One catch-up run: what was measured, and what the harness's check said of its table."""

    measures: dict[str, Any]
    check: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.measures["name"]).removeprefix("catchup_").replace("_", "-")

    @property
    def row(self) -> tuple[float | int | str, ...]:
        measured = [self.measures.get(key, "") for key in ("rows_per_s", "cpu_s_per_m", "cpu_s_per_m_all")]
        exact = "yes" if self.check.get("exact") else "no"
        return (self.name, *measured, self.measures["peak_rss_mb"], self.measures.get("first_commit_s", ""), exact)


def report(results: Path) -> Report:
    """Every catch-up run of a `results.jsonl`. Raises `PeersError`."""
    peers = list(_peers(results))
    if not peers:
        raise PeersError(f"{results} has no catch-up run that wrote rows")
    return Report(
        "peers",
        "other programs on a backlog of the same shape",
        "4 partitions, 0.1 % malformed, 1 % repeated; Iceberg v2 by day on the harness's own broker and store",
        COLUMNS,
        tuple(peer.row for peer in peers),
        {peer.name: {**peer.measures, **peer.check} for peer in peers},
        (
            "steady: from the first commit to the last; from start: with start-up. Those named -dedupe drop repeated "
            "events within their window, the others write them twice.",
        ),
    )


def _peers(results: Path) -> Iterator[Peer]:
    try:
        lines = [json.loads(line) for line in results.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise PeersError(f"{results} cannot be read: {error}") from error
    checks = {line["table"]: line for line in lines if "table" in line}
    for line in lines:
        if str(line.get("name", "")).startswith("catchup_") and line.get("rows"):
            yield Peer(line, checks.get(line["name"], {}))
