"""What became of the rows: read with pyiceberg's own reader and compared with the source, position by position.

Holds: the reading and the comparison. It imports nothing of the product.
Does not hold: how the table came about.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Table

from tests.crash.committer import source


@dataclass(frozen=True, slots=True)
class Verdict:
    """Counts of positions. `wrong`: rows whose content is not what the source says; `phantom`: rows beyond the vector;
    `forgotten`: acknowledged intervals that the vector does not cover."""

    rows: int
    lost: int
    doubled: int
    wrong: int
    phantom: int
    forgotten: int

    @property
    def clean(self) -> bool:
        return not (self.lost or self.doubled or self.wrong or self.phantom or self.forgotten)


def judge(
    catalog_uri: str, store: dict[str, str], identifier: tuple[str, str], acknowledged: Iterable[Path]
) -> Verdict:
    """Read the table at its head and count."""
    table = SqlCatalog("wardstream", uri=catalog_uri, **store).load_table(identifier)
    vector = _vector(table)
    rows = table.scan(selected_fields=("event_id", "numeric_value", "kafka_partition", "kafka_offset")).to_arrow()
    partitions, offsets = rows["kafka_partition"].to_numpy(), rows["kafka_offset"].to_numpy()
    lost = doubled = wrong = phantom = 0
    for partition, end in vector.items():
        mine = partitions == partition
        found, times = np.unique(offsets[mine], return_counts=True)
        doubled += int((times - 1).sum())
        lost += len(np.setdiff1d(source.offsets_with_rows(0, end), found))
        phantom += len(np.setdiff1d(found, source.offsets_with_rows(0, end)))
        right_value = rows["numeric_value"].to_numpy()[mine] == source.values(partition, offsets[mine])
        ids = rows["event_id"].filter(mine).to_pylist()
        right_id = np.array(ids) == np.array(source.event_ids(partition, offsets[mine]))
        wrong += int((~(right_value & right_id)).sum())
    phantom += int(np.isin(partitions, list(vector), invert=True).sum())
    forgotten = sum(end > vector[partition] for partition, _, end in _acknowledged(acknowledged))
    return Verdict(len(offsets), lost, doubled, wrong, phantom, forgotten)


def _vector(table: Table) -> dict[int, int]:
    """Where the head says that each partition's next position is."""
    snapshot = table.current_snapshot()
    assert snapshot is not None, "the table never got a start"
    assert snapshot.summary is not None, "the head says nothing"
    offsets = json.loads(snapshot.summary.additional_properties["wardstream.offsets"])
    return {int(partition): next_ for partition, next_ in offsets[source.TOPIC].items()}


def _acknowledged(files: Iterable[Path]) -> list[tuple[int, int, int]]:
    """Whole lines only: a kill may have cut the last one."""
    return [json.loads(line) for file in files for line in file.read_bytes().split(b"\n")[:-1]]
