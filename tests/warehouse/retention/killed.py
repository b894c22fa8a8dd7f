"""A process that does retention and kills itself at a step: `python -m tests.warehouse.retention.killed STEP N NOW`.

The lake is that of its environment. Ends with 0 where it did not come to the step for the Nth time.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from datetime import datetime

from tests.warehouse.retention.made import MadeLake, VaultOfDays
from warehouse.settings import Settings


def main(step: str, times: int, now: datetime) -> None:
    """What is due at `now`, until the step."""
    seen: Counter[str] = Counter()

    def progress(reached: str) -> None:
        seen[reached] += 1
        if reached == step and seen[step] == times:
            os.kill(os.getpid(), signal.SIGKILL)

    made = MadeLake(Settings.from_environment(), new=False)
    made.now, made.names = now, 500
    vault = VaultOfDays(made.settings.home / "keys")
    made.doer(progress=progress, vault=vault).apply(made.plan(key_days=vault.reject_key_days()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), datetime.fromisoformat(sys.argv[3]))
