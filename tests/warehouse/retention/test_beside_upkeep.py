"""Retention and upkeep on one table: a sweep spares what can be undone, compaction loses and keeps nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.warehouse.retention.made import MadeLake, cold, days, digest
from tests.warehouse.upkeep.kept import EAGER
from warehouse.catalog import open_catalog
from warehouse.retention.doer import UndoError
from warehouse.retention.plan import REMOVE
from warehouse.retention.purge import purge
from warehouse.retention.undo import held_paths
from warehouse.settings import Settings
from warehouse.upkeep.plan import UpkeepPolicy
from warehouse.upkeep.run import Upkeep
from warehouse.upkeep.sweep import store_time


@pytest.fixture
def ward(folder_lake: Settings) -> MadeLake:
    """Twelve days of readings up to today, in several files a day."""
    made = MadeLake(cold(folder_lake))
    on = days(datetime.now(UTC).date() - timedelta(days=11), 12)
    for _ in range(3):
        made.ingest(on)
    made.now = datetime.now(UTC)
    return made


def keep_up(made: MadeLake, later: timedelta, policy: UpkeepPolicy = EAGER) -> None:
    """Upkeep as a site runs it, so much later; old snapshots are let go."""
    Upkeep(
        made.settings,
        open_catalog(made.settings),
        made.contracts,
        held_paths,
        policy=policy,
        now=lambda table: store_time(table) + later,
    ).run("vitals")
    head = made.table().metadata.current_snapshot_id
    made.fenced("vitals").expire([each.snapshot_id for each in made.table().snapshots() if each.snapshot_id != head])


def there(paths: set[str]) -> bool:
    return all(Path(path.removeprefix("file://")).exists() for path in paths)


def test_sweeps_spare_what_can_be_undone_and_take_it_afterwards(ward: MadeLake) -> None:
    whole = digest(ward.rows())
    first = min(live.day or 0 for live in ward.files())
    leaving = {live.file.file_path for live in ward.files() if live.day == first}
    receipt = ward.run("vitals", kinds=(REMOVE,)).receipts[0].receipt
    for hours in (0, 2, 4, 6):
        keep_up(ward, timedelta(hours=hours))
    assert there(leaving)
    ward.doer().undo(receipt, "test", "asked for again")
    assert digest(ward.rows()) == whole

    ward.doer().holds.lift(f"undo-{receipt}", "no longer asked for", "test", ward.now)
    ward.run("vitals", kinds=(REMOVE,))
    ward.now += timedelta(days=7)
    purge(ward.catalog, (ward.settings.namespace, "vitals"), ward.doer().book, ward.now)
    for hours in (168, 170, 172):
        keep_up(ward, timedelta(hours=hours))
    assert not any(there({path}) for path in leaving)


def test_joined_files_of_a_cold_day_are_cooled_again_and_none_is_lost(ward: MadeLake) -> None:
    whole = digest(ward.rows())
    ward.run("vitals", kinds=("cool",))
    keep_up(ward, timedelta())
    ward.run("vitals", kinds=("cool",))
    keep_up(ward, timedelta(hours=2))
    assert digest(ward.rows()) == whole
    assert ward.plan("vitals").actions[0].kind == REMOVE
    assert len(ward.plan("vitals").actions) == 1


def test_an_undo_after_upkeep_joined_the_moved_files_is_refused(ward: MadeLake) -> None:
    receipts = ward.run("vitals", kinds=("cool",)).receipts
    keep_up(ward, timedelta(), replace(EAGER, least_files=2))
    before = digest(ward.rows())
    assert len(ward.files()) < 36, "no file was joined: nothing would be shown"
    with pytest.raises(UndoError, match="rewritten since"):
        ward.doer().undo(receipts[0].receipt, "test", "asked for again")
    assert digest(ward.rows()) == before
