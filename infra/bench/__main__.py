"""`python -m infra.bench NAME`: run benchmarks, print a table, and everything as JSON with `--json`.

Holds: arguments and their sizes. Does not hold: any measuring.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shlex
import sys
from pathlib import Path

from rich.console import Console

from infra.bench import (
    compaction,
    drift,
    drift_account,
    erasure,
    freshness,
    growth,
    ingest,
    latency,
    pair,
    peers,
    questions,
    results,
    soak,
    start,
)
from infra.bench.bedside import Size
from infra.bench.check import CheckFailedError
from infra.bench.measured import ProcessError
from infra.bench.report import Report, as_json, show

BENCHMARKS = ("p1", "two", "p2", "p3", "p4", "p5", "p6", "p8", "p9")
QUICK_QUEUE_BYTES = 24 << 20
"""In a quick run the store stands still too shortly to fill the lake's own queue."""

_SIZES = {
    # messages, rounds, seconds of P2, (before, stopped, after) of P3
    "full": (4_000_000, 3, 60.0, (60.0, 60.0, 60.0)),
    "quick": (400_000, 1, 20.0, (15.0, 15.0, 15.0)),
}

_SOAK_S = {"full": 3_600.0, "quick": 420.0}
"""Of `p10`, which `all` leaves out: it takes an hour."""

_SMALL_FILES = {"full": 10_000, "quick": 600}
_GROWTH = {"full": (30, (10, 1_000)), "quick": (3, (10, 60))}
"""Days, and commits a day."""

STAYS = Path("../shared/data/physionet2019/training_setA.parquet")

_ROWS = {"full": 50_000_000, "quick": 1_000_000}
_PEOPLE = {"full": (100_000, 1_000), "quick": (10_000, 100)}
"""There, and to be erased."""


def main(arguments: list[str] | None = None) -> int:
    """0 when all asked for was measured; 1 when a correctness check or a part failed: then nothing is reported."""
    given = _parse(sys.argv[1:] if arguments is None else arguments)
    command = shlex.join(["python", "-m", "infra.bench", *(sys.argv[1:] if arguments is None else arguments)])
    notes = Console(stderr=True)
    if given.benchmark == "drift":
        return _drift(given, command, notes)
    asked = BENCHMARKS if given.benchmark == "all" else (given.benchmark,)
    try:
        reports = [_measure(name, given, lambda line: notes.print(line, style="dim")) for name in asked]
    except (ProcessError, CheckFailedError, RuntimeError) as error:
        notes.print(f"no figures: {error}", markup=False)
        return 1
    if given.record:
        results.record(reports, command)
    _say(reports, command, given.json)
    return 0


def _measure(name: str, given: argparse.Namespace, progress: ingest.Progress) -> Report:
    messages, rounds, seconds, phases = _SIZES["quick" if given.quick else "full"]
    if name == "peers":
        if given.results is None:
            raise peers.PeersError("name the results.jsonl of the peers' harness: --results FILE")
        return peers.report(given.results)
    if name == "p1":
        return ingest.measure(given.messages or messages, given.rounds or rounds, progress)
    if name == "two":
        return pair.measure(given.messages or messages, given.rounds or rounds, progress)
    if name == "p9":
        return start.measure(given.rounds or rounds, progress)
    if name == "p10":
        return soak.measure(given.seconds or _SOAK_S["quick" if given.quick else "full"], progress)
    if name == "p2":
        return freshness.measure(given.seconds or seconds, progress)
    if name == "p6":
        return compaction.measure(given.small_files or _SMALL_FILES["quick" if given.quick else "full"], progress)
    if name == "p5":
        size = "quick" if given.quick else "full"
        people, erased = _PEOPLE[size]
        files = given.files if not given.quick else 20
        return erasure.measure(given.rows or _ROWS[size], files, people, given.erased or erased, progress)
    if name == "p8":
        days, commits = _GROWTH["quick" if given.quick else "full"]
        return growth.measure(given.days or days, tuple(given.commits or commits), given.chart, progress)
    if name == "p4":
        rows = given.rows or _ROWS["quick" if given.quick else "full"]
        return questions.measure(Size(rows, given.files), given.rounds or 3, progress)
    times = latency.Times(*([given.seconds] * 3 if given.seconds else phases))
    queue_bytes = QUICK_QUEUE_BYTES if given.quick else None
    return latency.measure(times, tuple(given.rate or latency.RATES), queue_bytes, progress)


def _drift(given: argparse.Namespace, command: str, notes: Console) -> int:
    """Draws are kept one by one: a run that was ended goes on with `--record --seed`."""
    if not given.stays.is_file():
        print(f"no figures: {given.stays} is not there; name the stays with --stays FILE", file=sys.stderr)
        return 1
    seed = secrets.randbits(32) if given.seed is None else given.seed
    draws = given.draws or (10 if given.quick else 50)
    kept = command if given.record else None
    trial = drift.YOUNG_HOSPITAL if given.young else drift.ALL_KINDS
    report = drift_account.measure(trial, given.stays, draws, seed, kept, lambda line: notes.print(line, style="dim"))
    _say([report], command, given.json)
    return 0


def _say(reports: list[Report], command: str, as_json_text: bool) -> None:
    if as_json_text:
        print(json.dumps(as_json(reports, command), indent=1))
    else:
        show(reports, command, Console())


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.bench", description=__doc__.splitlines()[0])
    parser.add_argument("benchmark", choices=(*BENCHMARKS, "p10", "drift", "peers", "all"))
    parser.add_argument("--messages", type=int, help="P1, two: length of the backlog")
    parser.add_argument("--rounds", type=int, help="P1, two, P4: rounds of ours and the other; P9: demonstrations")
    parser.add_argument("--rows", type=int, help="P4, P5: readings in the lake")
    parser.add_argument("--files", type=int, default=200, help="P4, P5: files they lie in")
    parser.add_argument("--erased", type=int, help="P5: people to erase")
    parser.add_argument("--small-files", type=int, help="P6: files to compact")
    parser.add_argument("--days", type=int, help="P8: days that the table grows")
    parser.add_argument("--commits", type=int, action="append", help="P8: commits a day (may be given again)")
    parser.add_argument("--chart", type=Path, help="P8: an SVG file for commit time against number of commits")
    parser.add_argument("--seconds", type=float, help="P2, P10: of load; P3: of each of its three phases")
    parser.add_argument("--rate", type=float, action="append", help="P3: messages a second (may be given again)")
    parser.add_argument("--draws", type=int, help="drift: shifts to draw; two fifths of them are none")
    parser.add_argument("--young", action="store_true", help="drift: other patients only, to a model of 1,000 stays")
    parser.add_argument("--seed", type=int, help="drift: draw these again; without it from one that nobody knows")
    parser.add_argument("--stays", type=Path, default=STAYS, help="drift: parquet file of stays")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--results", type=Path, help="peers: results.jsonl of the peers' own harness")
    parser.add_argument("--record", action="store_true", help="keep it in infra/bench/results/ and write RESULTS.md")
    parser.add_argument("--json", action="store_true", help="everything as JSON on standard output")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
