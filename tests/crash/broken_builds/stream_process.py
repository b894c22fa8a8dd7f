"""The stream as a process of its own, as it is or broken, under hands that start it, wait for it, and kill it.

Holds: these hands, and a small ward whose every part is known. Does not hold: the process (tests/forked.py), what is
broken (builds.py), servers, or any judgement.
"""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Callable, Iterator

from confluent_kafka import Consumer, TopicPartition

from infra.simulator.player import Pace
from infra.simulator.reading import Reading, encode
from infra.simulator.ward import Event
from pipelines.source import CONSUMER_GROUP, TopicFacts, read_topic_facts
from pipelines.stream import EXIT_DRAINED
from tests.crash.broken_builds.builds import BUILDS
from tests.deployment import STREAMS, VITALS, Deployment, StreamProcess

PATIENCE_S = 150.0
NEVER_S = "900"
"""A commit that is not due before a test is over."""
MINUTE_MS = 60_000
PART_MINUTES = 10


class Streams:
    """Streams of one deployment, one after another or side by side."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    def start(self, *builds: str, **variables: str) -> StreamProcess:
        """A process with these builds' faults; without any it is the product."""
        return self.deployment.start_stream(before=tuple(BUILDS[build] for build in builds), **variables)

    def read_to_the_end(self, *builds: str) -> None:
        """Start, read all there is and the alerts it gives rise to, commit it, and end well."""
        process = self.start(*builds)
        self.wait_until_read(process)
        self.drain(process)

    def drain(self, process: StreamProcess) -> None:
        process.send_signal(signal.SIGTERM)
        assert self.ended(process) == EXIT_DRAINED, self.told()

    def killed_before_its_commit(self, *builds: str) -> None:
        """Start, read all there is, commit none of it, die."""
        process = self.start(*builds, WARDSTREAM_COMMIT_SECONDS=NEVER_S)
        self.wait_until_read(process)
        process.kill()
        process.wait()

    def ended(self, process: StreamProcess) -> int | None:
        """Its exit code; None where it does not end by itself."""
        try:
            return process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            return None

    def wait_until_read(self, process: StreamProcess) -> None:
        """Until the process has read all that is in Kafka, its own alerts too."""

        def is_read() -> bool:
            assert process.poll() is None, self.told()
            status = self.deployment.status()
            before = self._facts()
            if status.get("pid") != process.pid or {s: status["read"].get(s) for s in before} != _ends(before):
                return False
            time.sleep(1.2)  # a status is a second old, and alerts on the way are read too
            return _ends(self._facts()) == _ends(before)

        self._wait(is_read)

    def wait_until_the_group_has(self, stream_name: str) -> None:
        """Until the consumer group's offsets are the topic's end."""
        fact = self._facts()[stream_name]
        consumer = Consumer(self.deployment.settings.kafka(**{"group.id": CONSUMER_GROUP}))
        asked = [TopicPartition(fact.topic, partition) for partition in fact.ranges]
        wanted = {partition: high for partition, (_, high) in fact.ranges.items() if high}

        def has() -> bool:
            return {p.partition: p.offset for p in consumer.committed(asked, timeout=30) if p.offset > 0} == wanted

        try:
            self._wait(has)
        finally:
            consumer.close()

    def _facts(self) -> dict[str, TopicFacts]:
        return read_topic_facts(self.deployment.settings, STREAMS)

    def _wait(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"{self.deployment.status()}\n{self.told()}"
            time.sleep(0.2)

    def told(self) -> str:
        return self.deployment.log()


def _ends(facts: dict[str, TopicFacts]) -> dict[str, dict[str, int]]:
    return {stream: {str(p): high for p, (_, high) in sorted(f.ranges.items())} for stream, f in sorted(facts.items())}


class Ward:
    """Four patients, one a partition, in parts of ten minutes: one is ill from minute 12 on, another for a while in
    minute 5, the others are well; one oximeter is fifty minutes ahead."""

    ILL, ILL_FOR_A_WHILE, AHEAD, WELL = 9, 10, 5, 11

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._began_ms = int(time.time() * 1000) - 120 * MINUTE_MS
        self._parts = 0

    def play_part(self) -> None:
        """The next ten minutes, as fast as they go."""
        number, self._parts = self._parts, self._parts + 1
        self._deployment.play(self._events(number), Pace(), expected_alerts=[])

    def _events(self, part: int) -> Iterator[Event]:
        for second in range(part * PART_MINUTES * 60, (part + 1) * PART_MINUTES * 60, 15):
            for patient in (self.ILL, self.ILL_FOR_A_WHILE, self.AHEAD, self.WELL):
                for code, unit in (("8867-4", "/min"), ("59408-5", "%"), ("9279-1", "/min")):
                    reading = self._reading(patient, code, unit, second)
                    yield _event(reading, "row")
                    if second % 150 == 0 and code == "9279-1":
                        yield _event(reading, "duplicate")

    def _reading(self, patient: int, code: str, unit: str, second: int) -> Reading:
        ill = (patient == self.ILL and second >= 720) or (patient == self.ILL_FOR_A_WHILE and 300 <= second < 360)
        well, unwell = {"8867-4": (80.0, 140.0), "59408-5": (97.0, 93.0), "9279-1": (15.0, 22.0)}[code]
        event_ms = self._began_ms + second * 1000
        if patient == self.AHEAD and code == "59408-5":
            event_ms = int(time.time() * 1000) + 50 * MINUTE_MS
        value = unwell if ill else well
        event_id = f"{self._began_ms}-{patient}-{code}-{second}"
        return Reading(
            event_id, f"P{patient:06d}", f"MON-{patient}", "ICU-1", code, value, None, unit, event_ms, None, second
        )


def _event(reading: Reading, fate: str) -> Event:
    patient = str(reading.patient_id)
    kind = "reading" if fate == "row" else "repeated"
    return Event(
        patient.encode(), encode(reading).encode(), kind, reading.event_id, patient, reading.event_ms, fate, None
    )


__all__ = ["VITALS", "Streams", "Ward"]
