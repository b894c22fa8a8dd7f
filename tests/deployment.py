"""A small deployment for tests: contracts applied, a ward played, streams started as processes, the oracle asked.

Holds: the handling of processes and of the ledger. Does not hold: servers (conftest.py) or any judgement (oracle/).
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

from infra.planning import contracts
from infra.services.environment import environment_of
from infra.simulator import hospital
from infra.simulator.ledger import Ledger
from infra.simulator.player import Pace, Player, PlayReceipt
from infra.simulator.script import expected_alerts, plan_ward
from infra.simulator.ward import Event, play_ward
from pipelines.stream import EXIT_DRAINED
from tests.forked import ROOT, ForkedStream, Orders, heeded
from tests.oracle.lake import LakePlace
from tests.oracle.oracle import Places, Verdict, examine
from warehouse.settings import Settings

VITALS = "device.vitals"
STREAMS = (*hospital.STREAMS, "clinical.alerts", "clinical.alerts.withheld")
MINUTE_MS = 60_000
# Without compiled files each start would take 12 CPU seconds instead of 3.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

StreamProcess = ForkedStream | subprocess.Popen


class Deployment:
    """What runs on one `Settings`. Ends its processes on exit."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.ledgers: list[Path] = []
        self._processes: list[StreamProcess] = []
        self._log = settings.home / "stream.log"
        settings.home.mkdir(parents=True, exist_ok=True)
        contracts.apply(settings)

    def __enter__(self) -> Deployment:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()

    def play_ward(self, seed: int, minutes: int, patients: int) -> PlayReceipt:
        """A ward of the last `minutes`, sent as fast as it goes."""
        start_ms = int(time.time() * 1000) - minutes * MINUTE_MS
        alerts = expected_alerts(plan_ward(seed, start_ms, minutes * MINUTE_MS, patients))
        events = play_ward(seed, start_ms, minutes * MINUTE_MS, patients)
        return self.play(events, Pace(), expected_alerts=[asdict(alert) for alert in alerts])

    def play_hospital(self, seed: int, minutes: int, patients: int) -> PlayReceipt:
        """The whole ward, all streams, of the last `minutes`, sent as fast as it goes."""
        start_ms = int(time.time() * 1000) - minutes * MINUTE_MS
        alerts = expected_alerts(plan_ward(seed, start_ms, minutes * MINUTE_MS, patients))
        events = hospital.play_hospital(seed, start_ms, minutes * MINUTE_MS, patients)
        return self.play(events, Pace(), expected_alerts=[asdict(alert) for alert in alerts])

    def play_wards_until(self, over: threading.Event, seed: int, patients: int, rate: float, minutes: int = 10) -> None:
        """Wards of the last `minutes`, one after another at `rate` messages a second, the last one cut off.

        Their patients are the same and their times overlap, so no script promises an alert; what the rows give must be
        told all the same. A second ward is mostly late: who waits for alerts asks for minutes enough to need no second.
        """
        for number in itertools.count():
            if over.is_set():
                return
            start_ms = int(time.time() * 1000) - minutes * MINUTE_MS
            events = play_ward(seed + number, start_ms, minutes * MINUTE_MS, patients)
            self.play(itertools.takewhile(lambda _: not over.is_set(), events), Pace(rate=rate), expected_alerts=[])

    def play(self, events: Iterable[Event], pace: Pace, expected_alerts: list[dict]) -> PlayReceipt:
        topics = {stream: self.settings.topic(stream) for stream in hospital.STREAMS}
        path = self.settings.home / f"ledger-{len(self.ledgers)}.jsonl"
        heading = {"topics": topics, "title": path.name, "expected_alerts": expected_alerts}
        player = Player(self.settings.kafka(), topics, Ledger(path, heading), pace, time.time, time.sleep)
        self.ledgers.append(path)
        return player.play(events)

    def start_stream(
        self, *arguments: str, before: tuple[Callable[[], None], ...] = (), **variables: str
    ) -> StreamProcess:
        """The stream in a process of its own: a fork, or an interpreter of its own where a variable asks for one.

        Args:
            before: called in a fork before the stream starts.
        """
        environment = {**_ENVIRONMENT, **environment_of(self.settings), **variables}
        if heeded(variables):
            process = ForkedStream(Orders(arguments, environment, self._log, before))
        else:
            process = self._own_interpreter(arguments, environment)
        self._processes.append(process)
        return process

    def _own_interpreter(self, arguments: tuple[str, ...], environment: dict[str, str]) -> subprocess.Popen:
        """The stream as the supervisor would start it."""
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "pipelines.stream", *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def run_stream_to_the_end(self, **variables: str) -> None:
        """Read what the topics hold, alerts that this gives rise to included, and drain."""
        for _ in range(2):
            process = self.start_stream("--until-end", **variables)
            assert process.wait(timeout=240) == EXIT_DRAINED, self.log()

    def drain(self, process: StreamProcess) -> None:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=90) == EXIT_DRAINED, self.log()

    def status(self) -> dict:
        try:
            return json.loads((self.settings.home / "run" / "stream.json").read_text())
        except FileNotFoundError:
            return {}

    def wait_for(self, what: str, holds, seconds: float) -> None:
        """Wait until `holds(status)`."""
        deadline = time.monotonic() + seconds
        while not holds(self.status()):
            assert time.monotonic() < deadline, f"{what} did not come in {seconds} s\n{self.status()}\n{self.log()}"
            time.sleep(0.1)

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-6_000:] if self._log.exists() else "(no log)"

    def verdict(self, scores: bool = False) -> Verdict:
        """What the oracle says, from Kafka, the lake and the ledgers. `scores`: of sepsis scores and their alerts too,
        where the stream was not killed: after that a patient is scored with their next row."""
        s = self.settings
        lake = LakePlace(s.catalog_uri, s.namespace, s.s3_endpoint, s.s3_access_key, s.s3_secret_key, s.s3_region)
        topics = {stream: s.topic(stream) for stream in (*STREAMS, *(["clinical.scores"] if scores else []))}
        kafka = {"bootstrap.servers": s.kafka_bootstrap}
        return examine(Places(kafka, topics, lake, tuple(self.ledgers), vault=vault_file(s)))


def vault_file(settings: Settings) -> Path:
    """The embedded vault's database."""
    return Path(urlsplit(settings.vault_uri).path[1:])
