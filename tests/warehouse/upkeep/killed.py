"""A process that keeps a table and kills itself at a step: `python -m tests.warehouse.upkeep.killed STEP HOURS`.

The lake is that of its environment. Ends with 0 where it did not come by that step.
"""

from __future__ import annotations

import os
import signal
import sys
from datetime import timedelta

from tests.warehouse.upkeep.kept import upkeep
from warehouse.settings import Settings


def main(step: str, hours: float) -> None:
    """Keep `vitals`, until the step."""

    def progress(reached: str) -> None:
        if reached == step:
            os.kill(os.getpid(), signal.SIGKILL)

    upkeep(Settings.from_environment(), later=timedelta(hours=hours), progress=progress).run("vitals")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
