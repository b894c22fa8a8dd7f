"""`python -m tests.crash.stream`: the long form of the kills, on a broker and a store of its own.

Prints what was done and what the oracle says; exit code 0 if nothing was lost, doubled or told otherwise.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import pytest


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.stream", description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--in-flight", type=int, default=3)
    parser.add_argument("--seed", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        test = Path(folder) / "test_long.py"
        test.write_text(_LONG.format(**vars(given)))
        plugins = ["-p", "tests.conftest", "-p", "no:cacheprovider", "--rootdir", folder, "--timeout", "3600"]
        return int(pytest.main([str(test), "-s", "-q", *plugins]))


_LONG = """
from tests.crash.stream.kills import kill_again_and_again
from tests.deployment import Deployment

def test_long(settings):
    with Deployment(settings) as deployment:
        done = kill_again_and_again(deployment, kills={kills}, in_flight={in_flight}, seed={seed})
        deployment.run_stream_to_the_end()
        verdict = deployment.verdict()
    print(f"kills={{done.kills}} in_flight={{done.in_flight}}")
    print(verdict.report())
    assert verdict.passed
"""


if __name__ == "__main__":
    sys.exit(main())
