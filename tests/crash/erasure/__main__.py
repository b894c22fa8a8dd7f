"""The long form: `python -m tests.crash.erasure --kills 200`. Prints a report as JSON; exit code 1 where it is bad."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

from tests.crash.erasure.harness import Rounds


def main() -> int:
    parser = argparse.ArgumentParser(description="Kill erasures between any two steps.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="kept, with a report after each round")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as passing:
        folder = given.folder or Path(passing)
        folder.mkdir(parents=True, exist_ok=True)
        report = Rounds(folder, given.seed).run(given.kills)
    print(json.dumps({"seed": given.seed, **report.lines()}, indent=2))
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
