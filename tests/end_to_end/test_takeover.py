"""Two streams share the partitions; one is killed, the other reads for it, and gives back when it returns."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from tests.deployment import Deployment

LAG_ZERO_S = 120.0
"""The promise is 30 s, measured by `python -m tests.crash.stack`; a machine that runs other tests beside is slower."""


class _Stream:
    """One of the two: a process with a home of its own, on the deployment's catalog, vault and topics."""

    def __init__(self, deployment: Deployment, folder: Path, partitions: str) -> None:
        self._deployment, self._home, self._partitions = deployment, folder, partitions
        self.start()

    def start(self) -> None:
        settings = self._deployment.settings
        self._home.mkdir(exist_ok=True)
        self.process = self._deployment.start_stream(
            WARDSTREAM_HOME=str(self._home),
            WARDSTREAM_CATALOG_URI=settings.catalog_uri,
            WARDSTREAM_VAULT_URI=settings.vault_uri,
            WARDSTREAM_PARTITIONS=self._partitions,
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def said(self) -> dict:
        try:
            return json.loads((self._home / "run" / "stream.json").read_text())
        except FileNotFoundError:
            return {}

    def reads(self, own: list[int], stand_in: list[int]) -> bool:
        said = self.said()
        open_now = sorted({int(p) for partitions in said.get("read", {}).values() for p in partitions})
        leases = said.get("partitions") or {}
        wanted = (sorted(own + stand_in), own, stand_in)
        return (open_now, leases.get("own"), leases.get("stand_in")) == wanted


def _wait(what: str, holds, deployment: Deployment, seconds: float) -> float:
    """Seconds until it held."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < seconds, f"{what} not within {seconds} s\n{deployment.log()}"
        time.sleep(0.1)
    return time.monotonic() - began


@pytest.mark.timeout(600)
def test_a_killed_streams_partitions_are_read_by_the_living_one_until_it_is_back(settings, tmp_path):
    with Deployment(settings) as deployment:
        one = _Stream(deployment, tmp_path / "one", "0,1")
        two = _Stream(deployment, tmp_path / "two", "2,3")
        _wait("both", lambda: one.reads([0, 1], []) and two.reads([2, 3], []), deployment, 180)
        over = threading.Event()
        playing = threading.Thread(target=deployment.play_wards_until, args=(over, 3, 40, 300.0), daemon=True)
        playing.start()
        time.sleep(3)
        two.kill()
        _wait("the takeover", lambda: one.reads([0, 1], [2, 3]), deployment, LAG_ZERO_S)
        over.set()
        playing.join()
        _wait("lag 0", lambda: one.said()["lag"] == 0, deployment, LAG_ZERO_S)
        two.start()
        _wait("the return", lambda: two.reads([2, 3], []) and one.reads([0, 1], []), deployment, LAG_ZERO_S)
        deployment.play_ward(seed=9, minutes=5, patients=10)
        for stream in (one, two):
            deployment.drain(stream.process)
        deployment.run_stream_to_the_end()
        verdict = deployment.verdict()
        assert verdict.passed, verdict.report()
