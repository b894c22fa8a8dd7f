"""`up`, `down` and `status` with the real broker and store, and a supervisor that is killed."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra.cli.lifecycle import down, status, up
from infra.services.home import PidFile, read_state
from infra.services.ports import kafka_ports, store_ports, taken
from warehouse.settings import Settings

SERVERS = ("kafka", "store")


@pytest.fixture
def home(tmp_path: Path, cache: Path, kafka_jars: Path, free_port_base: Callable[[], int]) -> Iterator[Settings]:
    given = {"WARDSTREAM_HOME": str(tmp_path / "home"), "WARDSTREAM_CACHE": str(cache)}
    settings = Settings.from_environment({**given, "WARDSTREAM_PORT_BASE": str(free_port_base())})
    yield settings
    if pid := PidFile(settings).holder():
        os.kill(pid, signal.SIGKILL)


def _family(settings: Settings) -> list[psutil.Process]:
    supervisor = psutil.Process(PidFile(settings).holder())
    return [supervisor, *supervisor.children(recursive=True)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_up_twice_then_down_leaves_nothing(home: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[str] = []
    assert status(home) == 3
    assert up(home, SERVERS, tell=told.append) == 0
    family = _family(home)
    assert len(family) == 3
    assert up(home, SERVERS, tell=told.append) == 0
    assert "already up" in told[-1]
    capsys.readouterr()
    assert status(home, as_json=True) == 0
    said = json.loads(capsys.readouterr().out)
    assert {part["name"]: part["state"] for part in said["parts"]} == {"kafka": "up", "store": "up"}
    assert down(home, tell=told.append) == 0
    assert not any(_lives(process) for process in family)
    assert status(home) == 3


def test_a_killed_supervisor_leaves_no_process_and_no_port_and_up_works_again(home: Settings) -> None:
    assert up(home, SERVERS, tell=lambda line: None) == 0
    family = _family(home)
    family[0].kill()
    deadline = time.monotonic() + 5
    wanted = kafka_ports(home.port_base) | store_ports(home.port_base)
    while any(_lives(process) for process in family) or taken(wanted):
        assert time.monotonic() < deadline, [process for process in family if _lives(process)] or taken(wanted)
        time.sleep(0.05)
    assert status(home) == 3
    assert up(home, SERVERS, tell=lambda line: None) == 0
    assert read_state(home)["pid"] == PidFile(home).holder()
    assert down(home, tell=lambda line: None) == 0


def test_a_part_that_cannot_start_fails_up_with_the_reason(home: Settings, tmp_path: Path) -> None:
    file = tmp_path / "no-folder"
    file.write_text("")
    environment = {"WARDSTREAM_HOME": str(home.home), "WARDSTREAM_CACHE": str(file)}
    settings = Settings.from_environment({**environment, "WARDSTREAM_PORT_BASE": str(home.port_base)})
    told: list[str] = []
    assert up(settings, ("kafka",), tell=told.append) == 1
    assert "WARDSTREAM_CACHE" in told[-1]
    assert status(settings) == 3


def test_down_when_nothing_is_up_is_no_error(home: Settings) -> None:
    told: list[str] = []
    assert down(home, tell=told.append) == 0
    assert told == ["not up"]
