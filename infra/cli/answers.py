"""How rows are shown: an aligned table or a field a line for people; CSV, JSON, Parquet or Arrow for programs.

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


def fields(answer: Answer) -> bytes:
    """One field a line with its whole value, a blank line between rows."""
    names = [printable(name) for name in answer.table.column_names]
    width = max(map(len, names), default=0)
    blocks = (
        "".join(f"{name:{width}}  {_text(value)}\n" for name, value in zip(names, row.values(), strict=True))
        for row in _rows(answer.table)
    )
    return "\n".join(blocks).encode()


def is_cut(answer: Answer) -> bool:
    """Whether `table` leaves out the end of a value."""
    shown = _rows(answer.table.slice(0, SHOWN_ROWS))
    return any(len(_text(value)) > SHOWN_WIDTH for row in shown for value in row.values())


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
    "line": fields,
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


def aligned(names: list[str], cells: list[list[str]], right: list[bool]) -> list[str]:
    """Lines of a table: the names, a rule, the rows; columns marked in `right` end at one place. Nothing is wrapped."""
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    rule: list[str] = ["─" * width for width in widths]
    return [_line(row, widths, right) for row in [names, rule, *cells]]


def _aligned(rows: pa.Table) -> str:
    names = [printable(name) for name in rows.column_names]
    cells = [[_cell(value) for value in row.values()] for row in _rows(rows.slice(0, SHOWN_ROWS))]
    lines = aligned(names, cells, [_is_number(field.type) for field in rows.schema])
    if rows.num_rows > SHOWN_ROWS:
        lines.append(f"… {rows.num_rows - SHOWN_ROWS:,} more rows; --format csv prints all")
    return "\n".join(lines)


def _line(cells: list[str], widths: list[int], right: list[bool]) -> str:
    padded = (
        cell.rjust(width) if number else cell.ljust(width)
        for cell, width, number in zip(cells, widths, right, strict=True)
    )
    return "  ".join(padded).rstrip()


def _text(value: Any) -> str:
    if value is None:
        return "·"
    if isinstance(value, float):
        return f"{value:.6g}"
    shown = json_value(value)
    return printable(shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False))


def _cell(value: Any) -> str:
    text = _text(value)
    return text if len(text) <= SHOWN_WIDTH else text[: SHOWN_WIDTH - 1] + "…"


def _is_number(data_type: pa.DataType) -> bool:
    from pyarrow import types

    return types.is_integer(data_type) or types.is_floating(data_type) or types.is_decimal(data_type)
