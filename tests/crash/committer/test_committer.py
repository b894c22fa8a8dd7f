"""The short form of the committer harness, and its own test: without the fence it must turn red."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest

from tests.crash.committer.harness import Plan, Report, unleash
from tests.crash.committer.writer import CRASH_POINTS

pytestmark = pytest.mark.crash


def run(tmp_path: Path, store: str, plan: Plan, **environment: str) -> Report:
    mark = uuid.uuid4().hex[:10]
    return unleash(
        {
            "WARDSTREAM_HOME": str(tmp_path / "home"),
            "WARDSTREAM_S3_ENDPOINT": store,
            "WARDSTREAM_WAREHOUSE": f"s3://warehouse/{mark}",
            "WARDSTREAM_NAMESPACE": f"t{mark}",
            **environment,
        },
        tmp_path / "traces",
        plan,
    )


def test_killed_and_paused_writers_lose_and_double_nothing_on_sqlite(tmp_path: Path, store: str) -> None:
    report = run(tmp_path, store, Plan(kills=2 * len(CRASH_POINTS), pauses=4, seed=7, seconds=120))
    assert report.verdict is not None
    assert report.verdict.clean, report.lines()
    assert report.verdict.rows > 0
    assert set(CRASH_POINTS) <= set(report.kills), report.lines()


def test_killed_and_paused_writers_lose_and_double_nothing_on_postgres(
    tmp_path: Path, store: str, postgres: str
) -> None:
    plan = Plan(kills=len(CRASH_POINTS), pauses=2, seed=8, seconds=120)
    report = run(tmp_path, store, plan, WARDSTREAM_CATALOG_URI=postgres)
    assert report.verdict is not None
    assert report.verdict.clean, report.lines()


def test_without_the_fence_the_harness_turns_red(tmp_path: Path, store: str) -> None:
    report = run(tmp_path, store, Plan(kills=12, pauses=0, seed=9, seconds=90, without_fence=True))
    assert report.verdict is not None
    assert report.verdict.doubled > 0, report.lines()
    assert not report.verdict.clean
