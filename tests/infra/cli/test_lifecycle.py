"""`up`, `down` and `status` with the real broker and store, and a supervisor that is killed."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra.cli import lifecycle
from infra.cli.lifecycle import down, health, status, up
from infra.services.home import PidFile, read_state, report_path, run_folder, state_path, write_state
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
    assert told[-1] == f"up: Kafka {home.kafka_bootstrap}, S3 {home.s3_endpoint}"
    family = _family(home)
    assert len(family) == 3
    assert up(home, ("store",), tell=told.append) == 0
    assert "already up" in told[-1]
    assert up(home, ("store", "dagster"), tell=told.append) == 1
    assert "with kafka, store, without dagster-code" in told[-1]
    _another_home_does_not_start_on_the_same_ports(home)
    capsys.readouterr()
    assert status(home, as_json=True) == 0
    said = json.loads(capsys.readouterr().out)
    assert {part["name"]: part["state"] for part in said["parts"]} == {"kafka": "up", "store": "up"}
    assert down(home, tell=told.append) == 0
    assert told[-2:] == ["ending", "down"]
    assert not any(_lives(process) for process in family)
    assert health(home)["reason"] == ""


def _another_home_does_not_start_on_the_same_ports(home: Settings) -> None:
    other = dataclasses.replace(home, home=home.home.with_name("other"))
    told: list[str] = []
    assert up(other, SERVERS, tell=told.append) == 1
    base = home.port_base
    assert told[0].startswith(f"could not come up: ports {base + 33} to {base + 93} are in use")
    assert f"now {base}" in told[0]
    assert not other.home.exists(), "nothing was started"


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
    assert "ended without `wardstream down`" in health(home)["reason"]
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


@pytest.fixture
def elsewhere(tmp_path: Path, free_port_base: Callable[[], int]) -> Settings:
    base = str(free_port_base())
    return Settings.from_environment({"WARDSTREAM_HOME": str(tmp_path / "home"), "WARDSTREAM_PORT_BASE": base})


def test_ctrl_c_while_it_starts_says_that_it_goes_on_and_how_to_end_it(elsewhere: Settings, monkeypatch) -> None:
    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lifecycle, "_start_supervisor", lambda *_: None)
    monkeypatch.setattr(lifecycle, "_follow", pressed)
    told: list[str] = []
    assert up(elsewhere, SERVERS, tell=told.append) == 130
    assert "`wardstream down`" in told[-1]


def test_status_fits_in_eighty_columns_and_shows_why_the_stream_waits(elsewhere: Settings, capsys) -> None:
    supervisor = PidFile(elsewhere)
    supervisor.acquire()
    names = ("kafka", "store", "contracts", "stream", "dagster-code", "dagster-web", "dagster-daemon")
    part = {"state": "restarting", "reason": "", "pid": 1_234_567, "since": 1.7e9, "restarts": 3}
    parts = [{**part, "name": name, "url": "http://127.0.0.1:45080"} for name in names]
    parts[3] |= {"state": "waiting", "reason": "broker 127.0.0.1:45092: _TRANSPORT"}
    write_state(state_path(elsewhere), {"state": "degraded", "parts": parts})
    said = {"at": 1.7e9, "state": "waiting", "reason": "broker 127.0.0.1:45092: _TRANSPORT", "lag": 0}
    write_state(report_path(elsewhere), said)
    assert status(elsewhere) == 1
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines()[1:])) <= 80
    assert "stream: broker 127.0.0.1:45092: _TRANSPORT\n" in out
    assert "stream: waiting, lag 0 messages when last known\n" in out
    assert run_folder(elsewhere).exists()
    supervisor.release()
