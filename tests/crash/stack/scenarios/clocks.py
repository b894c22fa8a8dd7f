"""A clock an hour back: on one stream while the other's is right, then on the other."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from random import Random

from tests.crash.stack.endings import Ending, exact
from tests.crash.stack.scenarios.kills import pair
from tests.crash.stack.servers import MissingError
from tests.crash.stack.site import Site

SOURCE = Path(__file__).parents[1] / "clock_back.c"
HOUR_S = 3600


def clock_an_hour_back(site: Site, chance: Random) -> Ending:
    """Each stream is started once with its clock an hour back, killed, and started with the right one."""
    back = {"LD_PRELOAD": str(_library(site)), "CLOCK_BACK_SECONDS": str(HOUR_S)}
    streams = pair(site)
    streams[0].start(**back)
    streams[1].start()
    site.wait_running(streams)
    site.tally.notes.append(f"clock of {streams[0].name}: {streams[0].status()['at'] - time.time():.0f} s")
    site.play()
    time.sleep(chance.uniform(5.0, 8.0))
    for stream in streams:
        site.kill(stream)
    site.stop_playing()
    streams[0].start()
    streams[1].start(**back)
    site.wait_running(streams)
    site.play()
    time.sleep(chance.uniform(4.0, 6.0))
    site.kill(streams[1])
    restarted = time.monotonic()
    site.stop_playing()
    site.start([streams[1]])
    site.settle(restarted, streams)
    return exact(site)


def _library(site: Site) -> Path:
    """The preload, compiled. Raises `MissingError` without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise MissingError("no C compiler for the clock's preload: install Debian's package gcc")
    library = site.settings.home / "clock_back.so"
    command = [compiler, "-shared", "-fPIC", "-O2", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True, capture_output=True)
    return library
