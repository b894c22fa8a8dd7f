"""SIGKILL: of streams, of the broker, the store and the catalog, while wards play on."""

from __future__ import annotations

import time
from random import Random

from tests.crash.stack.endings import Ending, exact
from tests.crash.stack.servers import Server
from tests.crash.stack.site import Site, StreamProcess

BRISK = {"WARDSTREAM_COMMIT_SECONDS": "0.5"}
LONGEST_LIFE_S = 5.0
STREAM_KILLS, SERVER_KILLS = 3, 2


def disjoint_streams_killed(site: Site, chance: Random) -> Ending:
    """Two streams share the partitions; each is killed several times, sometimes both at once."""
    return _streams_killed(site, chance, pair(site))


def rival_streams_killed(site: Site, chance: Random) -> Ending:
    """Two streams own the same partitions: the fence alone keeps them apart."""
    return _streams_killed(site, chance, pair(site, rivals=True))


def pair(site: Site, rivals: bool = False) -> list[StreamProcess]:
    """Two streams of one site that commit often: each half of the partitions, or both all of them."""
    halves = (None, None) if rivals else ((0, 1), (2, 3))
    return [site.stream(name, half, **BRISK) for name, half in zip("ab", halves, strict=True)]


def _streams_killed(site: Site, chance: Random, streams: list[StreamProcess]) -> Ending:
    site.run(streams)
    for _ in range(STREAM_KILLS):
        time.sleep(chance.uniform(1.5, LONGEST_LIFE_S))
        struck = streams if chance.random() < 0.3 else [chance.choice(streams)]
        for stream in struck:
            site.kill(stream)
        restarted = time.monotonic()
        site.start(struck)
    site.settle(restarted, streams)
    return exact(site)


def broker_killed(site: Site, chance: Random) -> Ending:
    return _server_killed(site, chance, site.stack.broker)


def store_killed(site: Site, chance: Random) -> Ending:
    return _server_killed(site, chance, site.stack.store)


def catalog_killed(site: Site, chance: Random) -> Ending:
    return _server_killed(site, chance, site.stack.database)


def _server_killed(site: Site, chance: Random, server: Server) -> Ending:
    """The streams live on; the server comes back after a while on what it left."""
    streams = pair(site)
    site.run(streams)
    for _ in range(SERVER_KILLS):
        time.sleep(chance.uniform(2.0, LONGEST_LIFE_S))
        server.kill()
        site.tally.killed(server.name)
        time.sleep(chance.uniform(0.0, 4.0))
        server.start()
        healed = time.monotonic()
    site.settle(healed, streams, reviving=True)
    return exact(site)
