"""`python -m tests.crash.broken_builds`: every broken build, short forms and long, on a broker and a store of its own.

Exit code 0 if each was caught, and the product was green on the same runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash.broken_builds", description=__doc__)
    parser.add_argument("--only", default="", help="an expression as of pytest's -k")
    given = parser.parse_args()
    files = [str(FOLDER / name) for name in ("test_committers.py", "test_streams.py", "long_form.py")]
    return int(pytest.main([*files, "-v", "-n", "0", "-p", "no:cacheprovider", "-k", given.only]))


if __name__ == "__main__":
    sys.exit(main())
