"""A writer that commits every so often until it is told to end: `python -m infra.bench.live_commits SECONDS PARTITION`.

Holds: the commits and, at SIGTERM, a line of JSON with how many there were and how many needed a second attempt.
Does not hold: what is done beside them.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time

from infra.bench.growing import TOPIC, fenced, readings
from warehouse.offsets import Interval
from warehouse.settings import Settings

ROWS = 50


def main(period_s: float, partition: int) -> None:
    """Commit `ROWS` rows each period."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    table = fenced(Settings.from_environment(), writer="live")
    start = table.vector()[TOPIC][partition]
    seconds, again = [], 0
    while not ended.is_set():
        began = time.monotonic()
        receipt = table.commit(
            readings(start, ROWS, partition=partition), [Interval(TOPIC, partition, start, start + ROWS)]
        )
        seconds.append(time.monotonic() - began)
        again += receipt.attempts > 1
        start += ROWS
        ended.wait(max(0.0, period_s - seconds[-1]))
    print(json.dumps({"commits": len(seconds), "second_attempts": again, "seconds": seconds, "rows": start}))


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
