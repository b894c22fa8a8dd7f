"""What the stream says of itself each second hinders nothing, least of all the code it ends with."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines.stream import StatusFile
from warehouse.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.from_environment({"WARDSTREAM_HOME": str(tmp_path)})


def stream(status: Any) -> Any:
    """The state as far as the status file asks it."""
    return SimpleNamespace(status=status)


def test_it_says_who_when_and_what(settings):
    StatusFile(settings, stream(lambda: {"state": "running"})).write()
    said = json.loads((settings.home / "run" / "stream.json").read_text())
    assert (said["pid"], said["state"]) == (os.getpid(), "running")


def test_a_status_that_cannot_be_written_ends_no_stream(settings, caplog):
    (settings.home / "run" / "stream.json").mkdir(parents=True)
    with caplog.at_level(logging.WARNING, "pipelines.stream"):
        StatusFile(settings, stream(lambda: {"state": "running"})).write()
    assert "the status could not be written: IsADirectoryError" in caplog.text
