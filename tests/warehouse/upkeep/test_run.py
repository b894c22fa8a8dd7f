"""Upkeep of a real table: nothing of it changes but how it is kept."""

from __future__ import annotations

from datetime import date

from tests.warehouse.fenced import TOPIC, each_once, interval, positions, readings
from tests.warehouse.upkeep.kept import EAGER, HOUR, fenced, loaded, missing, row_digest, small_files, strays, upkeep
from warehouse.days import changes_since
from warehouse.settings import Settings
from warehouse.upkeep.plan import UpkeepPolicy


def test_small_files_become_one_and_every_row_stays(store_lake: Settings) -> None:
    small_files(store_lake, commits=6)
    before = row_digest(store_lake)
    seen = loaded(store_lake).current_snapshot().sequence_number
    done = upkeep(store_lake).run("vitals")
    assert [(c.files_before, c.files_after, c.rows) for c in done.compacted] == [(6, 1, 60)]
    assert (len(done.before.files), len(done.after.files)) == (6, 1)
    assert row_digest(store_lake) == before
    assert changes_since(loaded(store_lake), seen).rows == {}
    assert fenced(store_lake).vector() == {TOPIC: {0: 60}}


def test_a_compacted_file_is_sorted_as_the_contract_says(store_lake: Settings) -> None:
    small_files(store_lake)
    upkeep(store_lake).run("vitals")
    rows = loaded(store_lake).scan().to_arrow()
    keys = list(zip(*(rows[c].to_pylist() for c in ("subject_token", "code", "event_time")), strict=True))
    assert keys == sorted(keys)


def test_what_nobody_names_goes_in_two_runs_an_hour_apart(lake: Settings) -> None:
    small_files(lake)
    first = upkeep(lake).run("vitals")
    assert first.marked
    assert first.swept is None
    assert upkeep(lake, later=HOUR / 2).run("vitals").swept is None
    assert strays(lake)
    second = upkeep(lake, later=HOUR * 1.1).run("vitals")
    assert second.swept is not None
    assert second.swept.objects == first.marked
    assert not missing(lake)
    assert positions(lake) == each_once(0, 60)
    fenced(lake).commit(readings(60, 70), [interval(60, 70)])
    assert positions(lake) == each_once(0, 70)


def test_what_another_room_holds_stays(store_lake: Settings) -> None:
    small_files(store_lake)
    old = [file.location for file in upkeep(store_lake).observe("vitals").files]
    upkeep(store_lake).run("vitals")
    upkeep(store_lake, later=HOUR * 1.1, held=old).run("vitals")
    assert all(loaded(store_lake).io.new_input(location).exists() for location in old)
    upkeep(store_lake).run("vitals")
    upkeep(store_lake, later=HOUR * 2.3).run("vitals")
    assert not any(loaded(store_lake).io.new_input(location).exists() for location in old)


def test_a_table_that_is_well_kept_is_left_alone(store_lake: Settings) -> None:
    small_files(store_lake)
    policy = UpkeepPolicy()
    upkeep(store_lake, policy).run("vitals")
    before = loaded(store_lake).metadata_location
    for hours in (2, 4, 6):
        upkeep(store_lake, policy, later=HOUR * hours).run("vitals")
    settled = loaded(store_lake).metadata_location
    assert settled == before or upkeep(store_lake, policy, later=HOUR * 8).run("vitals").plan.empty


def test_a_table_without_a_snapshot_is_left_alone(store_lake: Settings) -> None:
    small_files(store_lake, commits=0)
    assert not upkeep(store_lake).run("duplicates").compacted


def test_ingest_goes_on_after_all_of_it(store_lake: Settings) -> None:
    table = small_files(store_lake)
    upkeep(store_lake).run("vitals")
    upkeep(store_lake, later=HOUR * 1.1).run("vitals")
    table.commit(readings(60, 70), [interval(60, 70)])
    assert positions(store_lake) == each_once(0, 70)
    assert changes_since(loaded(store_lake), 0).rows == {date(2026, 3, 1): 70}


def test_snapshots_go_and_the_vector_stays(folder_lake: Settings) -> None:
    small_files(folder_lake)
    done = upkeep(folder_lake, EAGER).run("vitals")
    assert done.expired
    assert len(loaded(folder_lake).metadata.snapshots) <= 4
    assert fenced(folder_lake).vector() == {TOPIC: {0: 60}}
