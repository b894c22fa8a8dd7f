"""Rows of a table made again: data files in the store that no snapshot names, until they take the place of others.

Holds: the staging of rows as they come, and the removal of the files when nobody wants them any more.
Does not hold: how the rows are made (`pipelines/rebuild.py`), what they are held against (`comparison.py`), nor the
commit that swaps them in (`FencedTable.replace_files`).

What a killed process leaves here is like any object that no snapshot names: upkeep finds and removes it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import date

import pyarrow as pa
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from warehouse.object_store import SinglePutFileIO
from warehouse.staging import SWEEP, StagedFiles, day_number, stage

STAGED_ROWS = 250_000
DELETED_AT_ONCE = 500


@dataclass
class Shadow:
    """The shadow of one table. Close it by `with`: what was not swapped in is removed.

    Attributes:
        rows: how many were added.
    """

    table: Table
    rows: int = 0
    _held: list[pa.Table] = field(default_factory=list)
    _files: list[DataFile] = field(default_factory=list)

    def __enter__(self) -> Shadow:
        return self

    def __exit__(self, *_: object) -> None:
        locations, self._files = self.locations, []
        for start in range(0, len(locations), DELETED_AT_ONCE):
            self._io.delete_many(locations[start : start + DELETED_AT_ONCE])

    def add(self, rows: pa.Table) -> None:
        """Take rows in the table's schema; so many at a time go to the store, the others with `flush`."""
        if rows.num_rows:
            self._held.append(rows)
            self.rows += rows.num_rows
        if sum(map(len, self._held)) >= STAGED_ROWS:
            self.flush()

    def flush(self) -> None:
        """Put what is held into the store. Raises OSError."""
        if self._held:
            staged = stage(self.table, pa.concat_tables(self._held), self._io)
            self._held = []
            self._files += staged.files

    @property
    def locations(self) -> list[str]:
        """Where the files lie."""
        return [file.file_path for file in self._files]

    def of_days(self, days: Collection[date]) -> StagedFiles:
        """The files of these partition days, as a commit takes them."""
        numbers = {day_number(day) for day in days}
        metadata = self.table.metadata
        chosen = tuple(file for file in self._files if file.partition[0] in numbers)
        return StagedFiles(
            chosen, metadata.current_schema_id, metadata.default_spec_id, self.table.properties.get(SWEEP)
        )

    def let_go(self, swapped: StagedFiles) -> None:
        """These files may become the table's: they are not removed here, whatever is told of the commit's outcome."""
        paths = {file.file_path for file in swapped.files}
        self._files = [file for file in self._files if file.file_path not in paths]

    @property
    def _io(self) -> SinglePutFileIO:
        assert isinstance(self.table.io, SinglePutFileIO), "loaded through `open_catalog`"
        return self.table.io
