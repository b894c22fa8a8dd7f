"""The vault down: locked by somebody, and gone from where it was."""

from __future__ import annotations

import shutil
import sqlite3
import time
from pathlib import Path
from random import Random
from urllib.parse import urlsplit

from tests.crash.stack.endings import RED, STOPPED, Ending, exact
from tests.crash.stack.scenarios.kills import pair
from tests.crash.stack.servers import wait_until
from tests.crash.stack.site import Site
from tests.deployment import VITALS

LOCKED_S = (15.0, 20.0)
TOLD_S = 240.0


def vault_locked(site: Site, chance: Random) -> Ending:
    """Keys that rejects are sealed with cannot be made for a while; alerts and reading go on, nothing goes unsealed."""
    streams = pair(site)
    site.start(streams)
    with sqlite3.connect(_vault(site), isolation_level=None) as holder:
        holder.execute("BEGIN IMMEDIATE")
        site.play()
        time.sleep(chance.uniform(*LOCKED_S))
        read = sum(sum(s.status().get("read", {}).get(VITALS, {}).values()) for s in streams)
        waits = [str(s.status().get("reason")) for s in streams]
        holder.execute("ROLLBACK")
    healed = time.monotonic()
    site.settle(healed, streams)
    site.tally.notes.append(f"told while locked: {waits}")
    if not read:
        return Ending(RED, "nothing was read while the vault was locked")
    if not any("vault" in reason for reason in waits):
        return Ending(RED, f"no stream said that it waits for the vault: {waits}")
    return exact(site)


def vault_gone_while_down(site: Site, chance: Random) -> Ending:
    """A start that does not find the vault of its tables must not make another one: tokens would change."""
    streams = pair(site)
    site.run(streams)
    time.sleep(chance.uniform(4.0, 6.0))
    site.drain(streams)
    vault = _vault(site)
    away = vault.parent.with_name("vault-away")
    shutil.move(vault.parent, away)
    for stream in streams:
        stream.start()
    wait_until("a word of each stream", lambda: all(_has_told(s) for s in streams), TOLD_S)
    states = [(s.code, s.status().get("state"), str(s.status().get("reason"))) for s in streams]
    if any(state == "running" for _, state, _ in states):
        site.settle(time.monotonic(), [s for s in streams if s.alive])
        found = exact(site)
        return Ending(RED, f"started without the vault of its tables: {states}\n{found.words}", found.wrong)
    for stream in streams:
        stream.kill()
    shutil.rmtree(vault.parent, ignore_errors=True)
    shutil.move(away, vault.parent)
    restarted = time.monotonic()
    site.start(streams)
    site.settle(restarted, streams)
    ending = exact(site)
    return ending if ending.is_red else Ending(STOPPED, f"{states[0]}; with the vault back it ended exact")


def _has_told(stream) -> bool:
    status = stream.status()
    return not stream.alive or status.get("state") == "running" or "vault" in str(status.get("reason")).lower()


def _vault(site: Site) -> Path:
    return Path(urlsplit(site.settings.vault_uri).path[1:])
