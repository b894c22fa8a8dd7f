"""P9: from nothing running to the first alert on Kafka, and how long the command line takes to say what it can do.

Holds: the runs. Does not hold: the demonstration, whose own account of its first alert is taken.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from infra.bench.measured import ROOT, ProcessError
from infra.bench.report import Report, Spread

HELPS = 10
DEMO_S = 600.0
WARDSTREAM = Path(sys.executable).parent / "wardstream"

Progress = Callable[[str], None]


def measure(rounds: int, progress: Progress) -> Report:
    """Raises `ProcessError` where the demonstration does not end well."""
    helps = [_help() for _ in range(HELPS)]
    alerts = []
    for nth in range(rounds):
        progress(f"demonstration {nth + 1} of {rounds}, in a home of its own")
        alerts.append(_first_alert())
    wall, cpu = Spread.of([wall for wall, _ in helps]), Spread.of([cpu for _, cpu in helps])
    first = Spread.of(alerts)
    return Report(
        name="p9",
        title="start",
        data="the installed package; jars and Prism in the cache; a home that starts empty",
        columns=("", "least", "median", "most", "runs"),
        rows=(
            ("first alert on Kafka, s after `demo`", first.least, first.median, first.most, rounds),
            ("`wardstream --help`, s", wall.least, wall.median, wall.most, HELPS),
            ("`wardstream --help`, CPU-s", cpu.least, cpu.median, cpu.most, HELPS),
        ),
        figures={"first_alert_s": alerts, "help_s": wall.each, "help_cpu_s": cpu.each},
        remarks=(
            "the first alert's time contains the start of broker, store, stream and Dagster, and the ward's play",
        ),
    )


def _help() -> tuple[float, float]:
    """(wall seconds, CPU seconds) of `wardstream --help`."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run([WARDSTREAM, "--help"], check=True, capture_output=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.monotonic() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _first_alert() -> float:
    with tempfile.TemporaryDirectory(prefix="wardstream-bench-") as home:
        environment = {**os.environ, "WARDSTREAM_HOME": home}
        done = subprocess.run(
            [WARDSTREAM, "demo", "--json"], capture_output=True, text=True, timeout=DEMO_S, cwd=ROOT, env=environment
        )
    if done.returncode:
        raise ProcessError(f"the demonstration ended with code {done.returncode}\n{done.stderr[-2000:]}")
    return float(json.loads(done.stdout.splitlines()[-1])["first_alert_s"])
