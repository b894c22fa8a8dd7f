"""A sweep beside writers that stand still: nothing that anybody may still bring in is deleted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.warehouse.fenced import TOPIC, each_once, interval, positions, readings
from tests.warehouse.upkeep.kept import (
    HOUR,
    fenced,
    loaded,
    missing,
    objects,
    small_files,
    strays,
    upkeep,
)
from warehouse.commit import FilesChangedError, FilesGoneError, SweepOvertakenError
from warehouse.settings import Settings
from warehouse.snapshots import Head, live_files, manifests_of
from warehouse.staging import SWEEP, StagedFiles, stage
from warehouse.sweep_objects import mark_location, read_list
from warehouse.upkeep.sweep import SharedLocationError, mark, require_own_location, resume, sweep


class Standstill:
    """A writer that stands still when it comes to a step, until it is told to go on: as SIGSTOP would have it."""

    def __init__(self, at: str) -> None:
        self._at, self._went_on = at, False
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, step: str) -> None:
        if step == self._at and not self._went_on:
            self._went_on = True
            self.reached.set()
            assert self.go_on.wait(120), "nobody let it go on"


def paused_commit(settings: Settings, at: str) -> tuple[threading.Thread, Standstill, list[Any]]:
    """A commit of ten more rows that stands still at a step, its head read before."""
    still, receipts = Standstill(at), []
    writer = fenced(settings, progress=still)

    def commit() -> None:
        receipts.append(writer.commit(readings(60, 70), [interval(60, 70)]))

    thread = threading.Thread(target=commit, daemon=True)
    thread.start()
    assert still.reached.wait(60)
    return thread, still, receipts


def mark_wait_and_sweep(settings: Settings) -> None:
    """What happens to a table within hours."""
    upkeep(settings).run("vitals")
    done = upkeep(settings, later=HOUR * 1.1).run("vitals")
    assert done.swept is not None
    assert done.swept.objects


@pytest.mark.parametrize("step", ["manifest", "swap"])
def test_a_writer_that_stood_still_from_staging_to_swap_stages_anew(store_lake: Settings, step: str) -> None:
    small_files(store_lake)
    thread, still, receipts = paused_commit(store_lake, step)
    staged = strays(store_lake)
    assert staged
    mark_wait_and_sweep(store_lake)
    assert not staged & objects(store_lake)
    still.go_on.set()
    thread.join(60)
    assert receipts[0].rows == 10
    assert receipts[0].attempts == 2
    assert not missing(store_lake)
    assert positions(store_lake) == each_once(0, 70)


def test_without_staging_anew_rows_are_lost(store_lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build that does not look at the sweep: its files are named and gone."""
    monkeypatch.setattr(
        StagedFiles,
        "fits",
        lambda files, table: (
            (files.schema_id, files.spec_id) == (table.metadata.current_schema_id, table.metadata.default_spec_id)
        ),
    )
    small_files(store_lake)
    thread, still, _ = paused_commit(store_lake, "swap")
    mark_wait_and_sweep(store_lake)
    still.go_on.set()
    thread.join(60)
    assert missing(store_lake)


def test_without_the_fence_rows_are_lost(store_lake: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The build that deletes what is old enough, as most do: the swap that was prepared long ago still lands."""
    small_files(store_lake)
    thread, still, receipts = paused_commit(store_lake, "swap")
    staged = [f"s3://{name}" for name in strays(store_lake) if name.endswith(".parquet")]
    loaded(store_lake).io.delete_many(staged)
    still.go_on.set()
    thread.join(60)
    assert receipts[0].attempts == 1
    assert missing(store_lake)


def test_files_staged_before_a_sweep_do_not_take_the_place_of_others(store_lake: Settings) -> None:
    small_files(store_lake)
    table = loaded(store_lake)
    files = live_files(Head(table, manifests_of(table)), table.io)
    staged = stage(table, readings(0, 60), table.io)
    marked = mark(table)
    assert sweep(fenced(store_lake), loaded(store_lake), marked).objects
    with pytest.raises(FilesChangedError, match="swept"):
        fenced(store_lake).replace_files(files, staged, {})
    assert not missing(store_lake)


def test_what_came_into_the_table_after_the_mark_stays(store_lake: Settings) -> None:
    small_files(store_lake)
    thread, still, _ = paused_commit(store_lake, "swap")
    marked = mark(loaded(store_lake))
    still.go_on.set()
    thread.join(60)
    sweep(fenced(store_lake), loaded(store_lake), marked)
    assert not missing(store_lake)
    assert positions(store_lake) == each_once(0, 70)


def test_what_was_staged_after_the_mark_stays(store_lake: Settings) -> None:
    small_files(store_lake)
    marked = mark(loaded(store_lake))
    thread, still, _ = paused_commit(store_lake, "swap")
    staged = strays(store_lake)
    sweep(fenced(store_lake), loaded(store_lake), marked)
    assert staged <= objects(store_lake)
    still.go_on.set()
    thread.join(60)
    assert positions(store_lake) == each_once(0, 70)


def test_files_that_are_being_swept_do_not_come_back(store_lake: Settings) -> None:
    small_files(store_lake)
    table = loaded(store_lake)
    old = live_files(Head(table, manifests_of(table)), table.io)
    upkeep(store_lake).run("vitals")
    stopped = stopping_at("delete")
    with pytest.raises(KilledError):
        upkeep(store_lake, later=HOUR * 1.1, progress=stopped).run("vitals")
    assert all(table.io.new_input(live.file.file_path).exists() for live in old)
    with pytest.raises(FilesGoneError):
        fenced(store_lake).restore_files(old, {})
    assert resume(loaded(store_lake)) is not None
    with pytest.raises(FilesGoneError):
        fenced(store_lake).restore_files(old, {})
    assert not missing(store_lake)


def test_marked_files_that_come_back_before_the_sweep_stay(store_lake: Settings) -> None:
    small_files(store_lake)
    table = loaded(store_lake)
    old = live_files(Head(table, manifests_of(table)), table.io)
    now = stage(table, readings(0, 0), table.io)
    fenced(store_lake, kept_snapshots=2).replace_files(old, now, {}, fewer_rows=60)
    fenced(store_lake, kept_snapshots=1).cluster_manifests({})
    marked = mark(loaded(store_lake))
    assert {live.file.file_path for live in old} <= {each.location for each in marked.objects}
    fenced(store_lake).restore_files(old, {})
    sweep(fenced(store_lake), loaded(store_lake), marked)
    assert not missing(store_lake)
    assert positions(store_lake) == each_once(0, 60)


def test_a_sweep_that_another_came_before_deletes_nothing(store_lake: Settings) -> None:
    small_files(store_lake)
    thread, still, _ = paused_commit(store_lake, "swap")
    table, marked = loaded(store_lake), mark(loaded(store_lake))
    fenced(store_lake).sweep_fence("another", None)
    before = objects(store_lake)
    with pytest.raises(SweepOvertakenError):
        sweep(fenced(store_lake), table, marked)
    assert before <= objects(store_lake)
    still.go_on.set()  # or it would fail a later test, when its patience ends
    thread.join(60)


def test_two_sweeps_at_once_do_no_harm(store_lake: Settings) -> None:
    small_files(store_lake)
    upkeep(store_lake).run("vitals")
    still = Standstill("fence")
    first = threading.Thread(target=lambda: upkeep(store_lake, later=HOUR * 1.1, progress=still).run("vitals"))
    first.start()
    assert still.reached.wait(60)
    assert upkeep(store_lake, later=HOUR * 1.1).run("vitals").swept is not None
    still.go_on.set()
    first.join(60)
    assert not missing(store_lake)
    assert positions(store_lake) == each_once(0, 60)


def test_a_tag_keeps_what_it_names(store_lake: Settings) -> None:
    small_files(store_lake)
    table = loaded(store_lake)
    table.manage_snapshots().create_tag(table.current_snapshot().snapshot_id, "training").commit()
    mark_wait_and_sweep(store_lake)
    assert not missing(store_lake)
    tagged = loaded(store_lake).scan().use_ref("training").to_arrow()
    assert tagged.num_rows == 60


def test_leftovers_of_the_catalog_go_too(store_lake: Settings) -> None:
    small_files(store_lake)
    table = loaded(store_lake)
    stray = f"{table.location()}/metadata/00007-lost.metadata.json"
    foreign = f"{table.location()}/metadata/notes.txt"
    table.io.put(stray, b"{}")
    table.io.put(foreign, b"not ours")
    mark_wait_and_sweep(store_lake)
    assert not table.io.new_input(stray).exists()
    assert table.io.new_input(foreign).exists()


def test_half_of_a_manifest_list_stops_the_sweep(folder_lake: Settings) -> None:
    small_files(folder_lake)
    table = loaded(folder_lake)
    path = table.current_snapshot().manifest_list.removeprefix("file://")
    with open(path, "rb") as file:
        whole = file.read()
    with open(path, "wb") as file:
        file.write(whole[: whole.index(whole[-16:]) + 16])
    with pytest.raises(Exception, match=r"incomplete|data files"):
        mark(loaded(folder_lake))
    assert read_list(table.io, mark_location(table)) is None


def test_two_tables_in_one_folder_are_not_swept(folder_lake: Settings) -> None:
    small_files(folder_lake)
    table = loaded(folder_lake)
    require_own_location(table.catalog, table)
    table.catalog.register_table((folder_lake.namespace, "alias"), table.metadata_location)
    with pytest.raises(SharedLocationError, match="alias"):
        require_own_location(table.catalog, table)


def test_the_fence_carries_vector_and_sweep(store_lake: Settings) -> None:
    small_files(store_lake)
    head = fenced(store_lake).sweep_fence("one", None)
    assert head.metadata.properties[SWEEP] == "one"
    assert fenced(store_lake).vector() == {TOPIC: {0: 60}}
    again = fenced(store_lake).sweep_fence("one", None)
    assert again.snapshot == head.snapshot


class KilledError(BaseException):
    """In the place of a kill."""


def stopping_at(step: str) -> Callable[[str], None]:
    def progress(reached: str) -> None:
        if reached == step:
            raise KilledError

    return progress
