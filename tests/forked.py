"""Streams forked from a process that has their modules loaded: a start costs no imports.

Holds: such a process, with what tests use of `subprocess.Popen`. Does not hold: what they are forked from
(fork_server.py), or when one starts (deployment.py). As its supervisor starts it, imports and all, the stream runs in
end_to_end/test_readme.py.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LOOK_AGAIN_S = 0.02


@dataclass(frozen=True, slots=True)
class Orders:
    """What one process is to be.

    Attributes:
        arguments: of `python -m pipelines.stream`.
        environment: the whole of it.
        log: what it prints is appended there.
        before: functions of modules, called in the process before the stream starts.
    """

    arguments: tuple[str, ...]
    environment: dict[str, str]
    log: Path
    before: tuple[Callable[[], None], ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """Whether a child has ended."""

    pid: int


def heeded(variables: Iterable[str]) -> bool:
    """Whether a process that runs already can heed them: what is not ours is for the interpreter or its loader."""
    return all(name.startswith("WARDSTREAM_") for name in variables)


class ForkedStream:
    """A running stream. It ends with the process that started it, kill -9 included."""

    def __init__(self, orders: Orders) -> None:
        self.pid: int = _server().ask(orders)
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit code; None while it runs. Negative: the signal that ended it."""
        if self._code is None:
            self._code = _server().ask(Asked(self.pid))
        return self._code

    def wait(self, timeout: float = float("inf")) -> int:
        """The exit code. Raises `subprocess.TimeoutExpired`."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("pipelines.stream", timeout)
            time.sleep(LOOK_AGAIN_S)
        return code

    def send_signal(self, number: int) -> None:
        """Nobody else can have its pid: it is given back by the `poll` that finds it ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Server:
    """The line to the process that streams are forked from."""

    def __init__(self) -> None:
        # Without compiled files its imports would take four times as long.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._lock = threading.Lock()

    def ask(self, question: Orders | Asked) -> Any:
        with self._lock:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            pickle.dump(question, self._process.stdin)
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)


@cache
def _server() -> _Server:
    """This process's, started when first needed."""
    return _Server()
