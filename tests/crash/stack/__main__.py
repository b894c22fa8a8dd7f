"""`python -m tests.crash.stack --rounds N [--only NAME]`: the long form, on servers of its own.

Prints each round as it ends, then a table, what was red, and the sums in the last line. Exit code 0 if nothing was red.
A seed replays the schedule of faults; what they hit also depends on the machine.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from pathlib import Path

from tests.crash.stack.rounds import SCENARIOS, Sums, describe, percentile, play_round, table
from tests.crash.stack.stack import Stack


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.stack", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="append", choices=sorted(SCENARIOS), help="may be given several times")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--catalog", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--json", type=Path, help="write every round here")
    parser.add_argument("--verbose", action="store_true", help="say each step with its time")
    given = parser.parse_args()
    if given.verbose:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", force=True)
        logging.getLogger("pyiceberg").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers end and disks are unmounted
    sums = Sums()
    for number in range(given.rounds):  # on a fresh stack, so that no disk fills but where it is meant to
        with Stack(given.catalog, f"{given.seed}/{number}") as stack:
            for name in given.only or SCENARIOS:
                if SCENARIOS[name].needs in ("", given.catalog):
                    sums.rounds.append(done := play_round(stack, name, number, given.seed))
                    print(f"{name} #{number}: {describe(done)} {done.tally.notes or ''}", flush=True)
                    if done.ending.words:
                        print(done.ending.words, flush=True)
    return _report(sums, given.json)


def _report(sums: Sums, into: Path | None) -> int:
    if into is not None:
        into.write_text(sums.as_json())
    print(table(sums))
    for round_ in sums.red:
        print(f"RED {round_.scenario} round {round_.number} seed {round_.seed}")
    recovered = sums.recovered_s()
    print(f"recovery to lag 0: n={len(recovered)} p50={percentile(recovered, 0.5)} p95={percentile(recovered, 0.95)} s")
    print(sums.last_line())
    return 1 if sums.red else 0


if __name__ == "__main__":
    sys.exit(main())
