"""Start, watch and end one child process so that it never outlives the one who started it.

Holds: a program (what to run, where it logs, when it is ready) and a child (that program running).
Does not hold: any particular program, nor the order and the restarts of several (supervisor).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from infra.services import tether
from infra.services.ports import require_free

READY_SECONDS = 120.0
"""Time-out for a start. A loaded machine starts a broker in 18 s that takes 3 s otherwise."""

POLL_SECONDS = 0.05
KILL_SECONDS = 5.0
LOG_BYTES = 16 << 20


class ChildError(RuntimeError):
    """A child did not start, died while starting, or was not ready in time. The message names its log."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run. `forks` is true for a program that starts others, which must end with it.

    `ready` gets the bytes that the program has logged since its start and says whether it can be used;
    it may ask the program itself. `ports` (port to purpose) must be free before the start.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    folder: Path | None = None
    ports: Mapping[int, str] = field(default_factory=dict)
    forks: bool = False
    ready: Callable[[bytes], bool] = lambda logged: True
    ready_seconds: float = READY_SECONDS
    stop_seconds: float = 10.0


class Child:
    """A program that was started. Ends with the process that started it, kill -9 included."""

    def __init__(self, program: Program, process: subprocess.Popen[bytes], log_start: int) -> None:
        self.program = program
        self._process = process
        self._log_start = log_start

    @classmethod
    def start(cls, program: Program) -> Child:
        """Start without waiting for readiness. Only from the main thread: death signals hang on the thread.

        Raises `PortTakenError`, `ChildError`.
        """
        if threading.current_thread() is not threading.main_thread():
            raise ChildError(f"{program.name} must be started from the main thread, else it ends with another one")
        require_free(program.ports)
        _make_room(program.log)
        with open(program.log, "ab") as log:
            log_start = log.tell()
            process = subprocess.Popen(
                [sys.executable, "-IS", tether.__file__, _mode(program), str(os.getpid()), *program.command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=program.folder,
                env={**os.environ, **program.environment},
                start_new_session=True,
            )
        return cls(program, process, log_start)

    @property
    def pid(self) -> int:
        """The process to signal. For a forking program its tether."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; 128 + n, or -n, when signal n ended it."""
        return self._process.poll()

    @property
    def alive(self) -> bool:
        return self.exit_code is None

    def is_ready(self) -> bool:
        """One readiness test, without waiting. Raises `ChildError` if it has died."""
        if not self.alive:
            raise ChildError(
                f"{self.program.name} ended with code {self.exit_code} while starting; see {self.program.log}"
            )
        return self.program.ready(self.logged())

    def wait_ready(self, tick: Callable[[], None] = lambda: None) -> None:
        """Block until ready, calling `tick` between tests. Raises `ChildError` on death or time-out."""
        deadline = time.monotonic() + self.program.ready_seconds
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise ChildError(
                    f"{self.program.name} was not ready within {self.program.ready_seconds:.0f} s; "
                    f"see {self.program.log}"
                )
            tick()
            time.sleep(POLL_SECONDS)

    def wait(self, seconds: float) -> bool:
        """Whether it ended within that time."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def ask_to_stop(self) -> None:
        """Send SIGTERM and return."""
        self._send(signal.SIGTERM)

    def stop(self, seconds: float | None = None) -> bool:
        """Ask it to end, wait, then kill. True when it ended by itself."""
        self.ask_to_stop()
        ended = self.wait(self.program.stop_seconds if seconds is None else seconds)
        self.kill()
        return ended

    def kill(self) -> None:
        """End it and all that it started, now."""
        if self.program.forks:
            self._send(tether.PARENT_DIED)
            self.wait(KILL_SECONDS)
        self._send(signal.SIGKILL)
        self._process.wait()

    def logged(self) -> bytes:
        """What it has logged since this start."""
        with open(self.program.log, "rb") as log:
            log.seek(self._log_start)
            return log.read()

    def bound_log(self) -> None:
        """Keep a log that has grown past `LOG_BYTES` as the one older log; the program writes on into an empty one.

        What it writes during the copy may be missing from both. Does nothing where the log cannot be had.
        """
        log = self.program.log
        with contextlib.suppress(OSError):
            if log.stat().st_size > LOG_BYTES:
                shutil.copyfile(log, _older(log))
                os.truncate(log, 0)
                self._log_start = 0

    def _send(self, how: int) -> None:
        if self.alive:
            self._process.send_signal(how)


def _make_room(log: Path) -> None:
    """One older log is kept, so that restarts do not fill the disk."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(_older(log))


def _older(log: Path) -> Path:
    return log.with_suffix(".old.log")


def _mode(program: Program) -> str:
    return "tree" if program.forks else "exec"
