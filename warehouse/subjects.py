"""Which rows are of some people, by a column of their tokens, whatever form Arrow has it in.

Does not hold: which people (the list of the erased, consents, requests), nor what becomes of the rows.
"""

from __future__ import annotations

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc


def is_of(rows: pa.Table, column: str, tokens: Collection[str]) -> pa.ChunkedArray:
    """bool[n]: whether each row is of one of them; never null, a row of nobody is of none."""
    return pc.fill_null(pc.is_in(rows[column].cast(pa.string()), pa.array(sorted(tokens), pa.string())), False)
