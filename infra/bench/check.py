"""Judges the tables of a benchmark by the ledger of what was sent; a benchmark that fails it reports nothing.

Holds: the reading of the tables and the comparison. Run as a process (it needs memory): `python -m infra.bench.check`.
Does not hold: the product's tests; the oracle under `tests/` is another program with another method.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from infra.bench.workload import Ledger
from warehouse.catalog import open_catalog
from warehouse.settings import Settings

POSITION = ("topic_id", "kafka_partition", "kafka_offset")
_FIRST_64_BITS = [*range(8), *range(9, 13), *range(14, 18)]


class CheckFailedError(RuntimeError):
    """The tables are not what the ledger says. The message names every difference."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Of the rows of a table: how many, and of their distinct events count, sum of seq, xor of the ids' first bits."""

    rows: int
    distinct: int
    sum_seq: int
    xor_id: int


def fingerprint(event_ids: pa.ChunkedArray, seq: pa.ChunkedArray) -> Fingerprint:
    """Of columns string (UUID texts, none null) and int64."""
    ids = np.concatenate([_first_bits(chunk) for chunk in event_ids.chunks]) if len(event_ids) else np.empty(0, ">u8")
    distinct, first = np.unique(ids, return_index=True)
    total = int(seq.to_numpy()[first].sum()) if len(seq) else 0
    return Fingerprint(len(ids), len(distinct), total, int(np.bitwise_xor.reduce(distinct, initial=np.uint64(0))))


def _first_bits(texts: pa.Array) -> np.ndarray:
    """uint64[n] of n UUID texts. Raises `ValueError` for a text of another length."""
    lengths = pc.unique(pc.binary_length(texts)).to_pylist()
    if lengths not in ([], [36]):
        raise ValueError("an event id is not a UUID text")
    joined = b"".join(texts.cast(pa.large_string()).cast(pa.large_binary()).to_pylist())
    digits = np.frombuffer(joined, np.uint8).reshape(-1, 36)[:, _FIRST_64_BITS]
    return np.frombuffer(bytes.fromhex(digits.tobytes().decode()), ">u8").astype(np.uint64)


def differences(expected: dict[str, int], found: dict[str, int]) -> list[str]:
    """A line for everything that is not as expected."""
    return [f"{what}: expected {n}, found {found.get(what)}" for what, n in expected.items() if found.get(what) != n]


def check_lake(settings: Settings, ledger: Ledger) -> dict[str, int]:
    """What the product's tables hold of `device.vitals`. Raises `CheckFailedError`."""
    vitals = _read(settings, "vitals", ("event_id", "seq", *POSITION))
    print_of = fingerprint(vitals["event_id"], vitals["seq"])
    others = {name: _of_stream(settings, name, "device.vitals") for name in ("rejects", "duplicates")}
    positions = _together(vitals, *others.values())
    found = {
        "rows": print_of.rows,
        "distinct events": print_of.distinct,
        "sum of seq": print_of.sum_seq,
        "xor of ids": print_of.xor_id,
        "rejects": others["rejects"].num_rows,
        "duplicates": others["duplicates"].num_rows,
        "positions": positions.num_rows,
        "distinct positions": distinct_positions(positions),
    }
    expected = {
        "rows": ledger.distinct,
        "distinct events": ledger.distinct,
        "sum of seq": ledger.sum_seq,
        "xor of ids": ledger.xor_id,
        "rejects": ledger.malformed,
        "duplicates": ledger.duplicates,
        "positions": ledger.messages,
        "distinct positions": ledger.messages,
    }
    _require(differences(expected, found))
    return found


def check_bare(settings: Settings, ledger: Ledger) -> dict[str, int]:
    """What the bare loop's table holds: every message, the repeated ones too. Raises `CheckFailedError`."""
    rows = _read(settings, "bare", ("event_id", "seq"))
    print_of = fingerprint(rows["event_id"], rows["seq"])
    found = {
        "rows": print_of.rows,
        "distinct events": print_of.distinct,
        "sum of seq": print_of.sum_seq,
        "xor of ids": print_of.xor_id,
    }
    expected = {
        "rows": ledger.messages,
        "distinct events": ledger.distinct,
        "sum of seq": ledger.sum_seq,
        "xor of ids": ledger.xor_id,
    }
    _require(differences(expected, found))
    return found


def check_positions(settings: Settings, stream: str, table: str, messages: int) -> dict[str, int]:
    """That each of a stream's messages is in exactly one place. Raises `CheckFailedError`."""
    rows = _read(settings, table, POSITION)
    others = [_of_stream(settings, name, stream) for name in ("rejects", "duplicates")]
    positions = _together(rows, *others)
    found = {
        "rows": rows.num_rows,
        "rejects": others[0].num_rows,
        "duplicates": others[1].num_rows,
        "positions": positions.num_rows,
        "distinct positions": distinct_positions(positions),
    }
    expected = {"positions": messages, "distinct positions": messages}
    _require([f"{stream}: {line}" for line in differences(expected, found)])
    return found


def _together(*tables: pa.Table) -> pa.Table:
    """The tables' positions. pyiceberg gives strings now as one Arrow type, now as another."""
    return pa.concat_tables([table.select(POSITION) for table in tables], promote_options="permissive")


def distinct_positions(positions: pa.Table) -> int:
    """How many different (topic, partition, offset)."""
    topics = pc.dictionary_encode(positions["topic_id"]).unify_dictionaries()
    topic = pa.chunked_array([chunk.indices for chunk in topics.chunks], pa.int32()).to_numpy().astype(np.int64)
    partition = positions["kafka_partition"].to_numpy().astype(np.int64)
    return len(np.unique((topic << 56) | (partition << 44) | positions["kafka_offset"].to_numpy()))


def _require(wrong: list[str]) -> None:
    if wrong:
        raise CheckFailedError("; ".join(wrong))


def _read(settings: Settings, table: str, columns: tuple[str, ...]) -> pa.Table:
    return open_catalog(settings).load_table((settings.namespace, table)).scan(selected_fields=columns).to_arrow()


def _of_stream(settings: Settings, table: str, stream: str) -> pa.Table:
    rows = _read(settings, table, ("stream", *POSITION))
    return rows.filter(pc.equal(rows["stream"], stream))


def main(arguments: list[str] | None = None) -> int:
    """Prints what was found as JSON; code 1 with the differences on standard error."""
    parser = argparse.ArgumentParser(prog="python -m infra.bench.check", description="Compare tables with a ledger.")
    parser.add_argument("what", choices=("lake", "bare", "positions"))
    parser.add_argument("--ledger", type=Path, help="JSON of a Ledger")
    parser.add_argument("--stream")
    parser.add_argument("--table")
    parser.add_argument("--messages", type=int)
    given = parser.parse_args(arguments)
    settings = Settings.from_environment()
    try:
        if given.what == "positions":
            found = check_positions(settings, given.stream, given.table, given.messages)
        else:
            ledger = Ledger(**json.loads(given.ledger.read_text()))
            found = (check_lake if given.what == "lake" else check_bare)(settings, ledger)
    except CheckFailedError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
