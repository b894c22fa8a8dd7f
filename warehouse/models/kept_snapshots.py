"""Snapshots that a model learns from, kept by tags: under the training's name while it learns, then under the model's.

Holds: tagging what was read, handing it over to a model, moving it, letting it go; what the tags are called.
Does not hold: what is read (`training_rows.py`), nor what an erasure makes of tags (`warehouse/erasure/models.py`).

A stream that commits every other second trims a snapshot within minutes, and learning takes an hour: so what was read
is kept before anything is learnt. A training that was killed leaves its tags; the next one, and every erasure, drops
them once they are old.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.table import Table
from pyiceberg.table.update.snapshot import ManageSnapshots

from warehouse.catalog import load_table

MODEL, TRAINING = "model-", "training-"
STALE = timedelta(days=2)
"""No training takes so long: whoever began it is dead."""
TRIES = 8
_TIME = "%Y%m%dT%H%M%S"
_OURS = re.compile(rf"{TRAINING}(\d{{8}}T\d{{6}})-[0-9a-f]{{6}}")


class SnapshotGoneError(RuntimeError):
    """A snapshot that was read is not in its table any more."""


class OvertakenError(RuntimeError):
    """Others wrote to a table each time that one of its tags was to be changed. Nothing of it was."""


@dataclass(frozen=True, slots=True)
class KeptSnapshots:
    """Of one lake's tables. Where it changes one, it raises `OvertakenError` once `TRIES` writers went ahead."""

    catalog: Catalog
    namespace: str

    def keep(self, snapshots: Mapping[str, int], now: datetime) -> str:
        """Keep these (table -> snapshot) under a name of their own; which it is. Raises `SnapshotGoneError` and keeps
        none where one of them was trimmed since it was read."""
        tag = f"{TRAINING}{now.astimezone(UTC):{_TIME}}-{secrets.token_hex(3)}"
        try:
            for name, snapshot in snapshots.items():
                self._drop_stale(name, now)
                self.move(name, tag, snapshot)
        except SnapshotGoneError:
            self.release(tag, snapshots)
            raise
        return tag

    def hand_over(self, tag: str, snapshots: Mapping[str, int], version: str) -> None:
        """What a training's tag keeps is kept by a model's, unless it has one. An erasure may have moved the tag to a
        snapshot without somebody; where there is none, the snapshot that was read is meant."""
        for name, read in snapshots.items():
            refs = load_table(self.catalog, self.namespace, name).metadata.refs
            if f"{MODEL}{version}" not in refs:
                self.move(name, f"{MODEL}{version}", refs[tag].snapshot_id if tag in refs else read)

    def release(self, tag: str, names: Iterable[str]) -> None:
        """In these tables nothing is kept under this name any more."""
        for name in names:
            self._change(name, lambda table: table.manage_snapshots().remove_tag(tag) if _has(table, tag) else None)

    def move(self, name: str, tag: str, snapshot: int) -> None:
        """Let a tag of a table keep this snapshot, whether or not it kept another. Raises `SnapshotGoneError`."""

        def tagged(table: Table) -> ManageSnapshots:
            if table.metadata.snapshot_by_id(snapshot) is None:
                raise SnapshotGoneError(f"{name} has no snapshot {snapshot} any more: it was trimmed since it was read")
            return table.manage_snapshots().create_tag(snapshot, tag)

        self._change(name, tagged)

    def _drop_stale(self, name: str, now: datetime) -> None:
        refs = load_table(self.catalog, self.namespace, name).metadata.refs
        for tag in [each for each in refs if is_stale(each, now)]:
            self.release(tag, [name])

    def _change(self, name: str, change: Callable[[Table], ManageSnapshots | None]) -> None:
        for left in reversed(range(TRIES)):
            change_now = change(load_table(self.catalog, self.namespace, name))
            if change_now is None:
                return
            try:
                return change_now.commit()
            except CommitFailedException:
                if not left:
                    raise OvertakenError(f"others wrote to {name} first {TRIES} times; run it again") from None


def is_training(tag: str) -> bool:
    """Whether a tag is one of a training, and not somebody's own of that name."""
    return _OURS.fullmatch(tag) is not None


def is_stale(tag: str, now: datetime) -> bool:
    """Whether a tag is one of a training that is long dead."""
    found = _OURS.fullmatch(tag)
    return found is not None and now - datetime.strptime(found[1], _TIME).replace(tzinfo=UTC) > STALE


def _has(table: Table, tag: str) -> bool:
    return tag in table.metadata.refs
