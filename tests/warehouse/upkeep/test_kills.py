"""kill -9 at every step of upkeep: the next run puts it right, nothing is lost, doubled or left behind for good."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.warehouse.fenced import each_once, positions
from tests.warehouse.upkeep.kept import HOUR, loaded, missing, repeated, small_files, strays, upkeep
from warehouse.settings import Settings
from warehouse.upkeep.plan import UpkeepPolicy

ROOT = Path(__file__).parents[3]
FIRST_RUN = ("recorded", "manifest", "landed", "exchanged", "marked")
SECOND_RUN = ("list", "fenced", "delete", "deleted")
"""Where what was done before is not yet told of, or told of and not yet done. `python -m tests.warehouse.upkeep.killed`
takes any step."""


def killed_at(settings: Settings, step: str, hours: float) -> None:
    """Run upkeep in a process of its own that dies at a step."""
    environment = {
        "WARDSTREAM_HOME": str(settings.home),
        "WARDSTREAM_WAREHOUSE": settings.warehouse,
        "WARDSTREAM_NAMESPACE": settings.namespace,
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.warehouse.upkeep.killed", step, str(hours)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL, f"{step}: {done.returncode} {done.stderr[-2000:]}"


def put_right(settings: Settings, gone: list[tuple[str, int, int]]) -> None:
    """Upkeep goes on for some hours; then all is as it would be without the kill."""
    for hours in (0, 1.2, 2.4):
        upkeep(settings, later=hours * HOUR).run("vitals")
        assert not missing(settings)
    stays = positions(settings)
    assert stays.total() == 67
    assert set(stays) == set(each_once(0, 70)) - set(gone)
    recorded = positions(settings, "duplicates")
    assert recorded.total() == 3
    assert set(recorded) == set(gone)
    assert not [name for name in strays(settings) if name.endswith(".parquet")]
    assert not left_lists(settings)


def left_lists(settings: Settings) -> list[str]:
    table = loaded(settings)
    listed = table.io.listed(f"{table.location()}/data/upkeep/").objects
    return [each.location for each in listed if "sweep-" in each.location]


@pytest.mark.parametrize("step", FIRST_RUN)
def test_a_kill_while_files_are_joined_is_put_right(folder_lake: Settings, step: str) -> None:
    small_files(folder_lake)
    gone = repeated(folder_lake)
    killed_at(folder_lake, step, 0)
    assert not missing(folder_lake)
    put_right(folder_lake, gone)


@pytest.mark.parametrize("step", SECOND_RUN)
def test_a_kill_while_objects_are_swept_is_put_right(folder_lake: Settings, step: str) -> None:
    small_files(folder_lake)
    gone = repeated(folder_lake)
    upkeep(folder_lake).run("vitals")
    killed_at(folder_lake, step, 1.1)
    assert not missing(folder_lake)
    put_right(folder_lake, gone)


def test_half_deleted_is_deleted_by_the_next_run(store_lake: Settings) -> None:
    """The store's part of it: some of the objects are gone, the list is there, the process is not."""
    small_files(store_lake)
    first = upkeep(store_lake).run("vitals")
    table = loaded(store_lake)

    def half(step: str) -> None:
        if step == "delete":
            marked = upkeep(store_lake).look("vitals")
            table.io.delete_many([each.location for each in marked[: len(marked) // 2]])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upkeep(store_lake, later=HOUR * 1.1, progress=half).run("vitals")
    again = upkeep(store_lake, UpkeepPolicy(), later=HOUR * 1.1)
    assert again.plan("vitals").sweep == "resume"
    done = again.run("vitals")
    assert done.swept is not None
    assert done.swept.objects == first.marked
    assert not missing(store_lake)
    assert positions(store_lake) == each_once(0, 60)
