"""Tags that keep what a model learns from: against other writers, after an erasure, and once a training has died."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table.update.snapshot import ManageSnapshots

from tests.warehouse.models.conftest import model
from warehouse.catalog import load_table, open_catalog
from warehouse.models.kept_snapshots import STALE, TRIES, KeptSnapshots, OvertakenError, SnapshotGoneError, is_training
from warehouse.models.registry import Registry
from warehouse.settings import Settings

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
TABLE = "models"


@pytest.fixture
def catalog(registry: Registry, folder_lake: Settings) -> Catalog:
    """A lake whose table of models has two snapshots."""
    registry.register(*model("aa11"))
    registry.register(*model("bb22", b"more"))
    return open_catalog(folder_lake)


@pytest.fixture
def kept(catalog: Catalog, folder_lake: Settings) -> KeptSnapshots:
    return KeptSnapshots(catalog, folder_lake.namespace)


def snapshots(kept: KeptSnapshots) -> list[int]:
    return [each.snapshot_id for each in load_table(kept.catalog, kept.namespace, TABLE).metadata.snapshots]


def tags(kept: KeptSnapshots) -> dict[str, int]:
    refs = load_table(kept.catalog, kept.namespace, TABLE).metadata.refs
    return {name: ref.snapshot_id for name, ref in refs.items() if name != "main"}


def test_a_training_keeps_what_it_read_until_the_model_does(kept: KeptSnapshots) -> None:
    first, _ = snapshots(kept)
    tag = kept.keep({TABLE: first}, NOW)
    assert tags(kept) == {tag: first}
    kept.hand_over(tag, {TABLE: first}, "v1")
    kept.hand_over(tag, {TABLE: first}, "v1")
    kept.release(tag, {TABLE: first})
    kept.release(tag, {TABLE: first})
    assert tags(kept) == {"model-v1": first}


def test_the_model_keeps_the_snapshot_that_an_erasure_moved_the_tag_to(kept: KeptSnapshots) -> None:
    first, second = snapshots(kept)
    tag = kept.keep({TABLE: first}, NOW)
    load_table(kept.catalog, kept.namespace, TABLE).manage_snapshots().create_tag(second, tag).commit()
    kept.hand_over(tag, {TABLE: first}, "v1")
    assert tags(kept)["model-v1"] == second


def test_what_was_trimmed_is_not_kept_and_nothing_else_either(kept: KeptSnapshots, registry: Registry) -> None:
    with pytest.raises(SnapshotGoneError, match="model_roles has no snapshot 7"):
        kept.keep({TABLE: snapshots(kept)[0], "model_roles": 7}, NOW)
    assert tags(kept) == {}


def test_tags_of_a_training_that_died_go_with_the_next_one(kept: KeptSnapshots) -> None:
    first, second = snapshots(kept)
    dead = kept.keep({TABLE: first}, NOW - STALE - timedelta(seconds=1))
    alive = kept.keep({TABLE: first}, NOW - STALE + timedelta(seconds=1))
    assert set(tags(kept)) == {dead, alive}
    theirs = "training-2026Q1"
    load_table(kept.catalog, kept.namespace, TABLE).manage_snapshots().create_tag(first, theirs).commit()
    mine = kept.keep({TABLE: second}, NOW)
    assert set(tags(kept)) == {alive, mine, theirs}
    assert is_training(mine)
    assert not is_training(theirs)


@pytest.mark.parametrize("times", [3, TRIES])
def test_a_writer_that_goes_ahead_is_given_way_to_but_not_for_ever(
    kept: KeptSnapshots, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    (first, _), commit, refused = snapshots(kept), ManageSnapshots.commit, []

    def overtaken(self: ManageSnapshots) -> None:
        if len(refused) < times:
            refused.append(self)
            raise CommitFailedException("somebody was first")
        commit(self)

    monkeypatch.setattr(ManageSnapshots, "commit", overtaken)
    if times == TRIES:
        with pytest.raises(OvertakenError, match="run it again"):
            kept.keep({TABLE: first}, NOW)
    else:
        tag = kept.keep({TABLE: first}, NOW)
        assert tags(kept) == {tag: first}
