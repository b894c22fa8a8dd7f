"""The accounts of a process: its CPU time, its memory, its end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from infra.bench.measured import MeasuredProcess, ProcessError, cpu_seconds, peak_bytes


def _python(tmp_path: Path, source: str) -> MeasuredProcess:
    (tmp_path / "worked.py").write_text(source)
    return MeasuredProcess("worked", (), {"PYTHONPATH": str(tmp_path)}, tmp_path / "out", tmp_path / "log")


def test_cpu_time_and_memory_of_a_process_are_its_own(tmp_path):
    source = "import time\nheld = bytearray(80 << 20)\nuntil = time.process_time() + 0.5\n"
    process = _python(tmp_path, source + "while time.process_time() < until: pass\n")
    usage = process.wait(60)
    assert usage.exit_code == 0
    assert 0.5 <= usage.cpu_s < 5
    assert usage.peak_bytes > 80 << 20
    assert usage.wall_s >= 0.5


def test_a_running_process_can_be_asked_and_ended(tmp_path):
    process = _python(tmp_path, "import time\ntime.sleep(600)\n")
    time.sleep(0.3)
    assert cpu_seconds(process.pid) >= 0
    assert peak_bytes(process.pid) > 0
    assert process.ended() is None
    assert process.stop(60).exit_code == -15


def test_what_it_printed_last_is_its_answer(tmp_path):
    assert _python(tmp_path, 'print("noise")\nprint("[1, 2]")\n').answer(60) == [1, 2]


def test_a_failed_process_has_no_answer(tmp_path):
    with pytest.raises(ProcessError, match="it broke"):
        _python(tmp_path, 'raise SystemExit("it broke")\n').answer(60)


def test_a_process_that_takes_too_long_is_killed(tmp_path):
    process = _python(tmp_path, "import time\ntime.sleep(600)\n")
    with pytest.raises(ProcessError, match="did not end"):
        process.wait(0.2)
    assert process.ended().exit_code == -9
