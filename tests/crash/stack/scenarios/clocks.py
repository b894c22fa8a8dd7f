"""A clock an hour back under one stream while the other's is right."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from random import Random

from tests.crash.stack.endings import RED, STOPPED, Ending, exact
from tests.crash.stack.scenarios.kills import pair
from tests.crash.stack.servers import MissingError
from tests.crash.stack.site import Site, StreamProcess

SOURCE = Path(__file__).parents[1] / "clock_back.c"
HOUR_S = 3600
TOLD_S = 90.0


def clock_an_hour_back(site: Site, chance: Random) -> Ending:
    """A stream that starts with its clock an hour back reads rightly, or waits and names the clock; then it is started
    with the right one. The other stream's clock is right all the time."""
    back = {"LD_PRELOAD": str(_library(site)), "CLOCK_BACK_SECONDS": str(HOUR_S)}
    wrong, right = pair(site)
    wrong.start(**back)
    site.start([right])
    site.play()
    site.watch(lambda: wrong.status().get("state") == "running" or _names_the_clock(wrong), TOLD_S)
    time.sleep(chance.uniform(3.0, 5.0))
    runs, told = wrong.status().get("state") == "running", str(wrong.status().get("reason"))
    site.kill(wrong)
    site.stop_playing()
    if not runs and "clock" not in told.lower():
        return Ending(RED, f"with its clock an hour back a stream waits and does not name the clock: {told}")
    restarted = time.monotonic()
    site.start([wrong])
    site.settle(restarted, [wrong, right])
    ending = exact(site)
    return ending if ending.is_red or runs else Ending(STOPPED, f"{told}; with the right clock it ended exact")


def _names_the_clock(stream: StreamProcess) -> bool:
    return "clock" in str(stream.status().get("reason")).lower()


def _library(site: Site) -> Path:
    """The preload, compiled. Raises `MissingError` without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise MissingError("no C compiler for the clock's preload: install Debian's package gcc")
    library = site.settings.home / "clock_back.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True, capture_output=True)
    return library
