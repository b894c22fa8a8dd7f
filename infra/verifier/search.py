"""The search for traces of a person in every file of a deployment.

Holds: what a trace is, how it shows in bytes and in decoded columns, and which folders' finds are named exceptions.
Does not hold: how files are unpacked (formats.py), the check of a certificate (verify.py).
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from infra.verifier.formats import Rows, Unread, parts_of_file

POSITION = ("topic_id", "kafka_partition", "kafka_offset")


@dataclass(frozen=True, slots=True)
class Trace:
    """Something that was a person's and nobody else's. `kind`: identifier, token, event_id, ciphertext, number,
    position. `value`: text, bytes, a number, or (topic id, partition, offset)."""

    kind: str
    value: Any

    def patterns(self) -> list[bytes]:
        """How it shows in bytes; empty for a position, which shows in rows alone."""
        if self.kind == "position":
            return []
        if self.kind == "number":
            return [struct.pack("<d", self.value), repr(self.value).encode()]
        return [self.value if isinstance(self.value, bytes) else self.value.encode()]


@dataclass(frozen=True, slots=True)
class Find:
    """A trace that is there. `way`: the file, and how it is packed in it."""

    trace: int
    kind: str
    file: str
    way: str


@dataclass(slots=True)
class Searched:
    """What a search looked at and found. `unread`: what could not be unpacked, with the reason."""

    files: int = 0
    parts: int = 0
    size_bytes: int = 0
    finds: list[Find] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)

    def kinds(self) -> dict[str, int]:
        """How many different traces of each kind were found."""
        found: dict[str, set[int]] = {}
        for find in self.finds:
            found.setdefault(find.kind, set()).add(find.trace)
        return {kind: len(numbers) for kind, numbers in sorted(found.items())}


def read_traces(file: Path) -> list[Trace]:
    """Traces as `write_traces` wrote them: a JSON list of {kind, value}; ciphertexts in base64, positions as lists."""
    found = []
    for each in json.loads(file.read_text()):
        value = each["value"]
        if each["kind"] == "ciphertext":
            value = base64.b64decode(value)
        found.append(Trace(each["kind"], tuple(value) if isinstance(value, list) else value))
    return found


def write_traces(file: Path, traces: Iterable[Trace]) -> None:
    """Keep traces for a later search. The file itself names the person: it is whoever keeps it who lets it go."""
    said = [
        {
            "kind": each.kind,
            "value": base64.b64encode(each.value).decode() if isinstance(each.value, bytes) else each.value,
        }
        for each in traces
    ]
    file.write_text(json.dumps(said))


def search(folders: Iterable[Path], traces: Collection[Trace], leave_out: Collection[Path] = ()) -> Searched:
    """Look for the traces in every file under the folders but for those left out."""
    done, needles = Searched(), _Needles(list(traces))
    for file in _files(folders, leave_out):
        try:
            found = list(_in_file(file, needles, done))
        except FileNotFoundError:
            continue
        done.files += 1
        seen = set()
        for number, way in found:
            if (number, way) not in seen:
                seen.add((number, way))
                done.finds.append(Find(number, needles.traces[number].kind, str(file), way))
    return done


def _files(folders: Iterable[Path], leave_out: Collection[Path]) -> Iterator[Path]:
    aside = [path.absolute() for path in leave_out]
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not any(file.absolute().is_relative_to(path) for path in aside):
                yield file


def _in_file(file: Path, needles: _Needles, done: Searched) -> Iterator[tuple[int, str]]:
    done.size_bytes += file.stat().st_size
    for part in parts_of_file(file):
        done.parts += 1
        if isinstance(part, Unread):
            done.unread.append((f"{file}: {part.way}", part.why))
        elif isinstance(part, Rows):
            yield from ((number, part.way) for number in needles.in_rows(part.table))
        else:
            yield from ((number, part.way) for number in needles.in_bytes(part.data))


@dataclass
class _Needles:
    """The traces, made ready for many looks."""

    traces: list[Trace]

    def __post_init__(self) -> None:
        self._patterns = [(pattern, n) for n, trace in enumerate(self.traces) for pattern in trace.patterns()]
        self._positions = {trace.value: n for n, trace in enumerate(self.traces) if trace.kind == "position"}
        self._offsets = pa.array(sorted({offset for _, _, offset in self._positions}), pa.int64())
        self._numbers = {trace.value: n for n, trace in enumerate(self.traces) if trace.kind == "number"}

    def in_bytes(self, data: bytes) -> Iterator[int]:
        for pattern, number in self._patterns:
            if pattern in data:
                yield number

    def in_rows(self, rows: pa.Table) -> Iterator[int]:
        yield from self._in_positions(rows)
        for name in rows.column_names:
            yield from self._in_column(rows[name])

    def _in_column(self, column: pa.ChunkedArray) -> Iterator[int]:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            column = pc.list_flatten(column)
        if pa.types.is_floating(column.type):
            values = np.unique(column.drop_null().to_numpy())
            yield from (n for value, n in self._numbers.items() if value in values)
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            yield from self.in_bytes("\n".join(column.drop_null().unique().to_pylist()).encode())
        elif pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
            yield from self.in_bytes(b"\n".join(column.drop_null().to_pylist()))

    def _in_positions(self, rows: pa.Table) -> Iterator[int]:
        if not self._positions or not set(POSITION) <= set(rows.column_names):
            return
        some = rows.select(POSITION).filter(pc.is_in(rows["kafka_offset"].cast(pa.int64()), self._offsets))
        for place in zip(*(some[name].to_pylist() for name in POSITION), strict=True):
            if place in self._positions:
                yield self._positions[place]
