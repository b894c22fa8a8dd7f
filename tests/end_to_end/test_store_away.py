"""The object store away: at the start the stream waits and says so; later alerts go on and the lake catches up."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.services.processes import Child
from infra.services.store import EmbeddedStore
from tests.conftest import READER, WRITER
from tests.deployment import Deployment

pytestmark = pytest.mark.end_to_end


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
        wards = threading.Thread(target=deployment.play_wards_until, args=(over, 41, 40, 1_000.0), daemon=True)
        wards.start()
        deployment.wait_for("a commit", lambda s: s["lake"]["tables"]["vitals"]["commits"] > 1, 60)
        os.kill(child.pid, signal.SIGSTOP)
        try:
            deployment.wait_for("letting go", lambda s: s["lake"]["apart"], 90)
            told, read = sum(deployment.status()["alerts"].values()), deployment.status()["counts"]["messages"]
            deployment.wait_for("further alerts", lambda s: sum(s["alerts"].values()) >= told + 5, 60)
            assert deployment.status()["counts"]["messages"] > read
        finally:
            os.kill(child.pid, signal.SIGCONT)
        over.set()
        wards.join()
        deployment.wait_for("meeting the live position", lambda s: not s["lake"]["apart"] and s["lag"] == 0, 120)
        deployment.drain(stream)
        deployment.run_stream_to_the_end()
        verdict = deployment.verdict()
    assert verdict.passed, verdict.report()


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
