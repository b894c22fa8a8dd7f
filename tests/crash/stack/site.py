"""One site under fire: its topics and tables, wards that play on, streams that are struck, and the verdict.

Holds: stream processes, the playing, waiting for lag 0, what a kill struck, the drain.
Does not hold: servers (stack.py), any schedule (scenarios/), or judgement (tests/oracle).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition

from infra.planning import contracts
from infra.services import tether
from infra.services.environment import environment_of
from infra.simulator.ledger import Ledger
from infra.simulator.player import Pace, Player
from infra.simulator.ward import play_ward
from pipelines.stream import EXIT_DRAINED, EXIT_FAILED
from tests.crash.stack.servers import wait_until
from tests.crash.stack.stack import Stack
from tests.deployment import MINUTE_MS, STREAMS, VITALS
from tests.forked import ROOT, ForkedStream, Orders, heeded
from tests.oracle.history import History
from tests.oracle.lake import LakePlace
from tests.oracle.oracle import Places, collect
from warehouse.catalog import load_table, open_catalog
from warehouse.settings import Settings

_LOG = logging.getLogger(__name__)

RATE, BRIEF_RATE, PATIENTS = 1_100.0, 500.0, 60
WARD_MINUTES = 10
START_S, LAG_S, DRAIN_S = 420.0, 420.0, 180.0
"""Bounds for a machine that is shared by many; what is measured is in the tally."""
REVIVALS = 4
STREAM = ("pipelines.stream",)
VECTOR = "wardstream.offsets"
# A start that compiles its imports anew takes twice as long, and we start hundreds of times.
_COMPILED = {
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "wardstream-compiled"),
}


class StreamProcess:
    """A stream with a home of its own; started as often as one likes. `code` is None while it runs."""

    def __init__(self, name: str, settings: Settings, variables: Mapping[str, str], command: tuple[str, ...]) -> None:
        self.name, self.settings = name, settings
        self._command = command
        self._variables = dict(variables)
        self._log = settings.home / "stream.log"
        self._process: ForkedStream | subprocess.Popen[bytes] | None = None
        self.revived = 0
        settings.home.mkdir(parents=True, exist_ok=True)

    def start(self, **variables: str) -> None:
        """Without its last words of before. Forked, or an interpreter of its own where a variable asks for one."""
        _LOG.info("%s starts", self.name)
        self._report.unlink(missing_ok=True)
        given = {**self._variables, **variables}
        environment = {**os.environ, **_COMPILED, **environment_of(self.settings), **given}
        if self._command == STREAM and heeded(given):
            self._process = ForkedStream(Orders((), environment, self._log))
        else:
            self._process = self._own_interpreter(environment)

    def _own_interpreter(self, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """As the supervisor would start it."""
        with self._log.open("ab") as log:
            # The kernel ends it with the harness; the process keeps this one's id.
            tethered = (sys.executable, "-IS", tether.__file__, "exec", str(os.getpid()))
            command = [*tethered, sys.executable, "-m", *self._command]
            return subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def code(self) -> int | None:
        return self._process.poll() if self._process else None

    @property
    def alive(self) -> bool:
        return self._process is not None and self.code is None

    @property
    def _report(self) -> Path:
        return self.settings.home / "run" / "stream.json"

    def status(self) -> dict:
        """What it last said in this run; empty before it said anything."""
        try:
            return json.loads(self._report.read_text())
        except (FileNotFoundError, ValueError):
            return {}

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        if self.alive:
            os.kill(self.pid, signal.SIGCONT)

    def wait_running(self, seconds: float = START_S) -> None:
        """Wait until it says that it reads. Raises `StreamEnded` if it ends instead."""
        self.wait_for("its running", lambda status: status.get("state") == "running", seconds)
        _LOG.info("%s runs", self.name)

    def wait_for(self, what: str, holds, seconds: float) -> None:
        """Wait until `holds(status)`. Raises `StreamEnded`, `TimeoutError`."""

        def look() -> bool:
            if not self.alive:
                raise StreamEnded(self)
            return holds(self.status())

        try:
            wait_until(f"{self.name}: {what}", look, seconds, 0.1)
        except TimeoutError as error:
            raise TimeoutError(f"{error}; {self.last_words()}") from None

    def ask_to_drain(self) -> None:
        if self.alive:
            os.kill(self.pid, signal.SIGTERM)

    def wait_end(self) -> int | None:
        """The exit code, None (and a kill) if it does not end."""
        assert self._process is not None
        try:
            return self._process.wait(DRAIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def last_words(self) -> str:
        """State, reason and the end of the log, for reports."""
        status = self.status()
        log = self._log.read_text(errors="replace")[-1500:] if self._log.exists() else ""
        return f"code={self.code} state={status.get('state')} reason={status.get('reason')}\n{log}"


class StreamEnded(Exception):
    """A stream ended although nobody killed it: `stream` says how."""

    def __init__(self, stream: StreamProcess) -> None:
        super().__init__(f"{stream.name} ended: {stream.last_words()}")
        self.stream = stream


@dataclass(slots=True)
class Tally:
    """What was done in a round. `kills` by what was killed; a stream's counts only where something was read and not
    committed, else it is among `idle_kills`. `recovered_s`: from the last heal to lag 0, wards stopped."""

    kills: dict[str, int] = field(default_factory=dict)
    idle_kills: int = 0
    pauses: int = 0
    recovered_s: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def killed(self, what: str) -> None:
        self.kills[what] = self.kills.get(what, 0) + 1


class Site:
    """Topics, tables, wards and streams of one round. Ends its processes on exit. `brief` asks scenarios for their
    short form: one kill, little trouble."""

    def __init__(self, stack: Stack, seed: int, brief: bool = False) -> None:
        self.stack, self.seed, self.brief = stack, seed, brief
        self.settings = stack.settings()
        self.settings.home.mkdir(parents=True, exist_ok=True)
        self.tally = Tally()
        self.streams: list[StreamProcess] = []
        self.ledgers: list[Path] = []
        self._numbers = itertools.count()
        self.sent = 0
        self.played_s = 0.0
        self._over = threading.Event()
        self._wards: threading.Thread | None = None
        contracts.apply(self.settings)

    def __enter__(self) -> Site:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for stream in self.streams:
            stream.kill()
        if self._wards is not None:
            self._wards.join(150)

    # --- wards

    def play(self) -> None:
        """Wards one after another, at `RATE` messages a second (`BRIEF_RATE` in brief), until `stop_playing`."""
        self._over.clear()
        self._wards = threading.Thread(target=self._keep_playing, name="wards", daemon=True)
        self._wards.start()

    def stop_playing(self) -> None:
        """Returns when everything sent has its report, or the producer's time for it is over."""
        self._over.set()
        if self._wards is not None:
            self._wards.join()
            self._wards = None

    def _keep_playing(self) -> None:
        began = time.monotonic()
        for number in itertools.count(len(self.ledgers)):
            if self._over.is_set():
                break
            start_ms = int(time.time() * 1000) - WARD_MINUTES * MINUTE_MS
            events = play_ward(self.seed + number, start_ms, WARD_MINUTES * MINUTE_MS, PATIENTS)
            self.send(events, Pace(rate=BRIEF_RATE if self.brief else RATE))
        self.played_s += time.monotonic() - began

    def send(self, events, pace: Pace) -> None:
        """Play events into the topic of vitals, with a ledger of their own."""
        topic = self.settings.topic(VITALS)
        path = self.settings.home / f"ledger-{next(self._numbers)}.jsonl"
        heading = {"stream": VITALS, "topic": topic, "title": path.name, "expected_alerts": []}
        player = Player(self.settings.kafka(), topic, Ledger(path, heading), pace, time.time, time.sleep)
        self.ledgers.append(path)
        self.sent += player.play(events, stop=self._over.is_set).planned

    # --- streams

    def stream(self, name: str, partitions: tuple[int, ...] | None = None, **variables: str) -> StreamProcess:
        """A stream process of this site, not started: one home a name; catalog, vault, store and topics are shared."""
        through = self.stack.through_proxies(self.settings)
        home = self.settings.home / name
        process = StreamProcess(name, replace(through, home=home, partitions=partitions), variables, STREAM)
        self.streams.append(process)
        return process

    def supervised(self, name: str, **variables: str) -> StreamProcess:
        """A supervisor that runs a stream and nothing else. Its end is the stream's end; status is the stream's."""
        settings = replace(self.stack.through_proxies(self.settings), home=self.settings.home / name)
        command = ("infra.services.supervisor", "--parts", "stream")
        process = StreamProcess(name, settings, {**variables, "PYTHONPATH": _path(variables)}, command)
        self.streams.append(process)
        return process

    def start(self, streams: list[StreamProcess]) -> None:
        """Start them side by side and wait until all say that they run. Raises `StreamEnded`, `TimeoutError`."""
        for stream in streams:
            stream.start()
        self.wait_running(streams)

    def wait_running(self, streams: list[StreamProcess]) -> None:
        for stream in streams:
            stream.wait_running()

    def start_only(self, streams: list[StreamProcess]) -> None:
        """Start them and wait until each runs or has ended."""
        for stream in streams:
            stream.start()
        for stream in streams:
            with contextlib.suppress(StreamEnded):
                stream.wait_running()

    def watch_for_ends(self, streams: list[StreamProcess], seconds: float) -> None:
        """Give them that long to end by themselves; return at once when all have."""
        self.watch(lambda: not any(s.alive for s in streams), seconds)

    def watch(self, holds: Callable[[], bool], seconds: float) -> None:
        """Wait until `holds()`, or that long."""
        with contextlib.suppress(TimeoutError):
            wait_until("it", holds, seconds)

    def run(self, streams: list[StreamProcess]) -> None:
        """Start them, then the wards."""
        self.start(streams)
        self.play()

    def kill(self, stream: StreamProcess, how: Callable[[], None] | None = None) -> None:
        """kill -9, counted if the lake then lacks something that the stream had said it had read."""
        _LOG.info("%s is killed", stream.name)
        read = stream.status().get("read", {}).get(VITALS, {})
        (how or stream.kill)()
        vector = self.vector("vitals")
        if any(int(offset) > vector.get(int(partition), 0) for partition, offset in read.items()):
            self.tally.killed("stream")
        else:
            self.tally.idle_kills += 1

    def vector(self, table_name: str) -> dict[int, int]:
        """partition -> next offset of the vitals' topic as a table's newest vector says; empty without one."""
        table = load_table(open_catalog(self.settings), self.settings.namespace, table_name)
        by_id = {s.snapshot_id: s for s in table.metadata.snapshots}
        snapshot = table.current_snapshot()
        while snapshot is not None:
            summary = snapshot.summary.additional_properties if snapshot.summary else {}
            if VECTOR in summary:
                merged: dict[int, int] = {}
                for partitions in json.loads(summary[VECTOR]).values():
                    merged |= {int(p): max(n, merged.get(int(p), 0)) for p, n in partitions.items()}
                return merged
            snapshot = by_id.get(snapshot.parent_snapshot_id or -1)
        return {}

    # --- the end

    def ends(self) -> dict[tuple[str, int], int]:
        """The true end of every partition of every topic of the site, asked of the broker now."""
        consumer = Consumer(self.settings.kafka(**{"group.id": "stack"}))
        try:
            found = {}
            for stream in STREAMS:
                topic = self.settings.topic(stream)
                partitions = consumer.list_topics(topic, timeout=20).topics[topic].partitions
                for p in partitions:
                    found[stream, p] = consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=20)[1]
            return found
        finally:
            consumer.close()

    def lag(self, streams: list[StreamProcess]) -> int:
        """Positions of all topics that none of the streams says are settled in the lake. Raises `StreamEnded`."""
        settled: dict[tuple[str, int], int] = {}
        for stream in streams:
            if not stream.alive:
                raise StreamEnded(stream)
            for name, partitions in stream.status().get("next", {}).items():
                for partition, offset in partitions.items():
                    at = (name, int(partition))
                    settled[at] = max(offset, settled.get(at, 0))
        return sum(max(0, end - settled.get(at, 0)) for at, end in self.ends().items())

    def revive(self, streams: list[StreamProcess]) -> None:
        """Start those that ended with an error, as the supervisor would, and note why. Raises `StreamEnded` for any
        other end, and when it happens too often."""
        for stream in streams:
            if stream.alive:
                continue
            if stream.code != EXIT_FAILED or stream.revived >= REVIVALS:
                raise StreamEnded(stream)
            self.tally.notes.append(f"{stream.name} ended by itself: {stream.status().get('reason')}")
            stream.revived += 1
            stream.start()

    def settle(self, healed_at: float, streams: list[StreamProcess], reviving: bool = False) -> None:
        """Stop the wards, wait for lag 0 (noting how long it took since `healed_at`, monotonic seconds), drain."""
        self.stop_playing()
        _LOG.info("the wards have stopped after %d messages", self.sent)

        def caught_up() -> bool:
            if reviving:
                self.revive(streams)
            return self.lag(streams) == 0

        try:
            wait_until("lag 0", caught_up, LAG_S, 0.25)
        except TimeoutError as error:
            words = "\n".join(s.last_words() for s in streams)
            raise TimeoutError(f"{error}; lag {self.lag(streams)}\n{words}") from None
        self.tally.recovered_s.append(time.monotonic() - healed_at)
        _LOG.info("lag 0 after %.1f s", self.tally.recovered_s[-1])
        self.wait_running(streams)  # one may have been stood in for while it was still starting
        self.drain(streams)

    def drain(self, streams: list[StreamProcess]) -> None:
        """SIGTERM to each; raises `StreamEnded` for one that does not end with all committed."""
        for stream in streams:
            stream.ask_to_drain()
        for stream in streams:
            if stream.wait_end() != EXIT_DRAINED:
                raise StreamEnded(stream)

    def history(self) -> History:
        """What Kafka, the lake and the ledgers say now, as the oracle reads them."""
        _LOG.info("the oracle reads")
        s = self.settings
        lake = LakePlace(s.catalog_uri, s.namespace, s.s3_endpoint, s.s3_access_key, s.s3_secret_key, s.s3_region)
        topics = {stream: s.topic(stream) for stream in STREAMS}
        return collect(Places({"bootstrap.servers": s.kafka_bootstrap}, topics, lake, tuple(self.ledgers)))


def _path(variables: Mapping[str, str]) -> str:
    """PYTHONPATH of a supervisor: its stream runs in its home, with the folder it runs in no source of code."""
    return os.pathsep.join(filter(None, (variables.get("PYTHONPATH"), str(ROOT))))
