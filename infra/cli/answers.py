"""How rows are shown: an aligned table for people; CSV, JSON, Parquet or Arrow for programs.

Holds: the formats. Text for people is shown without control characters: what a device sent must not steer a terminal.
Does not hold: where the rows come from.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from warehouse.analytics import Answer

SHOWN_ROWS = 1_000
SHOWN_WIDTH = 60


def table(answer: Answer) -> bytes:
    """Aligned columns, the first `SHOWN_ROWS` rows; longer values are cut and end in …."""
    return (_aligned(answer.table) + "\n").encode()


def csv_rows(answer: Answer) -> bytes:
    """A header and one line a row; times in ISO 8601, lists and structs as JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(answer.table.column_names)
    writer.writerows([_csv_value(value) for value in row.values()] for row in _rows(answer.table))
    return text.getvalue().encode()


def json_object(answer: Answer) -> bytes:
    """One object: `columns`, `rows`, `snapshots` (table -> Iceberg snapshot id) and `elapsed_s`."""
    shown = {
        "columns": answer.table.column_names,
        "rows": [{name: json_value(value) for name, value in row.items()} for row in _rows(answer.table)],
        "snapshots": answer.snapshots,
        "elapsed_s": round(answer.elapsed_s, 3),
    }
    return (json.dumps(shown, ensure_ascii=False) + "\n").encode()


def parquet(answer: Answer) -> bytes:
    """A Parquet file."""
    from pyarrow import BufferOutputStream
    from pyarrow import parquet as pq

    sink = BufferOutputStream()
    pq.write_table(answer.table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def arrow(answer: Answer) -> bytes:
    """An Arrow IPC stream."""
    from pyarrow import BufferOutputStream, ipc

    sink = BufferOutputStream()
    with ipc.new_stream(sink, answer.table.schema) as writer:
        writer.write_table(answer.table)
    return sink.getvalue().to_pybytes()


FORMATS: dict[str, Callable[[Answer], bytes]] = {
    "table": table,
    "csv": csv_rows,
    "json": json_object,
    "parquet": parquet,
    "arrow": arrow,
}
BINARY = frozenset({"parquet", "arrow"})


def json_value(value: Any) -> Any:
    """`value` as JSON has it: times in ISO 8601, bytes in hexadecimal, NaN and infinities as null."""
    if isinstance(value, dict):
        return {str(key): json_value(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (str, int)) or value is None:
        return value
    return _instant(value) if isinstance(value, date) else str(value)


def printable(text: str) -> str:
    """`text` with everything that is no visible character written as an escape."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def _rows(rows: pa.Table) -> list[dict[str, Any]]:
    return [row for batch in rows.to_batches(10_000) for row in batch.to_pylist()]


def _csv_value(value: Any) -> Any:
    shown = json_value(value)
    return json.dumps(shown, ensure_ascii=False) if isinstance(shown, (dict, list)) else shown


def _instant(moment: date) -> str:
    return moment.isoformat().replace("+00:00", "Z") if isinstance(moment, datetime) else moment.isoformat()


def _aligned(rows: pa.Table) -> str:
    names = [printable(name) for name in rows.column_names]
    cells = [[_cell(value) for value in row.values()] for row in _rows(rows.slice(0, SHOWN_ROWS))]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    right = [_is_number(field.type) for field in rows.schema]
    rule: list[str] = ["─" * width for width in widths]
    lines = [_line(row, widths, right) for row in [names, rule, *cells]]
    if rows.num_rows > SHOWN_ROWS:
        lines.append(f"… {rows.num_rows - SHOWN_ROWS:,} more rows; --format csv prints all")
    return "\n".join(lines)


def _line(cells: list[str], widths: list[int], right: list[bool]) -> str:
    padded = (
        cell.rjust(width) if number else cell.ljust(width)
        for cell, width, number in zip(cells, widths, right, strict=True)
    )
    return "  ".join(padded).rstrip()


def _cell(value: Any) -> str:
    if value is None:
        return "·"
    if isinstance(value, float):
        return f"{value:.6g}"
    shown = json_value(value)
    text = printable(shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False))
    return text if len(text) <= SHOWN_WIDTH else text[: SHOWN_WIDTH - 1] + "…"


def _is_number(data_type: pa.DataType) -> bool:
    from pyarrow import types

    return types.is_integer(data_type) or types.is_floating(data_type) or types.is_decimal(data_type)
