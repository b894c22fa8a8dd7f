"""A clock an hour back: on one stream while the other's is right, then on the other."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

from tests.crash.stack.endings import Ending, exact
from tests.crash.stack.scenarios.kills import pair
from tests.crash.stack.site import Site

LIBRARY = "faketime/libfaketimeMT.so.1"


class FaketimeMissingError(RuntimeError):
    """There is no libfaketime on this machine; the message names the package."""


def clock_an_hour_back(site: Site, chance: Random) -> Ending:
    """Each stream is started once with its clock an hour back, killed, and started with the right one."""
    back = {"LD_PRELOAD": str(_library()), "FAKETIME": "-1h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    streams = pair(site)
    streams[0].start(**back)
    streams[1].start()
    site.wait_running(streams)
    site.play()
    time.sleep(chance.uniform(5.0, 8.0))
    for stream in streams:
        site.kill(stream)
    streams[0].start()
    streams[1].start(**back)
    site.wait_running(streams)
    time.sleep(chance.uniform(4.0, 6.0))
    site.kill(streams[1])
    restarted = time.monotonic()
    site.start([streams[1]])
    site.settle(restarted, streams)
    return exact(site)


def _library() -> Path:
    for folder in (Path("/usr/lib"), Path("/usr/local/lib")):
        if found := sorted(folder.glob(f"*/{LIBRARY}")) or sorted(folder.glob(LIBRARY)):
            return found[0]
    raise FaketimeMissingError("no libfaketime: install Debian's package faketime")
