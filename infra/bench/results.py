"""RESULTS.md: what the benchmarks said last, each with its machine, versions and command.

Holds: the records in infra/bench/results/, one file a benchmark, and the page made of them. Does not hold: measuring.

A record is replaced when its benchmark is run again with `--record`; the others stay, with the conditions they had.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.bench.report import Report, Value, machine, shown, versions

HERE = Path(__file__).parent
RECORDS = HERE / "results"
PAGE = HERE / "RESULTS.md"
INTRODUCTION = """# Results

Written by `make bench ARGS=--record` from the records in `infra/bench/results/`. Every benchmark checks what it
measured (a ledger against the tables) and says nothing if that fails. Machines are noisy: read ratios of one run, and
CPU seconds of a whole process, before seconds of a clock."""


def record(reports: Iterable[Report], command: str, at: datetime | None = None) -> None:
    """Keep what was measured just now, and write the page anew."""
    RECORDS.mkdir(exist_ok=True)
    ended = (at or datetime.now(UTC)).isoformat(timespec="minutes")
    conditions = {"command": command, "ended": ended, "machine": machine(), "versions": versions()}
    for report in reports:
        kept = {"report": asdict(report), **conditions}
        (RECORDS / f"{report.name}.json").write_text(json.dumps(kept, indent=1) + "\n")
    PAGE.write_text(page(recorded()))


def recorded() -> list[dict[str, Any]]:
    """The records there are, by name."""
    return [json.loads(file.read_text()) for file in sorted(RECORDS.glob("*.json"))]


def page(records: Sequence[dict[str, Any]]) -> str:
    """RESULTS.md."""
    return "\n\n".join([INTRODUCTION, *map(_section, records)]) + "\n"


def _section(kept: dict[str, Any]) -> str:
    report = kept["report"]
    chart = f"{report['name']}.svg"
    return "\n\n".join(
        [
            f"## {report['name']}: {report['title']}",
            f"{report['data']}. `{kept['command']}`, {kept['ended']}.",
            _table(report["columns"], report["rows"]),
            *(["\n".join(f"- {remark}" for remark in report["remarks"])] if report["remarks"] else []),
            *([f"![{report['title']}](results/{chart})"] if (RECORDS / chart).exists() else []),
            "; ".join(f"{name} {value}" for name, value in {**kept["machine"], **kept["versions"]}.items()),
        ]
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> str:
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *([shown(value) for value in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
