"""The README's commands and its program, run as a newcomer would; its message, taken apart by the real decoder.

`make test` is left out: it is what runs this.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from infra.services.ports import port
from pipelines.batch import MessageBatch, StreamBatch
from pipelines.decode.json import JsonDecoder
from tests.deployment import ROOT
from warehouse.contract import load_contracts

README = (ROOT / "README.md").read_text("utf-8")
LEFT_OUT = {"make test"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[list[str]]:
    """What to run, in the README's order: each line of a shell block, each Python block as a whole."""
    found = re.findall(r"^```(sh|python)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [
        [sys.executable, "-c", text] if language == "python" else ["sh", "-c", text]
        for language, block in found
        for text in ([block] if language == "python" else block.splitlines())
        if text.strip() not in LEFT_OUT
    ]


@pytest.mark.end_to_end
@pytest.mark.timeout(1500)
def test_every_command_of_the_readme_works_in_its_order(
    tmp_path: Path, cache: Path, kafka_jars: Path, free_port_base: Callable[[], int]
):
    assert commands()[0][-1] == "make demo", "the first command a newcomer meets"
    base = free_port_base()
    surroundings = {"WARDSTREAM_HOME": str(tmp_path), "WARDSTREAM_CACHE": str(cache)}
    # What a `make test ARGS=…` around us was given is not the newcomer's.
    inherited = {name: value for name, value in os.environ.items() if name not in ("ARGS", "MAKEFLAGS", "MFLAGS")}
    environment = {**inherited, **surroundings, "WARDSTREAM_PORT_BASE": str(base)}
    said = {}
    try:
        for *interpreter, text in commands():
            command = [*interpreter, text.replace("127.0.0.1:19092", f"127.0.0.1:{port(base, 'kafka')}")]
            done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
            said[text] = done.stdout[-4_000:] + done.stderr[-4_000:]
            assert done.returncode == 0, f"{text} ended with {done.returncode}\n{said[text]}"
            if interpreter[0] == sys.executable:
                _await_the_row(environment)
        assert "released" in said[".venv/bin/wardstream sql @quality_gate"]
    finally:
        subprocess.run([ROOT / ".venv/bin/wardstream", "down"], cwd=ROOT, env=environment, capture_output=True)


def _await_the_row(environment: dict[str, str], seconds: float = 60) -> None:
    question = [ROOT / ".venv/bin/wardstream", "sql", "--format", "csv", "SELECT ward FROM vitals"]
    deadline = time.monotonic() + seconds
    while True:
        done = subprocess.run(question, cwd=ROOT, env=environment, capture_output=True, text=True)
        if done.stdout == "ward\nICU-2\n":
            return
        assert time.monotonic() < deadline, done.stdout + done.stderr


def test_the_readmes_message_becomes_a_row(monkeypatch: pytest.MonkeyPatch):
    sent: list[dict[str, str]] = []

    class Producer:
        def __init__(self, options: dict[str, str]) -> None: ...

        def produce(self, topic: str, **message: str) -> None:
            sent.append(message)

        def flush(self) -> None: ...

    monkeypatch.setattr("confluent_kafka.Producer", Producer)
    exec(blocks("python")[0], {})
    (message,) = sent
    batch = MessageBatch(
        stream="device.vitals",
        topic_id="readme",
        partitions=np.zeros(1, np.int32),
        offsets=np.zeros(1, np.int64),
        appended_ms=np.array([1_763_773_323_456], np.int64),
        keys=[message["key"].encode()],
        values=[message["value"].encode()],
        intervals={0: (0, 1)},
    )
    decoded = JsonDecoder(load_contracts().stream("device.vitals")).decode(StreamBatch(batch))
    assert not decoded.rejects
    assert decoded.rows is not None
    assert decoded.rows.num_rows == 1
