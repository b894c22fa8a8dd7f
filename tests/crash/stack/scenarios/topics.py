"""Topics changed behind the streams' backs: made anew, cut off by retention, given more partitions."""

from __future__ import annotations

import time
from dataclasses import replace
from random import Random

import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions

from infra.planning import contracts
from infra.simulator.player import Pace
from infra.simulator.script import plan_ward
from infra.simulator.ward import Event, Troubles, play_ward
from tests.crash.stack.endings import RED, STOPPED, Ending, judged
from tests.crash.stack.scenarios.kills import pair
from tests.crash.stack.servers import wait_until
from tests.crash.stack.site import Site
from tests.deployment import MINUTE_MS, VITALS
from tests.oracle.history import History
from tests.oracle.oracle import judge

STOP_S = 60.0
PARTITIONS_AFTER = 8
QUIET_MINUTES = 3


def topic_recreated_while_down(site: Site, chance: Random) -> Ending:
    """A new topic of the old name begins at 0 again, and the tables keep what they have of the old one."""
    streams = pair(site)
    old = _first_life(site, chance, streams)
    if old.is_red:
        return old
    site.drain(streams)
    forgotten = _recreate(site)
    restarted = time.monotonic()
    site.run(streams)
    time.sleep(3.0)
    site.settle(restarted, streams)
    return _second_life(site, forgotten)


def topic_recreated_while_running(site: Site, chance: Random) -> Ending:
    """No message of the new topic may pass for one of the old: the streams stop and say so, or read it rightly."""
    streams = pair(site)
    old = _first_life(site, chance, streams)
    if old.is_red:
        return old
    forgotten = _recreate(site)
    site.play()  # soon the new topic is longer than the old one was
    said = ""
    try:
        wait_until("the streams' end", lambda: not any(s.alive for s in streams), STOP_S)
    except TimeoutError:
        said = "; ".join(f"{s.name} alive {s.alive}: {s.status().get('reason')}" for s in streams)
    else:
        if any(s.code != 3 for s in streams):
            return Ending(RED, "\n".join(s.last_words() for s in streams))
        said = str(streams[0].status().get("reason"))
    site.stop_playing()
    dead = [s for s in streams if not s.alive]
    restarted = time.monotonic()
    site.start(dead)
    site.settle(restarted, streams)
    ending = _second_life(site, forgotten)
    return ending if ending.is_red or not dead else Ending(STOPPED, f"{said}; a new start ended exact")


def retention_overtakes(site: Site, chance: Random) -> Ending:
    """While the streams are down the log loses what they had not read."""
    streams = pair(site)
    site.run(streams)
    time.sleep(chance.uniform(4.0, 6.0))
    site.drain(streams)
    return _overtaken(site, streams, start=True)


def retention_overtakes_while_paused(site: Site, chance: Random) -> Ending:
    """The same to streams that live and sleep."""
    streams = pair(site)
    site.run(streams)
    time.sleep(chance.uniform(4.0, 6.0))
    for stream in streams:
        stream.pause()
        site.tally.pauses += 1
    return _overtaken(site, streams, start=False)


def partitions_added(site: Site, chance: Random) -> Ending:
    """More partitions than the first vector names: nobody reads them, so the streams must stop and say so."""
    streams = pair(site)
    site.run(streams)
    time.sleep(chance.uniform(3.0, 5.0))
    topic = site.settings.topic(VITALS)
    admin = AdminClient(site.settings.kafka())
    admin.create_partitions([NewPartitions(topic, PARTITIONS_AFTER)])[topic].result(20)
    try:
        wait_until("the streams' end", lambda: not any(s.alive for s in streams), STOP_S)
    except TimeoutError:
        site.stop_playing()
        running = "; ".join(f"{s.name}: state {s.status().get('state')}, lag {s.status().get('lag')}" for s in streams)
        for stream in streams:
            site.kill(stream)
        site.start_only(streams)
        return Ending(RED, f"not noticed within {STOP_S:.0f} s while running ({running}); at the next start: "
                           f"{streams[0].last_words()}")  # fmt: skip
    site.stop_playing()
    return _all_stopped(site, streams, site.history(), "partition", ("lost", "holes", "disordered"))


def _first_life(site: Site, chance: Random, streams) -> Ending:
    """A ward without alerts, read and committed, judged; the streams still run."""
    site.start(streams)
    site.send(_without_alerts(site.seed), Pace())
    wait_until("lag 0", lambda: site.lag(streams) == 0, 120)
    # A table without rows of its own follows within seconds of quiet.
    deadline = time.monotonic() + 40
    while True:
        ending = judged(judge(site.history()))
        if not ending.is_red or time.monotonic() > deadline:
            return ending
        time.sleep(2.0)


def _without_alerts(seed: int) -> list[Event]:
    """Pulses of patients whom nothing befalls: an alert on the old topic would name readings that nobody can look up
    any more, so there must be none."""
    began_ms = int(time.time() * 1000) - QUIET_MINUTES * MINUTE_MS
    well = {p.patient_id for p in plan_ward(seed, began_ms, QUIET_MINUTES * MINUTE_MS, 40) if not p.courses}
    events = play_ward(seed, began_ms, QUIET_MINUTES * MINUTE_MS, 40, Troubles.none())
    return [e for e in events if e.patient in well and e.value and b'"8867-4"' in e.value]


def _recreate(site: Site) -> str:
    """Delete the topic of vitals, make it again as declared; the id that it had."""
    before = site.history().streams[VITALS].topic_id
    topic = site.settings.topic(VITALS)
    admin = AdminClient(site.settings.kafka())
    admin.delete_topics([topic])[topic].result(30)
    wait_until("the topic's end", lambda: topic not in admin.list_topics(timeout=10).topics, 30)
    contracts.apply(site.settings)
    site.ledgers.clear()
    return before


def _second_life(site: Site, forgotten: str) -> Ending:
    """What the oracle says of the new topic, and that the old one's rows are all still there: it was exact before."""
    history = site.history()
    kept = sum(_of(table.rows, forgotten) for table in history.tables.values())
    tables = {name: replace(table, rows=_without(table.rows, forgotten)) for name, table in history.tables.items()}
    tables = {
        name: replace(t, duckdb_count=t.duckdb_count - _of(history.tables[name].rows, forgotten))
        for name, t in tables.items()
    }
    if not kept:
        return Ending(RED, "the rows of the old topic are gone")
    return judged(judge(replace(history, tables=tables)))


def _of(rows: pa.Table, topic_id: str) -> int:
    return len(rows) - len(_without(rows, topic_id))


def _without(rows: pa.Table, topic_id: str) -> pa.Table:
    if "topic_id" not in rows.column_names:
        return rows
    return rows.filter(pc.not_equal(rows["topic_id"].cast(pa.string()), topic_id))


def _overtaken(site: Site, streams, start: bool) -> Ending:
    time.sleep(3.0)
    site.stop_playing()
    before = site.history()
    topic = site.settings.topic(VITALS)
    ends = {p: n for (stream, p), n in site.ends().items() if stream == VITALS}
    admin = AdminClient(site.settings.kafka())
    asked = admin.delete_records([TopicPartition(topic, p, max(0, end - 5)) for p, end in ends.items()])
    for future in asked.values():
        future.result(20)
    if start:
        site.start_only(streams)
    else:
        site.send(list(play_ward(site.seed, int(time.time() * 1000) - MINUTE_MS, MINUTE_MS, 5)), Pace())
        for stream in streams:
            stream.resume()
    wait_until("the streams' end", lambda: not any(s.alive for s in streams), STOP_S)
    after = site.history()
    # No alert is forged: what a stream had read and told before it stopped it commits on the way out.
    allowed = ("lost", "holes")
    history = replace(after, streams=_longer(before, after))
    told = {heading: count for heading, count in judge(replace(history, ledgers=())).totals.items() if count}
    site.tally.notes.append(f"after the stop the oracle counts {told}")
    return _all_stopped(site, streams, history, "lost", allowed)


def _longer(before: History, after: History):
    """The topics as they were before records were deleted; what came afterwards nobody may have read."""
    return {name: before.streams[name] if name == VITALS else after.streams[name] for name in after.streams}


def _all_stopped(site: Site, streams, history: History, names: str, allowed: tuple[str, ...]) -> Ending:
    for stream in streams:
        reason = str(stream.status().get("reason", ""))
        if stream.code != 3 or names not in reason.lower():
            return Ending(RED, f"{stream.name} did not stop with a reason that names “{names}”: {stream.last_words()}")
    # The ledger says what was sent, not what Kafka still has: here only tables and logs are compared.
    ending = judged(judge(replace(history, ledgers=())), allowed)
    return ending if ending.is_red else Ending(STOPPED, str(streams[0].status().get("reason")))
