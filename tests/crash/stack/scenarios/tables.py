"""Tables changed behind the streams' backs: rolled back to an older snapshot, rewritten, expired by another engine."""

from __future__ import annotations

import json
import time
from random import Random

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table

from pipelines.stream import EXIT_POSITIONS
from tests.crash.stack.endings import RED, STOPPED, Ending, exact, judged
from tests.crash.stack.scenarios.kills import pair
from tests.crash.stack.servers import wait_until
from tests.crash.stack.site import VECTOR, Site, StreamProcess
from tests.deployment import VITALS
from tests.oracle.oracle import judge
from warehouse.catalog import load_table, open_catalog

TABLES = ("vitals", "rejects", "duplicates", "alerts")
NOTICED_S = 20.0


def rolled_back_while_down(site: Site, chance: Random) -> Ending:
    """The vector goes back with its rows, so the next start reads again what is missing."""
    streams = some_commits(site, chance)
    site.settle(time.monotonic(), streams)
    for name in chance.sample(TABLES, chance.choice((1, 2))):
        _roll_back(site, name, chance)
    restarted = time.monotonic()
    site.run(streams)
    time.sleep(3.0)
    site.settle(restarted, streams)
    return exact(site)


def rolled_back_while_running(site: Site, chance: Random) -> Ending:
    """The streams' memory is ahead of the table now: they must stop and say so, and a new start must mend it."""
    streams = some_commits(site, chance)
    _roll_back(site, "vitals", chance)
    return after_a_change(site, streams)


def foreign_engine_compacts(site: Site, chance: Random) -> Ending:
    """Another engine rewrites a table's files and does not carry the vector; the snapshots with one are still there."""
    return _rewritten(site, chance, expire=False)


def foreign_engine_compacts_and_expires(site: Site, chance: Random) -> Ending:
    """As before, and it lets go of every snapshot that had a vector: the streams must stop and say so."""
    return _rewritten(site, chance, expire=True)


def some_commits(site: Site, chance: Random, seldom: bool = False) -> list[StreamProcess]:
    """Two streams that have committed several times and go on, under wards; `seldom` leaves another engine the time
    to commit on a snapshot before our fifty kept ones have passed it by."""
    streams = pair(site)
    if seldom:
        streams = [site.stream(s.name, s.settings.partitions, WARDSTREAM_COMMIT_SECONDS="6") for s in streams]
    site.run(streams)
    wait_until("several commits", lambda: len(_table(site, "vitals").metadata.snapshots) > 8, 180)
    time.sleep(chance.uniform(0.0, 2.0))
    return streams


def _table(site: Site, name: str) -> Table:
    return load_table(open_catalog(site.settings), site.settings.namespace, name)


def _roll_back(site: Site, name: str, chance: Random) -> None:
    """To one of the snapshots that are kept and have rows before them, the head aside."""
    for _ in range(50):
        table = _table(site, name)
        line = [s.snapshot_id for s in sorted(table.metadata.snapshots, key=lambda s: s.sequence_number)]
        if len(line) < 3:
            site.tally.notes.append(f"{name} has {len(line)} snapshots and was left alone")
            return
        to = chance.choice(line[1:-1])
        try:
            table.manage_snapshots().set_current_snapshot(to).commit()
            site.tally.notes.append(f"{name} rolled back by {len(line) - 1 - line.index(to)} snapshots")
            return
        except CommitFailedException:
            continue
    raise RuntimeError(f"{name} could not be rolled back: the streams were faster each time")


def _rewritten(site: Site, chance: Random, expire: bool) -> Ending:
    streams = some_commits(site, chance)
    for stream in streams:  # else they would be faster each time
        stream.pause()
    _rewrite(site, "vitals", expire)
    for stream in streams:
        stream.resume()
    return after_a_change(site, streams)


def after_a_change(site: Site, streams: list[StreamProcess]) -> Ending:
    """Whoever the change concerns stops with the code for positions and says what to do; starting again is followed,
    and judged. Whoever it does not concern goes on."""
    site.watch_for_ends(streams, NOTICED_S)
    site.stop_playing()
    dead = [s for s in streams if not s.alive]
    reasons = [str(s.status().get("reason")) for s in dead]
    if any(s.code != EXIT_POSITIONS for s in dead):
        return Ending(RED, "\n".join(s.last_words() for s in dead))
    for stream in streams:
        site.kill(stream) if stream.alive else None
    restarted = time.monotonic()
    site.start_only(streams)
    again = [s for s in streams if not s.alive]
    if any(s.code != EXIT_POSITIONS for s in again):
        return Ending(RED, "\n".join(s.last_words() for s in again))
    if again:
        return _mended_by_hand(site, again, streams)
    site.settle(restarted, streams)
    ending = exact(site)
    return ending if ending.is_red or not dead else Ending(STOPPED, f"{reasons[0]}; a new start ended exact")


def _mended_by_hand(site: Site, stopped: list[StreamProcess], streams: list[StreamProcess]) -> Ending:
    """A new start stops as well: nothing that is in the tables may be wrong, and the way out that it names is taken."""
    reason = str(stopped[0].status().get("reason"))
    for stream in streams:
        stream.kill()
    # What is still on Kafka can be read when the way out is taken; alerts on it were told already.
    ending = judged(judge(site.history()), ("lost", "holes", "alerts_forged"))
    if ending.is_red or "set it by hand" not in reason:
        return Ending(RED, f"{reason}\n{ending.words}", ending.wrong)
    _set_vector(site, "vitals")
    restarted = time.monotonic()
    site.start(streams)
    site.settle(restarted, streams)
    ending = exact(site)
    return ending if ending.is_red else Ending(STOPPED, f"{reason}; with the vector set by hand it ended exact")


def _set_vector(site: Site, name: str) -> None:
    """An empty append with the vector that the rows themselves give: beyond a partition's last row there is nothing
    of this table, or it is read again."""
    table = _table(site, name)
    rows = table.scan(selected_fields=("topic_id", "kafka_partition", "kafka_offset")).to_arrow()
    last = rows.group_by(["topic_id", "kafka_partition"]).aggregate([("kafka_offset", "max")]).to_pylist()
    vector: dict[str, dict[str, int]] = {}
    for row in last:
        partitions = vector.setdefault(row["topic_id"], {str(p): 0 for stream, p in site.ends() if stream == VITALS})
        partitions[str(row["kafka_partition"])] = row["kafka_offset_max"] + 1
    table.append(table.schema().as_arrow().empty_table(), snapshot_properties={VECTOR: json.dumps(vector)})


def _rewrite(site: Site, name: str, expire: bool) -> None:
    for _ in range(50):
        table = _table(site, name)
        try:
            table.overwrite(table.scan().to_arrow())
            break
        except CommitFailedException:
            continue
    else:
        raise RuntimeError(f"{name} could not be rewritten: the streams were faster each time")
    site.tally.notes.append(f"{name} rewritten without its vector")
    if expire:
        table = _table(site, name)
        heads = {ref.snapshot_id for ref in table.metadata.refs.values()}
        older = [s.snapshot_id for s in table.metadata.snapshots if s.snapshot_id not in heads]
        table.maintenance.expire_snapshots().by_ids(older).commit()
