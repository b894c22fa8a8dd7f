"""The broker and the store of one benchmark, in a temporary folder on free ports; and deployments on them.

Holds: their start and end, the accounts of their CPU time, settings for as many deployments as a benchmark needs.
Does not hold: what is measured.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from infra.bench.measured import ROOT, MeasuredProcess, Usage, cpu_seconds, tail
from infra.planning import contracts
from infra.services import jars, java, ports
from infra.services.environment import environment_of
from infra.services.kafka import EmbeddedKafka
from infra.services.processes import Child
from infra.services.store import EmbeddedStore
from warehouse.settings import EMBEDDED_ACCESS_KEY, EMBEDDED_READER_KEY, Settings

BASES = (20_000, 28_000)
BUCKET = "warehouse"
WRITER = (EMBEDDED_ACCESS_KEY, "embedded-loopback-only")
READER = (EMBEDDED_READER_KEY, "embedded-read-only")
MEASURED = ("pipelines.stream", "infra.bench.bare", "infra.bench.watch", "infra.bench.send", "infra.bench.check")
STREAM_START_S = 180.0
DRAIN_S = 120.0
TO_THE_END_S = 600.0

VITALS = "device.vitals"
ALERTS = "clinical.alerts"
SENT_AS_IT_COMES = {"compression.type": "producer"}
"""For topics that are measured on: the broker keeps the producer's lz4 and does not compress again."""


class Surroundings:
    """One broker and one store. Ends them, and removes the folder, on leaving `surroundings()`."""

    def __init__(self, folder: Path, cache: Path, broker: Child, store: Child, bootstrap: str, endpoint: str) -> None:
        self.folder, self.broker, self.store = folder, broker, store
        self.bootstrap, self.endpoint = bootstrap, endpoint
        self._cache = cache

    def settings(self, name: str, topics_of: str | None = None, **variables: str) -> Settings:
        """Settings of a deployment with a namespace, home and catalog of its own.

        `topics_of`: another deployment's name, whose topics it shares. `variables` are WARDSTREAM_ variables.
        """
        return Settings.from_environment(
            {
                "WARDSTREAM_HOME": str(self.folder / name),
                "WARDSTREAM_CACHE": str(self._cache),
                "WARDSTREAM_KAFKA_BOOTSTRAP": self.bootstrap,
                "WARDSTREAM_TOPIC_PREFIX": f"{topics_of or name}.",
                "WARDSTREAM_S3_ENDPOINT": self.endpoint,
                "WARDSTREAM_WAREHOUSE": f"s3://{BUCKET}/{name}",
                "WARDSTREAM_NAMESPACE": name,
                **variables,
            }
        )

    def used(self) -> dict[str, float]:
        """CPU seconds of broker and store so far."""
        return {"broker": cpu_seconds(self.broker.pid), "store": cpu_seconds(self.store.pid)}

    def used_since(self, before: dict[str, float]) -> dict[str, float]:
        return {part: seconds - before[part] for part, seconds in self.used().items()}


@contextmanager
def surroundings(progress: Callable[[str], None]) -> Generator[Surroundings]:
    """Start a broker and a store of one's own."""
    cache = Settings.from_environment({}).cache
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="wardstream-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        progress(f"starting a broker and a store in {folder}")
        base = next(ports.free_bases(*BASES))
        kafka = EmbeddedKafka(folder / "kafka", base, java.find_java(), jars.fetch_kafka(cache, progress))
        store = EmbeddedStore(folder / "store", base, BUCKET, WRITER, READER)
        children = []
        for program in (kafka.program(folder / "kafka.log"), store.program(folder / "store.log")):
            children.append(Child.start(program))
            stack.callback(children[-1].kill)
        progress("compiling the modules once, as an installation does")
        compile_modules(folder / "bytecode")
        for child in children:
            child.wait_ready()
        yield Surroundings(folder, cache, *children, kafka.bootstrap, store.endpoint)


@contextmanager
def store_alone(name: str, progress: Callable[[str], None]) -> Generator[Settings]:
    """A store of one's own without a broker, and settings of a deployment of that name on it; both end on leaving."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="wardstream-bench-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        progress(f"starting a store in {folder}")
        embedded = EmbeddedStore(folder / "store", next(ports.free_bases(*BASES)), BUCKET, WRITER, READER)
        child = Child.start(embedded.program(folder / "store.log"))
        stack.callback(child.kill)
        child.wait_ready()
        environment = {
            "WARDSTREAM_HOME": str(folder / "home"),
            "WARDSTREAM_S3_ENDPOINT": embedded.endpoint,
            "WARDSTREAM_WAREHOUSE": f"s3://{BUCKET}/{name}",
            "WARDSTREAM_NAMESPACE": name,
        }
        yield Settings.from_environment(environment)


def cached_bytecode(folder: Path) -> dict[str, str]:
    """Variables for processes that keep their compiled modules in a folder, whatever this one was told."""
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder)}


def compile_modules(folder: Path) -> None:
    """Import once what is measured, so that no run pays for compiling."""
    command = [sys.executable, "-c", f"import {', '.join(MEASURED)}"]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, **cached_bytecode(folder)}, capture_output=True)


class Deployment:
    """Contracts applied and processes started on one `Settings`. Kills what still runs on exit."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._processes: list[MeasuredProcess] = []
        settings.home.mkdir(parents=True, exist_ok=True)

    def __enter__(self) -> Deployment:
        contracts.apply(self.settings)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()

    def run(self, module: str, *arguments: str) -> MeasuredProcess:
        """Start a module with the deployment's settings in its environment."""
        name = f"{len(self._processes)}-{module.rpartition('.')[2]}"
        home = self.settings.home
        environment = {**environment_of(self.settings), **cached_bytecode(home.parent / "bytecode")}
        process = MeasuredProcess(module, arguments, environment, home / f"{name}.out", home / f"{name}.log")
        self._processes.append(process)
        return process

    def start_stream(self) -> MeasuredProcess:
        """Start the stream and wait until it reads."""
        process = self.run("pipelines.stream")
        self.wait_for("the stream's start", lambda status: status.get("state") == "running", STREAM_START_S, process)
        return process

    def start_watcher(self, what: str) -> MeasuredProcess:
        """Start `infra.bench.watch` and wait until it watches."""
        watcher = self.run("infra.bench.watch", what)
        deadline = time.monotonic() + STREAM_START_S
        while not watcher.output.stat().st_size:
            if watcher.ended() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the watcher of {what} did not start\n{tail(watcher.log)}")
            time.sleep(0.05)
        return watcher

    def drain(self, stream: MeasuredProcess) -> Usage:
        """Have the stream commit what it holds and end. Raises `RuntimeError` if it does not end well."""
        usage = stream.stop(DRAIN_S)
        if usage.exit_code:
            raise RuntimeError(f"the stream ended with code {usage.exit_code}\n{tail(stream.log)}")
        return usage

    def run_to_the_end(self) -> None:
        """Have all that the topics hold read, and score who waits; then read what that gave rise to. Raises
        `RuntimeError` for a stream that does not end well."""
        for _ in range(2):
            stream = self.run("pipelines.stream", "--until-end")
            if code := stream.wait(TO_THE_END_S).exit_code:
                raise RuntimeError(f"the stream ended with code {code}\n{tail(stream.log)}")

    def status(self) -> dict[str, Any]:
        """What the stream says of itself; empty before its first word."""
        try:
            return json.loads((self.settings.home / "run" / "stream.json").read_text())
        except FileNotFoundError:
            return {}

    def wait_for(
        self, what: str, holds: Callable[[dict[str, Any]], bool], seconds: float, stream: MeasuredProcess
    ) -> None:
        """Wait until `holds(status)`. Raises `RuntimeError` when the stream ends or time runs out before."""
        deadline = time.monotonic() + seconds
        while not holds(self.status()):
            if stream.ended() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{what} did not come within {seconds:.0f} s: {self.status()}\n{tail(stream.log)}")
            time.sleep(0.1)

    def keep_producers_codec(self, streams: Sequence[str]) -> None:
        """Set `SENT_AS_IT_COMES` on the deployment's topics."""
        entries = [
            ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
            for key, value in SENT_AS_IT_COMES.items()
        ]
        resources = [
            ConfigResource(ResourceType.TOPIC, self.settings.topic(stream), incremental_configs=entries)
            for stream in streams
        ]
        admin = AdminClient(self.settings.kafka(log_level=5))
        for answer in admin.incremental_alter_configs(resources).values():
            answer.result()


def create_topic(settings: Settings, topic: str, partitions: int) -> None:
    """A topic with Kafka's own defaults, but for `SENT_AS_IT_COMES`."""
    wanted = NewTopic(topic, partitions, 1, config=SENT_AS_IT_COMES)
    admin = AdminClient(settings.kafka(log_level=5))
    for answer in admin.create_topics([wanted]).values():
        answer.result()


def topic_length(settings: Settings, topic: str) -> int:
    """How many offsets the topic's partitions hold together."""
    consumer = Consumer(settings.kafka(**{"group.id": "bench"}))
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        ranges = [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10) for p in partitions]
        return sum(high - low for low, high in ranges)
    finally:
        consumer.close()
