"""A process that erases and kills itself at the n-th step it passes, whichever that is.

Holds: one incarnation. Does not hold: how often, and any judgement (harness.py).
"""

from __future__ import annotations

import os
import signal
from datetime import datetime
from pathlib import Path

from tests.warehouse.erasure.made import Clock, Ward
from warehouse.erasure.states import RECEIVED
from warehouse.settings import Settings


def erase(environment: dict[str, str], now: datetime, die_at: int, trace: str) -> None:
    """Verify and run every open request; at the `die_at`-th step die. The file `trace` has the last step's name."""
    passed = 0
    last = Path(trace)

    def progress(step: str) -> None:
        nonlocal passed
        passed += 1
        last.write_text(f"{passed} {step}")
        if passed == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    ward = Ward(Settings.from_environment(environment), new=False)
    ward.clock = Clock(now)
    erasure = ward.erasure(progress=progress)
    for request in erasure.book.current().values():
        if request.state == RECEIVED:
            erasure.verify(request.request_id, "passport seen")
    erasure.run()
    last.write_text(f"{passed} end")
