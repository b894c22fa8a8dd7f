"""The README's commands, run as a newcomer would, and its example message, taken apart by the real decoder.

`make test` is left out: it is what runs this.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipelines.batch import MessageBatch, StreamBatch
from pipelines.decode.json import JsonDecoder
from tests.deployment import ROOT
from warehouse.contract import load_contracts

README = (ROOT / "README.md").read_text("utf-8")
LEFT_OUT = {"make test"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines() if line.strip() not in LEFT_OUT]


@pytest.mark.end_to_end
@pytest.mark.timeout(600)
def test_every_command_of_the_readme_works_in_its_order(
    tmp_path: Path, cache: Path, kafka_jars: Path, free_port_base: Callable[[], int]
):
    assert commands()[0] == "make demo", "the first command a newcomer meets"
    surroundings = {"WARDSTREAM_HOME": str(tmp_path), "WARDSTREAM_CACHE": str(cache)}
    environment = {**os.environ, **surroundings, "WARDSTREAM_PORT_BASE": str(free_port_base())}
    try:
        for command in commands():
            done = subprocess.run(command, shell=True, cwd=ROOT, env=environment, capture_output=True, text=True)
            said = done.stdout[-4_000:] + done.stderr[-4_000:]
            assert done.returncode == 0, f"{command} ended with {done.returncode}\n{said}"
    finally:
        subprocess.run([ROOT / ".venv/bin/wardstream", "down"], cwd=ROOT, env=environment, capture_output=True)


def test_the_readmes_message_becomes_a_row():
    message = json.loads(blocks("json")[0])
    batch = MessageBatch(
        stream="device.vitals",
        topic_id="readme",
        partitions=np.zeros(1, np.int32),
        offsets=np.zeros(1, np.int64),
        appended_ms=np.array([1_763_773_323_456], np.int64),
        keys=[message["patient_id"].encode()],
        values=[json.dumps(message).encode()],
        intervals={0: (0, 1)},
    )
    decoded = JsonDecoder(load_contracts().stream("device.vitals")).decode(StreamBatch(batch))
    assert not decoded.rejects
    assert decoded.rows is not None
    assert decoded.rows.num_rows == 1
