"""`make fire`: every long form under fire, one after another, and its report in infra/bench/FIRE.md.

Holds: which runs there are, their records, and the report. Does not hold: any run (committer/, stream/, stack/,
broken_builds/, tests/simulation/); each is a command of its own. Records and histories lie in infra/bench/fire/, one
run beside the other, so that `--only` may repeat one of them and the report still tells of all. Exit code 0 if nothing
was lost or doubled and every run ended well.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from tests.crash.commits import commit_id

ROOT = Path(__file__).parents[2]
REPORT = ROOT / "infra" / "bench" / "FIRE.md"
HISTORIES = "infra/bench/fire"
SAYS_NOTHING = ": nothing to do"
"""How upkeep speaks of a table at rest: no line of a report."""
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
    """What a run printed (its last lines), its exit code, how long it took in seconds, when it ended, and on which
    commit it began."""

    name: str
    command: str
    what: str
    lines: list[str]
    code: int
    seconds: float
    ended: str
    commit: str

    @property
    def sums(self) -> dict[str, int]:
        """What the run said last of each."""
        return {name: int(number) for line in self.lines for name, number in SUMS.findall(line)}

    @property
    def is_clean(self) -> bool:
        return self.code == 0 and not self.sums.get("lost") and not self.sums.get("doubled")


def plan(options: argparse.Namespace) -> list[Run]:
    """Every run, in the order of the report."""
    seed = ("--seed", str(options.seed))
    strikes = ("--kills", str(options.kills), "--pauses", str(options.pauses), *seed)
    kills = ("--kills", str(options.stream_kills), "--in-flight", str(options.stream_kills // 3), *seed)

    def committer(catalog: str) -> tuple[str, ...]:
        return (*strikes, "--catalog", catalog, "--history", f"{HISTORIES}/committer-{catalog}.jsonl")

    rounds = ("--rounds", str(options.rounds), *seed, "--record", f"{HISTORIES}/stack.jsonl")
    once = ("--rounds", "1", "--seed", str(options.seed + 1), "--record", f"{HISTORIES}/stack-recovery.jsonl")
    steps = ("--steps", str(options.steps), *seed, "--seconds", "7200")
    return [
        Run("simulation", "tests.simulation", steps, "Real commit code on a simulated catalog, store and broker."),
        Run("committer-sqlite", "tests.crash.committer", committer("sqlite"), "Writers on SQLite."),
        Run("committer-postgres", "tests.crash.committer", committer("postgres"), "Writers on PostgreSQL."),
        Run("stream", "tests.crash.stream", kills, "kill -9 of the stream while a ward is played."),
        Run("stack", "tests.crash.stack", rounds, "The whole stack: every part struck, every scenario."),
        Run("stack-recovery", "tests.crash.stack", once, "Each once more, for the time that recovery takes."),
        Run("broken-builds", "tests.crash.broken_builds", (), "Builds that are broken on purpose, each to be caught."),
    ]


def carry_out(run: Run) -> Outcome:
    """Run it, its output shown as it comes."""
    sys.stdout.write(f"\n== {run.command}\n")
    began, commit, lines = time.monotonic(), commit_id(), []
    process = subprocess.Popen(
        [sys.executable, "-m", run.module, *run.arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for line in process.stdout:
        sys.stdout.write(line)
        sys.stdout.flush()
        if not line.rstrip().endswith(SAYS_NOTHING):
            lines.append(line.rstrip())
    code, seconds = process.wait(), time.monotonic() - began
    ended = f"{datetime.now(UTC):%Y-%m-%d %H:%M}"
    return Outcome(run.name, run.command, run.what, lines[-60:], code, seconds, ended, commit)


def record(outcome: Outcome, folder: Path) -> None:
    """Keep it in place of the one before."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{outcome.name}.json").write_text(json.dumps(asdict(outcome), indent=1) + "\n")


def recorded(folder: Path, names: Iterable[str]) -> list[Outcome]:
    """The records there are, in this order."""
    files = [folder / f"{name}.json" for name in names]
    return [Outcome(**json.loads(file.read_text())) for file in files if file.exists()]


def report(outcomes: list[Outcome], wanting: list[str]) -> str:
    """FIRE.md. `wanting`: runs that have no record."""
    total = {name: sum(o.sums.get(name, 0) for o in outcomes) for name in SUMS_IN_ORDER}
    parts = [
        "# Under fire",
        f"Written by `make fire` from the records in `{HISTORIES}/`, where the raw histories lie too. "
        f"{platform.machine()}, Python {platform.python_version()}. Independent checkers judge each run: the oracle "
        "(tests/oracle) the stream and the stack, tests/crash/committer/verdict.py the committers, "
        "tests/simulation/judge.py the simulation.",
        f"Not injected: {NOT_INJECTED}",
        *([f"**Without a record yet: {', '.join(wanting)}.**"] if wanting else []),
    ]
    for outcome in outcomes:
        verdict = "ended well" if outcome.code == 0 else f"ended with code {outcome.code}"
        parts += [
            f"## {outcome.name}",
            f"{outcome.what} `{outcome.command}`: {verdict} after {outcome.seconds:.0f} s, {outcome.ended} UTC, commit "
            f"{outcome.commit}.",
            "```\n" + "\n".join(outcome.lines) + "\n```",
        ]
    return "\n\n".join([*parts, " ".join(f"{name}={number}" for name, number in total.items())]) + "\n"


def write_report(runs: list[Run], folder: Path) -> list[Outcome]:
    """Write it from the records there are, and return those."""
    outcomes = recorded(folder, [run.name for run in runs])
    told = {outcome.name for outcome in outcomes}
    REPORT.write_text(report(outcomes, [run.name for run in runs if run.name not in told]))
    return outcomes


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="of the committer's writers, each catalog")
    parser.add_argument("--pauses", type=int, default=300)
    parser.add_argument("--stream-kills", type=int, default=30, help="of the stream alone; the stack has its own")
    parser.add_argument("--rounds", type=int, default=5, help="of each scenario of the whole stack")
    parser.add_argument("--steps", type=int, default=1_000_000, help="of the simulation")
    parser.add_argument("--seed", type=int, default=20261122)
    parser.add_argument("--only", action="append", default=[], help="a run by name; repeatable")
    parser.add_argument("--report-only", action="store_true", help="write the report from the records that there are")
    options = parser.parse_args(arguments)
    runs, folder = plan(options), ROOT / HISTORIES
    for run in runs:
        if not options.report_only and run.name in (options.only or [run.name]):
            record(carry_out(run), folder)
            write_report(runs, folder)
    outcomes = write_report(runs, folder)
    sys.stdout.write(REPORT.read_text().splitlines()[-1] + "\n")
    return 0 if outcomes and all(outcome.is_clean for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
