"""Streams that tests fork: as lean as a stream that is the whole process, heeding their environment, ended as asked."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from pipelines.stream import EXIT_SETTINGS
from tests.forked import ForkedStream, Orders


def _told() -> None:
    print("loaded", "apache_beam" in sys.modules, "pandas" in sys.modules, os.environ.get("FORKED"), flush=True)


def _paused() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def test_it_has_its_modules_loaded_and_its_own_environment_and_its_exit_code(tmp_path: Path) -> None:
    log = tmp_path / "log"
    stream = ForkedStream(Orders((), {"FORKED": "yes", "WARDSTREAM_PARTITIONS": "none"}, log, (_told,)))
    assert stream.wait(60) == EXIT_SETTINGS
    first, rest = log.read_text().split("\n", 1)
    assert first == "loaded True False yes"
    assert "WARDSTREAM_PARTITIONS" in rest


def test_it_can_be_killed(tmp_path: Path) -> None:
    stream = ForkedStream(Orders((), {}, tmp_path / "log", (_paused,)))
    assert stream.poll() is None
    stream.kill()
    assert stream.wait(60) == -signal.SIGKILL
    stream.kill()
