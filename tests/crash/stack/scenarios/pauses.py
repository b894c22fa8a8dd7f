"""SIGSTOP for longer than every time-out: of streams, broker, store and catalog; and a network that goes silent."""

from __future__ import annotations

import time
from random import Random

from tests.crash.stack import proxy
from tests.crash.stack.endings import Ending, exact
from tests.crash.stack.scenarios.kills import pair
from tests.crash.stack.servers import Server
from tests.crash.stack.site import Site, StreamProcess

STREAM_S, CATALOG_S, NETWORK_S = (12.0, 18.0), (12.0, 18.0), (15.0, 25.0)
STORE_S = (25.0, 35.0)
"""Longer than the product's two attempts of 10 s."""
BROKER_S = (62.0, 68.0)
"""Longer than librdkafka's 60 s for a request."""


def disjoint_streams_paused(site: Site, chance: Random) -> Ending:
    """Each of two streams is stopped in its tracks while the other goes on."""
    return _streams_paused(site, chance, pair(site))


def rival_streams_paused(site: Site, chance: Random) -> Ending:
    """A stream wakes up after its rival has committed, for a long while, what it still holds itself."""
    return _streams_paused(site, chance, pair(site, rivals=True))


def _streams_paused(site: Site, chance: Random, streams: list[StreamProcess]) -> Ending:
    site.run(streams)
    for stream in streams:
        time.sleep(chance.uniform(1.0, 3.0))
        stream.pause()
        site.tally.pauses += 1
        time.sleep(chance.uniform(*STREAM_S))
        stream.resume()
        resumed = time.monotonic()
    site.settle(resumed, streams, reviving=True)
    return exact(site)


def broker_paused(site: Site, chance: Random) -> Ending:
    return _server_paused(site, chance, site.stack.broker, BROKER_S)


def store_paused(site: Site, chance: Random) -> Ending:
    return _server_paused(site, chance, site.stack.store, STORE_S)


def catalog_paused(site: Site, chance: Random) -> Ending:
    return _server_paused(site, chance, site.stack.database, CATALOG_S)


def _server_paused(site: Site, chance: Random, server: Server, how_long: tuple[float, float]) -> Ending:
    streams = pair(site)
    site.run(streams)
    time.sleep(chance.uniform(2.0, 4.0))
    server.pause()
    site.tally.pauses += 1
    time.sleep(chance.uniform(*how_long))
    server.resume()
    healed = time.monotonic()
    time.sleep(2.0)
    site.settle(healed, streams, reviving=True)
    return exact(site)


def network_silent(site: Site, chance: Random) -> Ending:
    """Connections stay open and nothing comes through: before the store, the catalog, the broker, one after another."""
    return _network(site, chance, proxy.FREEZE, NETWORK_S)


def network_refused(site: Site, chance: Random) -> Ending:
    """Every connection is cut and none is accepted, for each in turn."""
    return _network(site, chance, proxy.REFUSE, (5.0, 9.0))


def _network(site: Site, chance: Random, mode: str, how_long: tuple[float, float]) -> Ending:
    streams = pair(site)
    site.run(streams)
    for each in chance.sample(site.stack.proxies, 3):
        time.sleep(chance.uniform(1.0, 3.0))
        each.set(mode)
        time.sleep(chance.uniform(*how_long))
        each.set(proxy.PASS)
        healed = time.monotonic()
    site.settle(healed, streams, reviving=True)
    return exact(site)
