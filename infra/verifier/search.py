"""The search for traces of a person in every file of a deployment.

Holds: what a trace is, how it shows in bytes and in decoded columns, and which folders' finds are named exceptions.
Does not hold: how files are unpacked (formats.py), the check of a certificate (verify.py).
"""

from __future__ import annotations

import base64
import json
import mmap
import struct
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from infra.verifier.formats import Half, Part, Rows, Unread, parts, parts_of_file
from infra.verifier.seaweed import Place, joined_objects

POSITION = ("topic_id", "kafka_partition", "kafka_offset")
LONG_DIGITS = 7
"""As many digits and an identifier is looked for in columns of integers too."""


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
    folders, done, needles = list(folders), Searched(), _Needles(list(traces))
    halves: list[tuple[Path, Half]] = []
    for file in _files(folders, leave_out):
        try:
            size = file.stat().st_size
            _look(parts_of_file(file), file, needles, done, halves)
        except FileNotFoundError:
            continue
        done.files += 1
        done.size_bytes += size
    _look_in_joined(folders, halves, needles, done)
    return done


def _look(
    parts: Iterable[Part], file: Path, needles: _Needles, done: Searched, halves: list[tuple[Path, Half]]
) -> None:
    seen = set()
    for part in parts:
        done.parts += 1
        if isinstance(part, Unread):
            done.unread.append((f"{file}: {part.way}", part.why))
            continue
        if isinstance(part, Half):
            halves.append((file, part))
            continue
        numbers = needles.in_rows(part.table) if isinstance(part, Rows) else needles.in_bytes(part.data)
        for number in numbers:
            if (number, part.way) not in seen:
                seen.add((number, part.way))
                done.finds.append(Find(number, needles.traces[number].kind, str(file), part.way))


def _look_in_joined(
    folders: Sequence[Path], halves: Sequence[tuple[Path, Half]], needles: _Needles, done: Searched
) -> None:
    """Look in the objects of several pieces. A half that is none of theirs is told as unread."""
    told: set[tuple[Path, Place]] = set()
    for whole in joined_objects(folders):
        way = f"{whole.volume.name}, an object of {len(whole.places)} pieces from {min(whole.places)[1]:x}"
        _look(parts(whole.data, way, 1), whole.volume, needles, done, [])
        told |= {(whole.volume.parent, place) for place in whole.places}
    done.unread += [
        (f"{file}: {half.way}", "a piece of an object whose other pieces are not to be found")
        for file, half in halves
        if (file.parent, half.place) not in told
    ]


def _files(folders: Iterable[Path], leave_out: Collection[Path]) -> Iterator[Path]:
    aside = [path.absolute() for path in leave_out]
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not any(file.absolute().is_relative_to(path) for path in aside):
                yield file


@dataclass
class _Needles:
    """The traces, made ready for many looks."""

    traces: list[Trace]

    def __post_init__(self) -> None:
        self._patterns = [(pattern, n) for n, trace in enumerate(self.traces) for pattern in trace.patterns()]
        self._positions = {trace.value: n for n, trace in enumerate(self.traces) if trace.kind == "position"}
        self._offsets = pa.array(sorted({offset for _, _, offset in self._positions}), pa.int64())
        self._numbers = {trace.value: n for n, trace in enumerate(self.traces) if trace.kind == "number"}
        self._digits = {
            int(trace.value): n for n, trace in enumerate(self.traces) if trace.kind == "identifier" and _is_long(trace)
        }

    def in_bytes(self, data: bytes | mmap.mmap) -> Iterator[int]:
        for pattern, number in self._patterns:
            if data.find(pattern) >= 0:
                yield number

    def in_rows(self, rows: pa.Table) -> Iterator[int]:
        yield from self._in_positions(rows)
        for name in rows.column_names:
            yield from self._in_column(rows[name])

    def _in_column(self, column: pa.ChunkedArray) -> Iterator[int]:
        kind = column.type
        if pa.types.is_dictionary(kind):
            yield from self._in_column(column.cast(kind.value_type))
        elif pa.types.is_struct(kind):
            for field_of in column.flatten():
                yield from self._in_column(field_of)
        elif pa.types.is_map(kind):
            for each in column.chunks:
                yield from self._in_column(pa.chunked_array([each.keys]))
                yield from self._in_column(pa.chunked_array([each.items]))
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
            yield from self._in_column(pc.list_flatten(column))
        elif pa.types.is_floating(kind):
            values = np.unique(column.drop_null().to_numpy())
            yield from (n for value, n in self._numbers.items() if value in values)
        elif pa.types.is_integer(kind) and self._digits:
            values = np.unique(column.drop_null().to_numpy())
            yield from (n for value, n in self._digits.items() if value in values)
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            yield from self.in_bytes("\n".join(column.drop_null().unique().to_pylist()).encode())
        elif _is_bytes(kind):
            yield from self.in_bytes(b"\n".join(column.drop_null().to_pylist()))

    def _in_positions(self, rows: pa.Table) -> Iterator[int]:
        if not self._positions or not set(POSITION) <= set(rows.column_names):
            return
        some = rows.select(POSITION).filter(pc.is_in(rows["kafka_offset"].cast(pa.int64()), self._offsets))
        for place in zip(*(some[name].to_pylist() for name in POSITION), strict=True):
            if place in self._positions:
                yield self._positions[place]


def _is_long(trace: Trace) -> bool:
    """Whether an identifier is digits, and as many as no count or code has: one of few is in every table."""
    return str(trace.value).isascii() and str(trace.value).isdigit() and len(str(trace.value)) >= LONG_DIGITS


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
