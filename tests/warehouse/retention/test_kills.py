"""Retention killed at any step ends as if it had not been: nothing lost, nothing doubled, everything told once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta

import pytest

from infra.services.environment import environment_of
from tests.warehouse.fenced import TOPIC
from tests.warehouse.retention.made import FIRST, MadeLake, VaultOfDays, at, cold, days, digest
from warehouse.retention.receipts import COOLED, KEY_DESTROYED, REMOVED
from warehouse.settings import Settings
from warehouse.snapshots import vector_of

NOW = at(FIRST + timedelta(days=22))
DATA = ("vitals", "vitals_by_hour", "rejects", "quality_results")

STEPS = [
    ("recorded", 1),
    ("recorded", 3),
    ("copied", 1),
    ("manifest", 2),
    ("swap", 1),
    ("swap", 3),
    ("landed", 1),
    ("landed", 2),
    ("done", 3),
    ("done", 5),
    ("told", 1),
    ("told", 4),
    ("destroyed", 1),
    ("destroyed", 5),
]


@pytest.fixture
def ward(folder_lake: Settings) -> MadeLake:
    """Three weeks of everything."""
    made = MadeLake(cold(folder_lake))
    for start in (0, 8, 16):
        made.ingest(days(FIRST + timedelta(days=start), 8 if start < 16 else 7))
    made.derive(days(FIRST, 12))
    made.reject(days(FIRST, 14))
    made.judge(days(FIRST, 23))
    VaultOfDays(made.settings.home / "keys", *days(FIRST, 14))
    made.now = NOW
    return made


def killed(made: MadeLake, step: str, times: int) -> int:
    """How a process ended that was to kill itself there."""
    command = [sys.executable, "-m", "tests.warehouse.retention.killed", step, str(times), NOW.isoformat()]
    environment = {**os.environ, **environment_of(made.settings)}
    return subprocess.run(command, env=environment, check=False, timeout=300).returncode


@pytest.mark.parametrize(("step", "times"), STEPS, ids=[f"{step}-{times}" for step, times in STEPS])
def test_whoever_comes_after_a_kill_ends_what_was_begun(ward: MadeLake, step: str, times: int) -> None:
    before = {name: ward.rows(name).num_rows for name in DATA}
    assert killed(ward, step, times) == -signal.SIGKILL
    vault = VaultOfDays(ward.settings.home / "keys")
    ward.run(vault=vault)

    told = Counter((each.act, each.table_name, each.day) for each in ward.doer().book.read())
    rows = Counter[str]()
    for each in ward.doer().book.read():
        if each.act == REMOVED:
            rows[each.table_name] += each.rows
    assert {name: ward.rows(name).num_rows + rows[name] for name in DATA} == before
    assert ward.days("vitals") == days(FIRST + timedelta(days=12), 11)
    assert ward.days("vitals_by_hour") == days(FIRST + timedelta(days=4), 8)
    assert ward.days("rejects") == days(FIRST + timedelta(days=12), 2)
    assert {day for act, name, day in told if (act, name) == (REMOVED, "vitals")} == set(days(FIRST, 12))
    assert all(n == 1 for (act, _, _), n in told.items() if act in (REMOVED, COOLED, KEY_DESTROYED))
    cooled = {live.day for live in ward.files() if not ward.states("vitals")[0].is_warm(live)}
    assert len(cooled) == 7
    assert vault.reject_key_days() == days(FIRST + timedelta(days=12), 2)
    assert vector_of(ward.table().metadata) == {TOPIC: {0: 69}}
    assert ward.plan(*DATA).actions == ()


def test_what_a_killed_process_took_out_can_be_taken_back(ward: MadeLake) -> None:
    before = {name: digest(ward.rows(name)) for name in ("vitals", "quality_results")}
    assert killed(ward, "landed", 1) == -signal.SIGKILL
    ward.run(*before, kinds=("remove",))
    for receipt in sorted({each.receipt for each in ward.doer().book.read() if each.table_name in before}):
        ward.doer().undo(receipt, "test", "asked for again")
    assert {name: digest(ward.rows(name)) for name in before} == before
