"""A full disk under the store's and under the broker's data."""

from __future__ import annotations

import time
from random import Random

from tests.crash.stack.endings import Ending, exact
from tests.crash.stack.scenarios.kills import pair
from tests.crash.stack.servers import Disk, Server
from tests.crash.stack.site import Site

FULL_S = (12.0, 18.0)


def store_disk_full(site: Site, chance: Random) -> Ending:
    return _disk_full(site, chance, site.stack.store_disk, site.stack.store)


def broker_disk_full(site: Site, chance: Random) -> Ending:
    """A broker whose only log folder fails ends itself; it is started again when there is room."""
    return _disk_full(site, chance, site.stack.broker_disk, site.stack.broker)


def _disk_full(site: Site, chance: Random, disk: Disk, server: Server) -> Ending:
    streams = pair(site)
    site.run(streams)
    time.sleep(chance.uniform(3.0, 5.0))
    disk.fill()
    time.sleep(chance.uniform(*FULL_S))
    site.tally.notes.append(
        f"{server.name} with a full disk: alive {server.alive}; {streams[0].status().get('reason')}"
    )
    disk.free()
    server.ensure()
    healed = time.monotonic()
    site.settle(healed, streams, reviving=True)
    return exact(site)
