"""`python -m tests.crash.stack --rounds N [--only NAME]`: the long form, on servers of its own.

Prints each round as it ends, then a table, what was red, and the sums in the last line. Exit code 0 if nothing was red.
A seed replays the schedule of faults; what they hit also depends on the machine. With `--record FILE` each round is a
line of JSON in the file, and rounds that are in it are not played again: hours of rounds may be interrupted.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

from tests.crash.commits import commit_id
from tests.crash.stack.rounds import SCENARIOS, Round, Sums, describe, percentile, play_round, table
from tests.crash.stack.stack import Stack


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.stack", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", choices=sorted(SCENARIOS), help="may be given several times")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--catalog", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--record", type=Path, help="a line a round; goes on where it ends")
    parser.add_argument("--verbose", action="store_true", help="say each step with its time")
    given = parser.parse_args()
    if given.verbose:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
        logging.getLogger("pyiceberg").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers end and disks are unmounted
    sums = _recorded(given.record)
    for number in range(given.rounds):  # on a fresh stack, so that no disk fills but where it is meant to
        names = [name for name in given.only or SCENARIOS if SCENARIOS[name].needs in ("", given.catalog)]
        due = [name for name in names if not sums.has(name, number, given.seed)]
        if due:
            _play(due, number, given, sums)
    return _report(sums)


def _recorded(file: Path | None) -> Sums:
    """The rounds that are in the file already."""
    lines = file.read_text().splitlines() if file is not None and file.exists() else []
    return Sums([Round.of_line(line) for line in lines])


def _play(names: list[str], number: int, given: argparse.Namespace, sums: Sums) -> None:
    with Stack(given.catalog, f"{given.seed}/{number}") as stack:
        for name in names:
            sums.rounds.append(done := play_round(stack, name, number, given.seed))
            print(f"{name} #{number}: {describe(done)} {done.tally.notes or ''}", flush=True)
            if done.ending.words:
                print(done.ending.words, flush=True)
            if given.record is not None:
                with given.record.open("a") as record:
                    record.write(done.as_line(commit_id()) + "\n")


def _report(sums: Sums) -> int:
    print(table(sums))
    for round_ in sums.red:
        print(f"RED {round_.scenario} round {round_.number} seed {round_.seed}")
    for after, poison in (("poison", True), ("all else", False)):
        took = sums.recovered_s(poison)
        print(f"seconds to lag 0 after {after}: n={len(took)} p50={percentile(took, 0.5)} p95={percentile(took, 0.95)}")
    print(sums.last_line())
    return 1 if sums.red else 0


if __name__ == "__main__":
    sys.exit(main())
