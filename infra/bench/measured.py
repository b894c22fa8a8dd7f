"""Processes that a benchmark starts and accounts for: CPU seconds, peak memory, what they print.

Holds: starting with a death signal, the kernel's own accounts (`wait4`, `/proc`). Linux only.
Does not hold: what is run, or any server (infra/services).

`ru_maxrss` of a child never reads less than its parent's own peak (it is a fork of it). So the benchmark's process
stays small: whatever needs memory runs as a process of its own.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.services import tether

ROOT = Path(__file__).parents[2]
POLL_S = 0.02
_TICKS = os.sysconf("SC_CLK_TCK")


class ProcessError(RuntimeError):
    """A process of the benchmark failed or did not end in time. The message names its log."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process used, from its start to its end.

    Attributes:
        cpu_s: user and system seconds of all its threads.
        peak_bytes: its largest resident set.
        wall_s: seconds from start to end.
    """

    exit_code: int
    cpu_s: float
    peak_bytes: int
    wall_s: float


class MeasuredProcess:
    """A Python module run as a process. Ends with its starter. Standard output goes to a file, errors to the log."""

    def __init__(
        self, module: str, arguments: Sequence[str], environment: Mapping[str, str], output: Path, log: Path
    ) -> None:
        self.module, self.output, self.log = module, output, log
        self._usage: Usage | None = None
        command = [sys.executable, "-IS", tether.__file__, "exec", str(os.getpid())]
        with output.open("wb") as out, log.open("ab") as errors:
            self._process = subprocess.Popen(
                [*command, sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=errors,
                start_new_session=True,
            )
        self._started = time.monotonic()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self, seconds: float) -> Usage:
        """What it used, once it has ended. Raises `ProcessError` if it does not in time (it is killed then)."""
        deadline = time.monotonic() + seconds
        while (usage := self.ended()) is None:
            if time.monotonic() > deadline:
                self.kill()
                raise ProcessError(f"{self.module} did not end within {seconds:.0f} s; see {self.log}")
            time.sleep(POLL_S)
        return usage

    def ended(self) -> Usage | None:
        """What it used if it has ended, else None."""
        if self._usage is None:
            pid, status, used = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self._note_end(status, used)
        return self._usage

    def stop(self, seconds: float) -> Usage:
        """Ask it to end, and wait."""
        if self.ended() is None:
            os.kill(self.pid, signal.SIGTERM)
        return self.wait(seconds)

    def kill(self) -> None:
        """End it now; nothing happens if it has ended."""
        if self.ended() is None:
            os.kill(self.pid, signal.SIGKILL)
            _, status, used = os.wait4(self.pid, 0)
            self._note_end(status, used)

    def answer(self, seconds: float) -> Any:
        """The JSON it printed last, once it has ended well. Raises `ProcessError`."""
        if self.wait(seconds).exit_code:
            raise ProcessError(f"{self.module} failed; see {self.log}\n{tail(self.log)}")
        return json.loads(self.output.read_text().splitlines()[-1])

    def _note_end(self, status: int, used: resource.struct_rusage) -> None:
        code = os.waitstatus_to_exitcode(status)
        self._process.returncode = code
        cpu_s = used.ru_utime + used.ru_stime
        self._usage = Usage(code, cpu_s, used.ru_maxrss * 1024, time.monotonic() - self._started)


def cpu_seconds(pid: int) -> float:
    """User and system seconds of a running process so far, its reaped children included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS


def peak_bytes(pid: int) -> int:
    """The largest resident set of a running process so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def tail(log: Path, characters: int = 3_000) -> str:
    """The end of a log, for a message."""
    return log.read_text(errors="replace")[-characters:] if log.exists() else ""
