"""A change to many files that others overtake: what it wrote once serves again, as long as that is safe."""

from __future__ import annotations

from typing import Any

import pytest

from tests.warehouse.fenced import contract, each_once, interval, positions, readings
from tests.warehouse.upkeep.kept import fenced, loaded, missing, small_files
from warehouse import snapshots
from warehouse.settings import Settings
from warehouse.snapshots import Head, live_files, manifests_of
from warehouse.table_session import TableSession
from warehouse.upkeep.compact import compact
from warehouse.upkeep.sweep import look, sweep

FILES, ROWS = 6, 10


class Rival:
    """Commits ten rows each time somebody else is about to swap, as often as told."""

    def __init__(self, settings: Settings, start: int, times: int) -> None:
        self._table, self._next, self._left = fenced(settings), start, times

    @property
    def reached(self) -> int:
        """The position it has come to."""
        return self._next

    def __call__(self, step: str) -> None:
        if step == "swap" and self._left:
            self._left -= 1
            self._table.commit(readings(self._next, self._next + ROWS), [interval(self._next, self._next + ROWS)])
            self._next += ROWS


@pytest.fixture
def rewrites(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many entries each manifest had that was written with entries of older files."""
    counts: list[int] = []
    write = snapshots._write_entries

    def counting(writer: Any, **entries: list[Any]) -> None:
        if entries.get("existing") or entries.get("deleted"):
            counts.append(sum(map(len, entries.values())))
        write(writer, **entries)

    monkeypatch.setattr(snapshots, "_write_entries", counting)
    return counts


def _compacted(settings: Settings, rival: Rival) -> int:
    """All files there are in the place of one, while the rival goes on; the attempts it took."""
    table = loaded(settings)
    files = live_files(Head(table, manifests_of(table)), table.io)
    return compact(fenced(settings, progress=rival), table, contract(), files).attempts


def test_a_compaction_that_is_overtaken_writes_its_manifest_once(folder_lake: Settings, rewrites: list[int]) -> None:
    small_files(folder_lake, FILES, ROWS)
    rewrites.clear()
    rival = Rival(folder_lake, FILES * ROWS, 5)
    assert _compacted(folder_lake, rival) == 6
    assert rewrites == [FILES]
    assert positions(folder_lake) == each_once(0, rival.reached)
    table = loaded(folder_lake)
    assert len(live_files(Head(table, manifests_of(table)), table.io)) == 1 + 5
    snapshot = table.current_snapshot()
    deleting = [m for m in manifests_of(table) if m.deleted_files_count]
    assert [(m.added_snapshot_id, m.sequence_number) for m in deleting] == [
        (snapshot.snapshot_id, snapshot.sequence_number)
    ]


def test_after_an_answer_that_did_not_come_nothing_is_used_again(
    folder_lake: Settings, rewrites: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    small_files(folder_lake, FILES, ROWS)
    rewrites.clear()
    rival, asked = Rival(folder_lake, FILES * ROWS, 2), []
    swap = TableSession.swap

    def unanswered_once(session: TableSession, head: Any, prepared: Any) -> Any:
        if any(manifest.deleted_files_count for manifest in prepared.manifests):
            asked.append(prepared.snapshot.snapshot_id)
            if len(asked) == 1:
                raise OSError("no answer")
        return swap(session, head, prepared)

    monkeypatch.setattr(TableSession, "swap", unanswered_once)
    _compacted(folder_lake, rival)
    assert rewrites == [FILES, FILES]
    assert asked[0] not in asked[1:]
    assert len(asked) == 4
    assert len(set(asked[1:])) == 1
    assert positions(folder_lake) == each_once(0, rival.reached)


def test_manifests_written_anew_by_day_get_in_between_commits(folder_lake: Settings, rewrites: list[int]) -> None:
    small_files(folder_lake, FILES, ROWS)
    rewrites.clear()
    rival = Rival(folder_lake, FILES * ROWS, 3)
    assert fenced(folder_lake, progress=rival).cluster_manifests({}).attempts == 4
    assert rewrites == [FILES]
    assert len(manifests_of(loaded(folder_lake))) == 1 + 3
    assert positions(folder_lake) == each_once(0, rival.reached)


def test_manifests_that_a_sweep_may_have_taken_serve_no_attempt_behind_its_fence(folder_lake: Settings) -> None:
    """Until the swap nothing names them: an erasure, which waits for nobody, sweeps them as it sweeps what is left."""
    small_files(folder_lake, FILES, ROWS)
    swept: list[int] = []

    def purge(step: str) -> None:
        if step == "swap" and not swept:
            table = loaded(folder_lake)
            swept.append(sweep(fenced(folder_lake), table, look(table)).objects)

    assert fenced(folder_lake, progress=purge).cluster_manifests({}).attempts == 2
    assert swept[0] >= 1, "the manifest was there to be taken"
    assert not missing(folder_lake)
    assert positions(folder_lake) == each_once(0, FILES * ROWS)
