"""Answers that are lost after the server acted, that come in half or slowly, or that are errors."""

from __future__ import annotations

import time
from random import Random

from tests.crash.stack import proxy
from tests.crash.stack.endings import RED, Ending, exact
from tests.crash.stack.proxy import Proxy
from tests.crash.stack.scenarios.kills import pair
from tests.crash.stack.site import Site

TROUBLED_S, BRIEFLY_TROUBLED_S = (15.0, 20.0), 8.0


def catalog_answers_lost(site: Site, chance: Random) -> Ending:
    """COMMIT is carried out and the answer never arrives."""
    return _troubled(site, chance, site.stack.before_catalog, proxy.LOSE, 0.5, only_acts=True)


def store_answers_lost(site: Site, chance: Random) -> Ending:
    return _troubled(site, chance, site.stack.before_store, proxy.LOSE, 0.4, only_acts=True)


def broker_answers_lost(site: Site, chance: Random) -> Ending:
    """Alerts are appended and the acknowledgement never arrives."""
    return _troubled(site, chance, site.stack.before_broker, proxy.LOSE, 0.7, only_acts=True)


def broker_answers_halved(site: Site, chance: Random) -> Ending:
    return _troubled(site, chance, site.stack.before_broker, proxy.HALF, 0.1)


def catalog_answers_halved(site: Site, chance: Random) -> Ending:
    return _troubled(site, chance, site.stack.before_catalog, proxy.HALF, 0.3)


def store_answers_500(site: Site, chance: Random) -> Ending:
    return _troubled(site, chance, site.stack.before_store, proxy.ERROR_500, chance.choice((0.5, 1.0)))


def store_answers_503(site: Site, chance: Random) -> Ending:
    return _troubled(site, chance, site.stack.before_store, proxy.ERROR_503, chance.choice((0.5, 1.0)))


def store_answers_slowly(site: Site, chance: Random) -> Ending:
    return _troubled(site, chance, site.stack.before_store, proxy.SLOW, 0.7)


def store_answers_halved(site: Site, chance: Random) -> Ending:
    return _troubled(site, chance, site.stack.before_store, proxy.HALF, 0.5)


def _troubled(site: Site, chance: Random, where: Proxy, mode: str, share: float, only_acts: bool = False) -> Ending:
    """Trouble for a while, with streams that end because of it started again within it."""
    streams = pair(site)
    site.run(streams)
    time.sleep(chance.uniform(1.0, 3.0))
    before = sum(where.counts.values())
    where.set(mode, share, only_acts)
    time.sleep(BRIEFLY_TROUBLED_S if site.brief else chance.uniform(*TROUBLED_S))
    site.revive(streams)
    where.set(proxy.PASS)
    healed = time.monotonic()
    struck = sum(where.counts.values()) - before
    site.tally.notes.append(f"{mode}: {struck} exchanges struck")
    site.settle(healed, streams, reviving=True)
    ending = exact(site)
    return ending if struck or ending.is_red else Ending(RED, "no exchange was struck: the scenario shows nothing")
