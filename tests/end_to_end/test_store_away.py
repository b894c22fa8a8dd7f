"""The object store away: at the start the stream waits and says so; later alerts go on and the lake catches up."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from infra.services.processes import Child
from infra.services.store import EmbeddedStore
from tests.conftest import READER, WRITER
from tests.deployment import Deployment
from tests.oracle.alert_message import read_alerts
from tests.oracle.kafka_log import read_topic
from warehouse.settings import Settings

pytestmark = pytest.mark.end_to_end


AWAY_S = 32.0
"""How long the store stays away at least."""
BOUND_S = 20.0
"""From a reading's append to its alert's: much for a loaded machine, and less than the store is away."""


@pytest.fixture
def own_store(free_port_base: Callable[[], int], tmp_path: Path) -> Iterator[tuple[EmbeddedStore, Child]]:
    """A store of this test's own, to be stopped."""
    store = EmbeddedStore(tmp_path / "store", free_port_base(), "warehouse", WRITER, READER)
    child = Child.start(store.program(tmp_path / "store.log"))
    try:
        child.wait_ready()
        yield store, child
    finally:
        child.kill()


@pytest.mark.timeout(420)
def test_alerts_go_on_while_the_store_is_away_and_the_lake_catches_up(settings, own_store):
    store, child = own_store
    settings = replace(settings, s3_endpoint=store.endpoint, lake_queue_bytes=1 << 20, commit_seconds=0.5)
    over = threading.Event()
    with Deployment(settings) as deployment:
        stream = deployment.start_stream()
        deployment.wait_for("the stream", lambda s: s.get("state") == "running", 120)
        wards = threading.Thread(target=deployment.play_wards_until, args=(over, 41, 40, 1_000.0, 90), daemon=True)
        wards.start()
        deployment.wait_for("a commit", lambda s: s["lake"]["tables"]["vitals"]["commits"] > 1, 60)
        os.kill(child.pid, signal.SIGSTOP)
        left_s = time.time()
        try:
            deployment.wait_for("letting go", lambda s: s["lake"]["apart"], 90)
            told, read = sum(deployment.status()["alerts"].values()), deployment.status()["counts"]["messages"]
            deployment.wait_for("further alerts", lambda s: sum(s["alerts"].values()) >= told + 5, 60)
            assert deployment.status()["counts"]["messages"] > read
            deployment.wait_for("a long absence", lambda s: time.time() - left_s > AWAY_S, 2 * AWAY_S)
        finally:
            os.kill(child.pid, signal.SIGCONT)
        over.set()
        wards.join()
        deployment.wait_for("meeting the live position", lambda s: not s["lake"]["apart"] and s["lag"] == 0, 120)
        deployment.drain(stream)
        deployment.run_stream_to_the_end()
        verdict = deployment.verdict()
        # An alert that waited for the lake would come after the store: later than the bound, for these readings.
        told_s = alert_latencies_s(settings, left_s, left_s + AWAY_S - BOUND_S)
    assert verdict.passed, verdict.report()
    assert len(told_s) >= 3, "too few alerts were due for a latency to say anything"
    assert max(told_s) < BOUND_S


def alert_latencies_s(settings: Settings, since_s: float, until_s: float) -> np.ndarray:
    """Seconds from the append of a reading to that of its alert, for readings appended in this span of time."""
    topic = settings.topic("clinical.alerts")
    log = read_topic({"bootstrap.servers": settings.kafka_bootstrap}, "clinical.alerts", topic, read_alerts).log
    told, caused = (log[name].cast(pa.int64()).to_numpy() / 1e6 for name in ("appended", "appended_at"))
    return (told - caused)[(caused >= since_s) & (caused < until_s)]


def test_a_stream_that_starts_without_its_store_waits_says_so_and_goes_on(settings, own_store):
    store, child = own_store
    settings = replace(settings, s3_endpoint=store.endpoint)
    with Deployment(settings) as deployment:
        deployment.play_ward(seed=42, minutes=5, patients=4)
        os.kill(child.pid, signal.SIGSTOP)
        try:
            stream = deployment.start_stream()
            deployment.wait_for("its word for waiting", lambda s: s.get("state") == "waiting" and s["reason"], 120)
        finally:
            os.kill(child.pid, signal.SIGCONT)
        deployment.wait_for("lag 0", lambda s: s.get("state") == "running" and s.get("lag") == 0, 120)
        deployment.drain(stream)
        deployment.run_stream_to_the_end()
        verdict = deployment.verdict()
    assert verdict.passed, verdict.report()
