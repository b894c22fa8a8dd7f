"""SIGKILL: of streams, of the broker, the store and the catalog, while wards play on."""

from __future__ import annotations

import time
from random import Random

from tests.crash.stack.endings import RED, Ending, exact
from tests.crash.stack.servers import Server, wait_until
from tests.crash.stack.site import Site, StreamProcess

BRISK = {"WARDSTREAM_COMMIT_SECONDS": "0.5"}
LONGEST_LIFE_S = 5.0
STREAM_KILLS, SERVER_KILLS = 3, 2
TAKEN_OVER_S = 120.0
MISSED_S = 2.0


def disjoint_streams_killed(site: Site, chance: Random) -> Ending:
    """Two streams share the partitions; each is killed several times, sometimes both at once."""
    return _streams_killed(site, chance, pair(site))


def rival_streams_killed(site: Site, chance: Random) -> Ending:
    """Two streams own the same partitions: the fence alone keeps them apart."""
    return _streams_killed(site, chance, pair(site, rivals=True))


def pair(site: Site, rivals: bool = False) -> list[StreamProcess]:
    """Two streams of one site that commit often: each half of the partitions, or both all of them."""
    if not rivals:
        return [site.stream("a", (0, 1), **BRISK), site.stream("b", (2, 3), **BRISK)]
    # Leases would keep rivals apart; each with leases of its own knows nothing of the other.
    apart = [{"WARDSTREAM_COORDINATION_URI": f"sqlite:///{site.settings.home / name}.leases"} for name in "ab"]
    return [site.stream(name, **BRISK, **own) for name, own in zip("ab", apart, strict=True)]


def _streams_killed(site: Site, chance: Random, streams: list[StreamProcess]) -> Ending:
    """Wards play at every kill and for a while beyond, not through the whole of a start: a slow machine would pile up
    messages that show nothing more."""
    site.start(streams)
    for _ in range(1 if site.brief else STREAM_KILLS):
        site.play()
        time.sleep(chance.uniform(3.0, LONGEST_LIFE_S))
        struck = streams if chance.random() < 0.3 else [chance.choice(streams)]
        for stream in struck:
            site.kill(stream)
        restarted = time.monotonic()
        for stream in struck:
            stream.start()
        time.sleep(MISSED_S)
        site.stop_playing()
        site.wait_running(struck)
    site.settle(restarted, streams)
    return exact(site)


def partitions_taken_over(site: Site, chance: Random) -> Ending:
    """One of two streams is killed and stays dead: the other takes over its partitions, and gives them back later."""
    dead, heir = chance.sample(pair(site), 2)
    site.run([dead, heir])
    time.sleep(chance.uniform(3.0, 6.0))
    site.kill(dead)
    killed = time.monotonic()
    site.stop_playing()
    try:
        wait_until("lag 0 by the living stream alone", lambda: site.lag([heir]) == 0, TAKEN_OVER_S)
    except TimeoutError as error:
        return Ending(RED, f"{error}; lag {site.lag([heir])}; {heir.last_words()}")
    site.tally.recovered_s.append(time.monotonic() - killed)
    site.run([dead])
    time.sleep(chance.uniform(4.0, 8.0))
    site.settle(time.monotonic(), [dead, heir])
    return exact(site)


def branches_apart_killed(site: Site, chance: Random) -> Ending:
    """One process decides alerts, another commits, each for all partitions; each is killed several times."""
    apart = {branch: site.stream(branch, None, WARDSTREAM_BRANCHES=branch, **BRISK) for branch in ("alerts", "lake")}
    site.run(list(apart.values()))
    for _ in range(STREAM_KILLS):
        time.sleep(chance.uniform(2.0, LONGEST_LIFE_S))
        struck = list(apart.values()) if chance.random() < 0.3 else [chance.choice(list(apart.values()))]
        for stream in struck:
            site.kill(stream)
        restarted = time.monotonic()
        time.sleep(chance.uniform(0.0, 4.0))
        site.start(struck)
    site.stop_playing()
    apart["alerts"].wait_for("every alert decided", lambda status: status.get("lag") == 0, TAKEN_OVER_S)
    site.settle(restarted, [apart["lake"]])
    site.drain([apart["alerts"]])
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
