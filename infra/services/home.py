"""The supervisor's own files under `home/run`: who is the supervisor, and what it says about its parts.

Holds: the pid file that is also the lock (a killed supervisor leaves none held), and the state file.
Does not hold: the stream's report (stream_health) nor what the states mean (supervisor).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from warehouse.settings import Settings
from warehouse.whole_file import write_whole


class AlreadyUpError(RuntimeError):
    """Another supervisor holds this home. The message names its process."""


def run_folder(settings: Settings) -> Path:
    """Where logs, the pid file and the state files lie."""
    return settings.home / "run"


def state_path(settings: Settings) -> Path:
    """The supervisor's state file."""
    return run_folder(settings) / "supervisor.json"


def report_path(settings: Settings) -> Path:
    """The stream's report, which the stream writes."""
    return run_folder(settings) / "stream.json"


class PidFile:
    """The pid of the supervisor of one home, locked while it lives: a stale number means nothing."""

    def __init__(self, settings: Settings) -> None:
        self._path = run_folder(settings) / "supervisor.pid"
        self._handle: int | None = None

    def acquire(self) -> None:
        """Become this home's supervisor. Raises `AlreadyUpError`; `OSError` where home cannot be written."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        if not _locks(handle):
            os.close(handle)
            raise AlreadyUpError(f"already up (process {self._read()}) with WARDSTREAM_HOME={self._path.parent.parent}")
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        self._handle = handle

    def release(self) -> None:
        """Let go, at the end."""
        if self._handle is not None:
            os.ftruncate(self._handle, 0)
            os.close(self._handle)
            self._handle = None

    def holder(self) -> int | None:
        """The pid of the living supervisor, None if there is none."""
        try:
            handle = os.open(self._path, os.O_RDWR)
        except OSError:
            return None
        try:
            return None if _locks(handle) else self._read()
        finally:
            os.close(handle)

    def _read(self) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            return int(self._path.read_text())
        return None


def write_state(path: Path, state: Mapping[str, object]) -> None:
    """Replace the state file, whole or not at all."""
    write_whole(path, json.dumps(state, indent=1))


def read_state(settings: Settings) -> dict[str, Any]:
    """What the supervisor last wrote, empty if nothing."""
    try:
        state = json.loads(state_path(settings).read_text())
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _locks(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
