"""The short form of the kills of an erasure; the long one is `python -m tests.crash.erasure`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.crash.erasure.harness import Rounds

pytestmark = [pytest.mark.crash, pytest.mark.timeout(1200)]


def test_whoever_comes_after_a_kill_ends_what_was_begun_and_nothing_half_done_is_called_done(tmp_path: Path) -> None:
    report = Rounds(tmp_path, seed=8).run(kills=10)
    assert report.wrong == []
    assert sum(report.kills.values()) >= 10
