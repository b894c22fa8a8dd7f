"""The embedded broker: a real Apache Kafka, one KRaft node on the loopback, as a program to start.

Holds: its configuration, formatting its storage, when it is ready. Production uses any Kafka instead
(`WARDSTREAM_KAFKA_BOOTSTRAP`). Does not hold: topics (infra.planning) nor its jars (jars).
"""

from __future__ import annotations

import base64
import os
import subprocess
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from infra.services.java import SMALL_HEAP
from infra.services.ports import LOOPBACK, kafka_ports, port
from infra.services.processes import ChildError, Program

FORMAT_SECONDS = 120
STARTED = b"Kafka Server started"
METADATA_SECONDS = 2.0
ONE_MIB = 1 << 20

_LOG4J = """\
rootLogger.level=WARN
rootLogger.appenderRef.console.ref=CONSOLE
appender.console.type=Console
appender.console.name=CONSOLE
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %m (%c)%n
logger.started.name=kafka.server.KafkaRaftServer
logger.started.level=INFO
"""


@dataclass(frozen=True, slots=True)
class EmbeddedKafka:
    """Where one broker lives and listens, and with what it is run."""

    folder: Path
    port_base: int
    java: Path
    jars: Path

    @property
    def bootstrap(self) -> str:
        return f"{LOOPBACK}:{port(self.port_base, 'kafka')}"

    def program(self, log: Path) -> Program:
        """Write the configuration, format the storage if it is new, and say how to start. Raises `ChildError`.

        Runs on the caller's time: a format takes 1-2 s.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in self.properties().items()))
        (self.folder / "log4j2.properties").write_text(_LOG4J)
        if not (self.folder / "data" / "meta.properties").exists():
            self._format(properties)
        return Program(
            name="kafka",
            command=self._command("kafka.Kafka", str(properties)),
            log=log,
            ports=kafka_ports(self.port_base),
            ready=self._ready(),
            stop_seconds=20,
        )

    def properties(self) -> dict[str, object]:
        """server.properties: loopback only, one replica of everything, nothing created by accident."""
        client, controller = self.bootstrap, f"{LOOPBACK}:{port(self.port_base, 'controller')}"
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "listeners": f"PLAINTEXT://{client},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{client}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "controller.quorum.bootstrap.servers": controller,
            "log.dirs": self.folder / "data",
            "auto.create.topics.enable": "false",
            "compression.type": "zstd",
            **_ONE_NODE,
            **_QUICK_RESTART,
        }

    def _format(self, properties: Path) -> None:
        command = self._command(
            "kafka.tools.StorageTool", "format", "-t", new_cluster_id(), "-c", str(properties), "--standalone"
        )
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=FORMAT_SECONDS)
        except (subprocess.SubprocessError, OSError) as error:
            output = (getattr(error, "stderr", None) or getattr(error, "output", None) or b"")[-400:]
            raise ChildError(
                f"kafka could not format {self.folder / 'data'} ({type(error).__name__}): "
                f"{output.decode(errors='replace').strip()}"
            ) from error

    def _command(self, main_class: str, *arguments: str) -> tuple[str, ...]:
        logging = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
        return (str(self.java), *SMALL_HEAP, logging, "-cp", os.fspath(self.jars / "*"), main_class, *arguments)

    def _ready(self) -> Callable[[bytes], bool]:
        bootstrap = self.bootstrap
        return lambda logged: STARTED in logged and answers(bootstrap)


_ONE_NODE: dict[str, object] = {
    "num.network.threads": 2,
    "num.io.threads": 4,
    "group.initial.rebalance.delay.ms": 0,
    "log.cleaner.dedupe.buffer.size": 16 * ONE_MIB,
    "offsets.topic.replication.factor": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "share.coordinator.state.topic.num.partitions": 4,
}
# A broker that was killed is refused until its former session has run out: 15 s by default, 4 s with these.
_QUICK_RESTART: dict[str, object] = {"broker.session.timeout.ms": 2000, "broker.heartbeat.interval.ms": 250}


def answers(bootstrap: str, seconds: float = METADATA_SECONDS) -> bool:
    """Whether the broker gives a metadata answer with at least one broker within that time."""
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    client = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0}, logger=None)
    try:
        return bool(client.list_topics(timeout=seconds).brokers)
    except KafkaException:
        return False


def new_cluster_id() -> str:
    """22 URL-safe characters; one in 64 draws would begin with `-`, which the format tool takes for an option."""
    while True:
        drawn = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not drawn.startswith("-"):
            return drawn
