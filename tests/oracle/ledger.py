"""The generators' ledgers, read back into columns: what was meant to be sent, and how each sending ended.

Holds: the simulator's JSON-lines ledger (a message a line) and `gen.py`'s summary ledger (counts and fingerprints).
Does not hold: any judgement.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

_UNNAMED = "device.vitals"
OK, FAILED, UNKNOWN = "ok", "failed", "unknown"

_LINES = pa.schema(
    [
        ("n", pa.int64()),
        ("stream", pa.string()),
        ("event_id", pa.string()),
        ("patient", pa.string()),
        ("kind", pa.string()),
        ("fate", pa.string()),
        ("reason", pa.string()),
        ("size", pa.int64()),
        ("sha256", pa.string()),
        ("result", pa.string()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
    ]
)

SENT_SCHEMA = pa.schema(
    [
        ("stream", pa.dictionary(pa.int32(), pa.string())),
        ("event_id", pa.string()),
        ("patient", pa.dictionary(pa.int32(), pa.string())),
        ("kind", pa.dictionary(pa.int32(), pa.string())),
        ("fate", pa.dictionary(pa.int32(), pa.string())),
        ("reason", pa.dictionary(pa.int32(), pa.string())),
        ("digest", pa.binary(32)),
        ("result", pa.dictionary(pa.int32(), pa.string())),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
    ]
)
"""One row a planned message in the order of sending; `stream` is `device.vitals` where the ledger names none;
`partition` and `offset` are -1 where no report named them."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """A simulator's ledger. `finished` is false where the simulator was killed."""

    heading: dict[str, Any]
    sent: pa.Table
    finished: bool


def read_ledger(path: Path) -> Ledger:
    """Read a simulator's ledger; a torn last line counts for nothing. Raises `ValueError` if it is no ledger."""
    whole = path.read_bytes()
    whole = whole[: whole.rfind(b"\n") + 1]
    heading = json.loads(whole[: whole.index(b"\n")]) if whole else {}
    if heading.get("ledger") != 1:
        raise ValueError(f"{path} is not a simulator's ledger of format 1")
    last = json.loads(whole[whole.rfind(b"\n", 0, -1) + 1 :])
    options = pj.ParseOptions(explicit_schema=_LINES, unexpected_field_behavior="ignore")
    lines = pj.read_json(pa.BufferReader(whole), pj.ReadOptions(block_size=8 << 20), options)
    planned = lines.filter(pc.is_valid(lines["sha256"]))
    ended = lines.filter(pc.is_valid(lines["result"]))
    if not np.array_equal(planned["n"].to_numpy(), np.arange(len(planned))):
        raise ValueError(f"{path} misses a plan: its numbers are not 0 to {len(planned) - 1}")
    return Ledger(heading, _joined(planned, ended), bool(last.get("finished")))


def _joined(planned: pa.Table, ended: pa.Table) -> pa.Table:
    at = ended["n"].to_numpy()
    results = np.full(len(planned), 2, np.int32)
    results[at] = pc.index_in(ended["result"], pa.array([OK, FAILED, UNKNOWN])).to_numpy()
    places = {}
    for name, kind in (("partition", np.int32), ("offset", np.int64)):
        places[name] = np.full(len(planned), -1, kind)
        places[name][at] = pc.fill_null(ended[name], -1).to_numpy()
    streams = pc.fill_null(planned["stream"], _UNNAMED).combine_chunks().dictionary_encode()
    columns = {
        "stream": streams,
        "event_id": planned["event_id"],
        **{name: planned[name].combine_chunks().dictionary_encode() for name in ("patient", "kind", "fate", "reason")},
        "digest": _digests(planned["sha256"]),
        "result": pa.DictionaryArray.from_arrays(pa.array(results), pa.array([OK, FAILED, UNKNOWN])),
        "partition": pa.array(places["partition"]),
        "offset": pa.array(places["offset"]),
    }
    return pa.table(columns, schema=SENT_SCHEMA)


def _digests(hexadecimal: pa.ChunkedArray) -> pa.ChunkedArray:
    chunks = [bytes.fromhex("".join(chunk.to_pylist())) for chunk in hexadecimal.chunks]
    arrays = [
        pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(raw) // 32, [None, pa.py_buffer(raw)])
        for raw in chunks
    ]  # fmt: skip
    return pa.chunked_array(arrays, pa.binary(32))


class Summary(NamedTuple):
    """`gen.py`'s ledger: counts, and fingerprints of the distinct valid records that do not depend on order."""

    messages: int
    malformed: int
    duplicates: int
    distinct: int
    sum_seq: int
    xor_id: int


def read_summary(path: Path) -> Summary:
    """Read a ledger of `gen.py`. `xor_id` is the exclusive or of the event ids' first 64 bits."""
    told = json.loads(path.read_text())
    counts = (told[name] for name in ("messages", "malformed", "duplicates", "distinct", "sum_seq"))
    return Summary(*counts, int(told["xor_id"], 16))
