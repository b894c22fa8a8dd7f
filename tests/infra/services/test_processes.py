"""Children end with the one who started them, whatever they forked and however it ended."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from infra.services import processes
from infra.services.ports import PortTakenError
from infra.services.processes import Child, ChildError, Program

LISTEN = (
    "import socket,sys,time; s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1);"
    "s.bind(('127.0.0.1',int(sys.argv[1]))); s.listen(); print('ready',flush=True); time.sleep(600)"
)
FORK = (
    "import subprocess,sys,time; p=subprocess.Popen([sys.executable,'-c',*sys.argv[1:]],start_new_session=True);"
    "time.sleep(600)"
)
STARTER = """
import sys, time
from pathlib import Path
from infra.services.processes import Child, Program
program = Program("child", tuple(sys.argv[3:]), Path(sys.argv[2]), forks=sys.argv[1] == "tree",
                  ready=lambda logged: b"ready" in logged)
Child.start(program).wait_ready()
print("up", flush=True)
time.sleep(600)
"""


def _program(tmp_path: Path, *command: str, **rest) -> Program:
    return Program("child", command, tmp_path / "child.log", **rest)


def _python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


def _within(seconds: float, holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _lives(process: psutil.Process) -> bool:
    """A zombie that nobody has collected yet holds no port and runs no code."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(
    ("mode", "command"),
    [("exec", _python(LISTEN)), ("tree", _python(FORK, LISTEN))],
    ids=["a-child", "a-grandchild-in-its-own-session"],
)
def test_nothing_outlives_a_starter_that_was_killed(
    tmp_path: Path, free_port_base: Callable[[], int], mode: str, command: tuple[str, ...]
) -> None:
    port = free_port_base()
    starter = subprocess.Popen(
        [*_python(STARTER, mode, str(tmp_path / "log")), *command, str(port)], stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout is not None
    assert starter.stdout.readline() == "up\n"
    family = psutil.Process(starter.pid).children(recursive=True)
    assert any(c.laddr.port == port for process in family for c in process.net_connections("tcp"))
    starter.kill()
    starter.wait()
    starter.stdout.close()
    left = not _within(5, lambda: not any(_lives(process) for process in family))
    for process in filter(_lives, family):
        process.kill()
    assert not left


def test_a_forking_program_takes_its_children_with_it_when_it_crashes(tmp_path: Path) -> None:
    code = (
        "import os,subprocess,sys; p=subprocess.Popen(['sleep','600'],start_new_session=True);"
        "print(p.pid,flush=True); os._exit(3)"
    )
    child = Child.start(_program(tmp_path, *_python(code), forks=True))
    assert child.wait(20)
    assert child.exit_code == 3
    assert not psutil.pid_exists(int(child.logged()))


def test_sigterm_reaches_the_program_through_its_tether(tmp_path: Path) -> None:
    code = "import signal,time; signal.signal(15,lambda *_: exit(7)); print('ready',flush=True); time.sleep(600)"
    child = Child.start(_program(tmp_path, *_python(code), forks=True, ready=lambda logged: b"ready" in logged))
    child.wait_ready()
    assert child.stop(20)
    assert child.exit_code == 7


def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    code = "import signal,time; signal.signal(15,signal.SIG_IGN); print('ready',flush=True); time.sleep(600)"
    child = Child.start(_program(tmp_path, *_python(code), ready=lambda logged: b"ready" in logged))
    child.wait_ready()
    assert not child.stop(0.2)
    assert child.exit_code == -signal.SIGKILL


def test_a_taken_port_is_named_with_its_purpose_and_the_variable(tmp_path: Path, free_port_base) -> None:
    port = free_port_base()
    holder = Child.start(_program(tmp_path, *_python(LISTEN, str(port)), ready=lambda logged: b"ready" in logged))
    try:
        holder.wait_ready()
        with pytest.raises(PortTakenError, match=rf"{port} for a test.*WARDSTREAM_PORT_BASE"):
            Child.start(_program(tmp_path, "true", ports={port: "a test"}))
    finally:
        holder.kill()


def test_a_child_that_dies_while_starting_is_reported_with_its_log(tmp_path: Path) -> None:
    child = Child.start(_program(tmp_path, *_python("exit(4)"), ready=lambda logged: False))
    with pytest.raises(ChildError, match=r"ended with code 4 .*child\.log"):
        child.wait_ready()


def test_a_child_that_never_gets_ready_is_reported(tmp_path: Path) -> None:
    child = Child.start(_program(tmp_path, "sleep", "600", ready=lambda logged: False, ready_seconds=0.2))
    with pytest.raises(ChildError, match="not ready within"):
        child.wait_ready()
    child.kill()


def test_readiness_looks_only_at_what_this_start_logged(tmp_path: Path) -> None:
    (tmp_path / "child.log").write_text("ready, long ago\n")
    child = Child.start(_program(tmp_path, "sleep", "600", ready=lambda logged: b"ready" in logged))
    try:
        assert not child.is_ready()
    finally:
        child.kill()


def test_a_start_from_another_thread_is_refused(tmp_path: Path) -> None:
    refused: list[ChildError] = []

    def start() -> None:
        try:
            Child.start(_program(tmp_path, "true"))
        except ChildError as error:
            refused.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in str(refused[0])


def test_a_log_is_bounded_while_its_program_writes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LOG_BYTES", 1_000)
    code = "import time\nfor n in range(10**6): print('line', n, flush=True); time.sleep(0.002)"
    child = Child.start(_program(tmp_path, *_python(code)))
    try:
        assert _within(20, lambda: child.program.log.stat().st_size > 1_000)
        child.bound_log()
        assert child.program.log.stat().st_size < 1_000
        assert b"line 0\n" in child.program.log.with_suffix(".old.log").read_bytes()
        assert _within(20, lambda: child.logged().startswith(b"line "))
        assert b"\0" not in child.logged()
    finally:
        child.kill()
