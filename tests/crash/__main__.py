"""`make fire`: every long form under fire, one after another, and its report in infra/bench/FIRE.md.

Holds: which runs there are, and the report. Does not hold: any run (committer/, stream/, stack/, broken_builds/,
tests/simulation/); each is a command of its own. Exit code 0 if nothing was lost or doubled and every run ended well.
"""

from __future__ import annotations

import argparse
import platform
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "infra" / "bench" / "FIRE.md"
SUMS_IN_ORDER = ("lost", "doubled", "kills", "pauses", "answers_lost")
SUMS = re.compile(rf"\b({'|'.join(SUMS_IN_ORDER)})=(\d+)")
NOT_INJECTED = (
    "Power loss (the embedded store never forces its writes to the disk), a broken disk that answers wrongly, a "
    "network that splits several brokers, and any engine on other hosts."
)


@dataclass(frozen=True, slots=True)
class Run:
    """One command. `what`: one sentence for the report."""

    name: str
    module: str
    arguments: tuple[str, ...]
    what: str

    @property
    def command(self) -> str:
        return " ".join((".venv/bin/python", "-m", self.module, *self.arguments))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run printed (its last lines), its exit code, and how long it took in seconds."""

    run: Run
    lines: list[str]
    code: int
    seconds: float

    @property
    def sums(self) -> dict[str, int]:
        """From the run's last line that has any."""
        found = [SUMS.findall(line) for line in self.lines]
        return {name: int(number) for name, number in next((f for f in reversed(found) if f), [])}


def plan(options: argparse.Namespace) -> list[Run]:
    seed = str(options.seed)
    committer = ("--kills", str(options.kills), "--pauses", str(options.pauses), "--seed", seed)
    rounds = ("--rounds", str(options.rounds), "--seed", seed)
    kills = ("--kills", str(options.stream_kills), "--in-flight", str(options.stream_kills // 3))
    steps = ("--steps", str(options.steps), "--seed", seed)
    runs = [
        Run("simulation", "tests.simulation", steps, "Real commit code on a simulated catalog, store and broker."),
        Run("committer-sqlite", "tests.crash.committer", (*committer, "--catalog", "sqlite"), "Writers on SQLite."),
        Run("committer-postgres", "tests.crash.committer", (*committer, "--catalog", "postgres"), "On PostgreSQL."),
        Run("stream", "tests.crash.stream", kills, "kill -9 of the stream while a ward is played."),
        Run("stack", "tests.crash.stack", rounds, "The whole stack: every part struck, every scenario."),
        Run("broken-builds", "tests.crash.broken_builds", (), "Builds that are broken on purpose, each to be caught."),
    ]
    return [run for run in runs if not options.only or run.name in options.only]


def carry_out(run: Run) -> Outcome:
    """Run it, its output shown as it comes."""
    sys.stdout.write(f"\n== {run.command}\n")
    began, lines = time.monotonic(), []
    process = subprocess.Popen(
        [sys.executable, "-m", run.module, *run.arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        lines.append(line.rstrip())
    return Outcome(run, lines[-40:], process.wait(), time.monotonic() - began)


def report(outcomes: list[Outcome], seed: int) -> str:
    """FIRE.md."""
    total = {name: sum(o.sums.get(name, 0) for o in outcomes) for name in SUMS_IN_ORDER}
    last = " ".join(f"{name}={number}" for name, number in total.items())
    parts = [
        "# Under fire",
        f"Written by `make fire` on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, seed {seed}, commit {_commit()}, "
        f"{platform.machine()}, Python {platform.python_version()}. The oracle (tests/oracle) judges every run.",
        f"Not injected: {NOT_INJECTED}",
    ]
    for outcome in outcomes:
        verdict = "ended well" if outcome.code == 0 else f"ended with code {outcome.code}"
        heading = (
            f"## {outcome.run.name}\n{outcome.run.what} `{outcome.run.command}`: {verdict}, {outcome.seconds:.0f} s."
        )
        parts += [heading, "```\n" + "\n".join(outcome.lines) + "\n```"]
    return "\n\n".join([*parts, last]) + "\n"


def _commit() -> str:
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return asked.stdout.strip() or "unknown"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="of the committer's writers, each catalog")
    parser.add_argument("--pauses", type=int, default=300)
    parser.add_argument("--stream-kills", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5, help="of each scenario of the whole stack")
    parser.add_argument("--steps", type=int, default=1_000_000, help="of the simulation")
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--only", action="append", default=[], help="a run by name; repeatable")
    parser.add_argument("--out", type=Path, default=REPORT)
    options = parser.parse_args(arguments)
    outcomes = []
    for run in plan(options):
        outcomes.append(carry_out(run))
        options.out.write_text(report(outcomes, options.seed))
    sys.stdout.write(options.out.read_text().splitlines()[-1] + "\n")
    clean = all(o.code == 0 and not o.sums.get("lost") and not o.sums.get("doubled") for o in outcomes)
    return 0 if outcomes and clean else 1


if __name__ == "__main__":
    sys.exit(main())
