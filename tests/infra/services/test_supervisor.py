"""Starting in order, restarting, giving up, ending; with small stand-ins for the real parts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from infra.services.home import AlreadyUpError, PidFile, read_state, run_folder
from infra.services.parts import PARTS, Part, has_begun, plan_parts
from infra.services.processes import Program
from infra.services.supervisor import Supervisor, SupervisorError, wanted_parts
from warehouse.settings import SettingError, Settings

SLEEP = "import time; time.sleep(600)"
STREAM = """
import json, os, pathlib, signal, sys, time
report, mode = pathlib.Path(sys.argv[1]), sys.argv[2]
def write(offset, state="running", lag=0):
    said = {"at": time.time(), "state": state, "reason": "" if state == "running" else "the store", "lag": lag,
            "next": {"device.vitals": {"0": offset}}}
    report.with_suffix(".new").write_text(json.dumps(said))
    report.with_suffix(".new").replace(report)
deaths = report.with_name("deaths")
count = int(deaths.read_text()) if deaths.exists() else 0
deaths.write_text(str(count + 1))
signal.signal(signal.SIGTERM, lambda *_: (report.with_name("drained").touch(), sys.exit(0)))
if mode == "dies": write(7); sys.exit(3)
if mode == "gets-on-once" and count < 1: write(count); sys.exit(3)
if mode == "refuses": sys.exit(2)
while True:
    write(9, {"waits": "waiting", "reads": "starting"}.get(mode, "running")); time.sleep(0.2)
"""


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    return Settings.from_environment({"WARDSTREAM_HOME": str(tmp_path / "home")})


def _part(home: Settings, name: str, code: str, *arguments: str, needs=(), finishes=False, **rest) -> Part:
    log = run_folder(home) / f"{name}.log"
    program = Program(name, (sys.executable, "-c", code, *arguments), log, stop_seconds=20, **rest)
    return Part(name, lambda: program, needs=needs, finishes=finishes)


def _stream(home: Settings, mode: str) -> Part:
    report = run_folder(home) / "stream.json"
    return _part(home, "stream", STREAM, str(report), mode, forks=True, ready=lambda logged: has_begun(home))


def _tick_until(supervisor: Supervisor, holds: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, supervisor.reason
        supervisor.tick()
        time.sleep(0.05)


def _states(home: Settings) -> dict[str, str]:
    return {part["name"]: part["state"] for part in read_state(home).get("parts", [])}


def _restarts(home: Settings) -> int:
    return sum(part["restarts"] for part in read_state(home).get("parts", []))


def test_parts_start_after_what_they_need_and_end_with_the_supervisor(home: Settings) -> None:
    told: list[str] = []
    parts = (
        _part(home, "contracts", "print('done')", needs=("kafka",), finishes=True),
        _part(home, "kafka", SLEEP),
        _stream(home, "runs"),
    )
    parts[2].needs = ("contracts",)
    before = set(psutil.Process().children(recursive=True))
    with Supervisor(home, parts, told.append) as supervisor:
        supervisor.start()
        assert supervisor.state == "up"
        started = set(psutil.Process().children(recursive=True)) - before
    assert len(started) == 3
    starts = [line.split(":")[0] for line in told if "starting" in line]
    assert starts == ["kafka", "contracts", "stream"]
    assert not any(process.is_running() for process in started)
    assert (run_folder(home) / "drained").exists()
    assert read_state(home)["state"] == "stopped"


def test_a_stream_that_dies_is_restarted(home: Settings) -> None:
    with Supervisor(home, (_stream(home, "gets-on-once"),)) as supervisor:
        _tick_until(supervisor, lambda: _restarts(home) == 1 and supervisor.state == "up")
        assert (run_folder(home) / "deaths").read_text() == "2"


def test_three_deaths_at_the_same_offset_end_in_stopped_with_the_reason(home: Settings) -> None:
    with Supervisor(home, (_stream(home, "dies"),)) as supervisor:
        _tick_until(supervisor, lambda: supervisor.state == "failed")
        assert "code 3" in supervisor.reason
        assert (run_folder(home) / "deaths").read_text() == "3"
    assert read_state(home)["state"] == "failed"
    assert "3 deaths without progress" in str(read_state(home)["reason"])


def test_a_stream_whose_settings_are_wrong_is_not_started_again(home: Settings) -> None:
    with Supervisor(home, (_stream(home, "refuses"),)) as supervisor, pytest.raises(SupervisorError, match="code 2"):
        supervisor.start()
    assert (run_folder(home) / "deaths").read_text() == "1"


def test_a_stream_that_waits_for_the_lake_is_shown_and_left_alone(home: Settings) -> None:
    with Supervisor(home, (_stream(home, "waits"),)) as supervisor:
        _tick_until(supervisor, lambda: _states(home).get("stream") == "waiting")
        assert supervisor.state == "degraded"
        assert supervisor.reason == "stream: the store"


def test_a_stream_that_reads_the_lake_for_long_is_starting_still_and_says_what_it_does(home: Settings) -> None:
    with Supervisor(home, (_stream(home, "reads"),)) as supervisor:
        _tick_until(supervisor, lambda: read_state(home).get("parts", [{}])[0].get("reason") == "the store")
        assert _states(home) == {"stream": "starting"}
        assert not supervisor.was_up


def test_a_broker_that_is_killed_comes_back(home: Settings) -> None:
    with Supervisor(home, (_part(home, "kafka", SLEEP),)) as supervisor:
        supervisor.start()
        first = read_state(home)["parts"][0]["pid"]
        psutil.Process(first).kill()
        _tick_until(supervisor, lambda: supervisor.state == "degraded")
        assert "ended with code -9, SIGKILL; see " in supervisor.reason
        _tick_until(supervisor, lambda: supervisor.state == "up")
        assert read_state(home)["parts"][0]["pid"] != first


def test_contracts_that_cannot_be_applied_fail_the_start_with_their_last_word(home: Settings) -> None:
    code = "import sys; print('no broker answers', file=sys.stderr); sys.exit(1)"
    contracts = _part(home, "contracts", code, finishes=True)
    with (
        Supervisor(home, (contracts,)) as supervisor,
        pytest.raises(SupervisorError, match=r"no broker answers \(ended with code 1\)"),
    ):
        supervisor.start()


def test_a_taken_port_fails_the_start_with_port_and_variable(home: Settings) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        part = _part(home, "kafka", SLEEP, ports={port: "Kafka"})
        with (
            Supervisor(home, (part,)) as supervisor,
            pytest.raises(SupervisorError, match=f"{port} for Kafka.*PORT_BASE"),
        ):
            supervisor.start()


def test_a_home_has_one_supervisor(home: Settings) -> None:
    with Supervisor(home, ()):
        assert PidFile(home).holder() == os.getpid()
        with pytest.raises(AlreadyUpError, match=str(os.getpid())):
            Supervisor(home, ()).__enter__()
    assert PidFile(home).holder() is None


def test_the_pid_file_of_a_killed_supervisor_means_nothing(home: Settings) -> None:
    code = (
        "import time; from infra.services.home import PidFile; from warehouse.settings import Settings;"
        "pid_file = PidFile(Settings.from_environment()); pid_file.acquire();"
        "print('held', flush=True); time.sleep(600)"
    )
    environment = {**os.environ, "WARDSTREAM_HOME": str(home.home)}
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    assert other.stdout is not None
    assert other.stdout.readline() == "held\n"
    assert PidFile(home).holder() == other.pid
    other.kill()
    other.communicate()
    assert PidFile(home).holder() is None
    with Supervisor(home, ()):
        assert PidFile(home).holder() == os.getpid()


def test_what_a_site_runs_itself_is_not_started(tmp_path: Path) -> None:
    given = {
        "WARDSTREAM_HOME": str(tmp_path),
        "WARDSTREAM_KAFKA_BOOTSTRAP": "b:1",
        "WARDSTREAM_S3_ENDPOINT": "http://s:1",
    }
    names = [part.name for part in plan_parts(Settings.from_environment(given), PARTS, lambda line: None)]
    assert names == ["contracts", "stream", "dagster-code", "dagster-web", "dagster-daemon"]


def test_prism_is_a_part_only_where_it_is_the_runner_and_ours(tmp_path: Path) -> None:
    def names(**given: str) -> list[str]:
        settings = Settings.from_environment({"WARDSTREAM_HOME": str(tmp_path), **given})
        return [part.name for part in plan_parts(settings, ("stream",), lambda line: None)]

    assert names() == ["stream"]
    assert names(WARDSTREAM_RUNNER="prism") == ["prism", "stream"]
    assert names(WARDSTREAM_RUNNER="prism", WARDSTREAM_PRISM_ENDPOINT="elsewhere:1") == ["stream"]


def test_an_unknown_part_is_refused_with_those_there_are() -> None:
    assert wanted_parts("kafka, store") == ("kafka", "store")
    with pytest.raises(SettingError, match="no such part: broker; parts are kafka, store"):
        wanted_parts("broker")


def test_the_state_file_is_always_whole(home: Settings) -> None:
    with Supervisor(home, (_part(home, "kafka", SLEEP),)) as supervisor:
        supervisor.start()
        said = json.loads((run_folder(home) / "supervisor.json").read_text())
    assert said["pid"] == os.getpid()
    assert said["parts"][0]["name"] == "kafka"
