"""All parts at once, with the real stream and Dagster; and the supervisor killed while they run."""

from __future__ import annotations

import os
import signal
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra.cli.lifecycle import down, health, up
from infra.services.home import PidFile
from infra.services.ports import dagster_ports, kafka_ports, store_ports, taken
from warehouse.settings import Settings

LEAVES_WITHIN_SECONDS = 5


@pytest.fixture
def home(tmp_path: Path, cache: Path, kafka_jars: Path, free_port_base: Callable[[], int]) -> Iterator[Settings]:
    given = {"WARDSTREAM_HOME": str(tmp_path / "home"), "WARDSTREAM_CACHE": str(cache)}
    settings = Settings.from_environment({**given, "WARDSTREAM_PORT_BASE": str(free_port_base())})
    yield settings
    if pid := PidFile(settings).holder():
        os.kill(pid, signal.SIGKILL)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _listening(family: list[psutil.Process]) -> set[str]:
    return {
        connection.laddr.ip.removeprefix("::ffff:")
        for process in family
        for connection in process.net_connections("tcp")
        if connection.status == "LISTEN"
    }


@pytest.mark.crash
@pytest.mark.timeout(600)
def test_everything_comes_up_on_the_loopback_and_ends_within_seconds_of_a_kill(home: Settings) -> None:
    told: list[str] = []
    assert up(home, tell=told.append) == 0, "\n".join(told)
    assert health(home)["stream"]["lag"] == 0
    dagster = next(part["url"] for part in health(home)["parts"] if part["name"] == "dagster-web")
    assert urllib.request.urlopen(dagster, timeout=20).status == 200

    supervisor = psutil.Process(PidFile(home).holder())
    family = supervisor.children(recursive=True)
    assert _listening(family) == {"127.0.0.1"}
    supervisor.kill()
    deadline = time.monotonic() + LEAVES_WITHIN_SECONDS
    wanted = kafka_ports(home.port_base) | store_ports(home.port_base) | dagster_ports(home.port_base)
    while any(_lives(process) for process in family) or taken(wanted):
        assert time.monotonic() < deadline, [process for process in family if _lives(process)] or taken(wanted)
        time.sleep(0.05)

    assert up(home, ("kafka", "store", "contracts", "stream"), tell=told.append) == 0, "\n".join(told)
    assert down(home, tell=told.append) == 0
