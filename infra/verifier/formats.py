"""What lies inside files, unpacked as far as it goes: a search of compressed bytes finds nothing, ever.

Holds: SeaweedFS volumes, Parquet, Avro, Kafka segments, SQLite, LevelDB tables, gzip and zstd, each by its own marks,
nested as they come.
Does not hold: any file's name or meaning; objects of several pieces (seaweed.py); what is looked for (search.py).

Every reader yields pieces of bytes. What cannot be unpacked is yielded as it is and said (`Unread`), never passed over;
what is a piece of something larger is said too (`Half`), for whoever can put it together.
"""

from __future__ import annotations

import gzip
import io
import mmap
import sqlite3
import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from infra.verifier import leveldb, seaweed

DEEPEST = 6
MUCH = 1 << 16
GZIP, ZSTD, PARQUET, AVRO, SQLITE = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b"Obj\x01", b"SQLite format 3\x00"
KAFKA_CODECS = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
BATCH_HEADER = 61
PIECE = 1 << 20
"""Pieces of an object are a whole number of these but for the last, whatever bound a filer was given."""
SNAPPY_XERIAL = b"\x82SNAPPY\x00"


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes as they are when they are unpacked, and how they were come to."""

    data: bytes | mmap.mmap
    way: str


@dataclass(frozen=True, slots=True)
class Rows:
    """A decoded Parquet file: its columns as Arrow has them."""

    table: pa.Table
    way: str


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that looked packed and could not be unpacked."""

    way: str
    why: str


@dataclass(frozen=True, slots=True)
class Half:
    """A needle that is a piece of an object: to be unpacked with the others of it."""

    way: str
    place: seaweed.Place


Part = Piece | Rows | Unread | Half


def parts_of_file(path: Path) -> Iterator[Part]:
    """Everything in a file: its bytes as they are, and all that is packed in them."""
    if seaweed.is_volume(path):
        with seaweed.mapped(path) as volume:
            yield Piece(volume, path.name)
            yield from _volume(volume, path)
        return
    data, way = path.read_bytes(), path.name
    if len(data) > MUCH and not any(data[-MUCH:]):
        # Set aside in advance, as the broker's indexes are: ten megabytes of nothing each.
        data = data.rstrip(b"\x00")
    if path.suffix == ".log" and path.parent.name.rpartition("-")[2].isdigit() and len(path.stem) == 20:
        yield Piece(data, way)
        yield from _segment(data, way)
    elif data.startswith(SQLITE):
        yield Piece(data, way)
        yield from _database(path, way)
    else:
        yield from parts(data, way)


def parts(data: bytes, way: str, depth: int = 0) -> Iterator[Part]:
    """Bytes as they are, and what they hold unpacked."""
    yield Piece(data, way)
    if depth >= DEEPEST or len(data) < 4:
        return
    try:
        if data.startswith(PARQUET) and data.endswith(PARQUET):
            yield from _parquet(data, f"{way} > parquet")
        elif is_half(data):
            yield Unread(way, "half a Parquet file")
        elif data.startswith(AVRO):
            for block in _avro(data):
                yield from parts(block, f"{way} > avro", depth + 1)
        elif data.startswith(GZIP):
            yield from parts(gzip.decompress(data), f"{way} > gzip", depth + 1)
        elif data.startswith(ZSTD):
            yield from parts(_stream(data, "zstd"), f"{way} > zstd", depth + 1)
        elif data.endswith(leveldb.MAGIC):
            for block in leveldb.table_blocks(data):
                yield from parts(block, f"{way} > leveldb", depth + 1)
    except (OSError, ValueError, EOFError, struct.error, zlib.error, IndexError, pa.ArrowException) as error:
        yield Unread(way, type(error).__name__)


def is_half(data: bytes) -> bool:
    """Whether bytes begin or end as a Parquet file does, and not both."""
    return data.startswith(PARQUET) != data.endswith(PARQUET)


def _stream(data: bytes, codec: str) -> bytes:
    return pa.CompressedInputStream(pa.BufferReader(data), codec).read()


def _parquet(data: bytes, way: str) -> Iterator[Part]:
    yield Rows(pq.read_table(pa.BufferReader(data)), way)


def _avro(data: bytes) -> Iterator[bytes]:
    """Header and blocks of an Avro object container, uncompressed."""
    reader = io.BytesIO(data)
    reader.seek(4)
    meta: dict[str, bytes] = {}
    while count := _long(reader):
        if count < 0:
            _long(reader)
            count = -count
        for _ in range(count):
            key = reader.read(_long(reader)).decode()
            meta[key] = reader.read(_long(reader))
    sync, codec = reader.read(16), meta.get("avro.codec", b"null").decode()
    yield b"\n".join(meta.values())
    while reader.tell() < len(data):
        _long(reader)
        block = reader.read(_long(reader))
        if codec == "deflate":
            block = zlib.decompress(block, -15)
        elif codec == "zstandard":
            block = _stream(block, "zstd")
        elif codec == "snappy":
            block = leveldb.snappy(block[:-4])
        yield block
        if reader.read(16) != sync:
            raise ValueError("an Avro block does not end in its mark")


def _long(reader: io.BytesIO) -> int:
    shift = value = 0
    while True:
        byte = reader.read(1)
        if not byte:
            raise EOFError
        value |= (byte[0] & 0x7F) << shift
        if not byte[0] & 0x80:
            return (value >> 1) ^ -(value & 1)
        shift += 7


def _volume(data: bytes | mmap.mmap, path: Path) -> Iterator[Part]:
    """Every needle of a SeaweedFS volume, deleted ones that a vacuum has not taken among them."""
    number = seaweed.volume_number(path)
    for needle in seaweed.needles(data):
        if needle.cut:
            yield Unread(f"{path.name} at {needle.at}", "a needle longer than its volume")
            return
        body, way = bytes(data[needle.start : needle.stop]), f"{path.name} needle {needle.key:x}"
        if is_half(body) or (body and len(body) % PIECE == 0 and not body.startswith(PARQUET)):
            yield Piece(body, way)
            yield Half(way, (number, needle.key))
        else:
            yield from parts(body, way, 1)


def _segment(data: bytes, way: str) -> Iterator[Part]:
    """Every batch of a Kafka segment, its records unpacked."""
    at = 0
    while at + BATCH_HEADER <= len(data):
        base, length = struct.unpack(">qi", data[at : at + 12])
        if length <= 0:
            return
        (attributes,) = struct.unpack(">h", data[at + 21 : at + 23])
        records, codec = data[at + BATCH_HEADER : at + 12 + length], KAFKA_CODECS.get(attributes & 7)
        try:
            yield Piece(_records(records, codec), f"{way} > batch {base}")
        except (OSError, ValueError, EOFError, zlib.error, pa.ArrowException) as error:
            yield Unread(f"{way} > batch {base}", type(error).__name__)
        at += 12 + length


def _records(records: bytes, codec: str | None) -> bytes:
    if codec is None:
        return records
    if codec == "gzip":
        return gzip.decompress(records)
    if codec != "snappy":
        return _stream(records, codec)
    if not records.startswith(SNAPPY_XERIAL):
        return leveldb.snappy(records)
    found, at = b"", 16
    while at < len(records):
        (size,) = struct.unpack(">i", records[at : at + 4])
        found += leveldb.snappy(records[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def _database(path: Path, way: str) -> Iterator[Part]:
    """Every cell of a SQLite database, read from a copy so that nothing of it is touched."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        for beside in (path, path.with_name(f"{path.name}-wal")):
            if beside.exists():
                copy.with_name(beside.name).write_bytes(beside.read_bytes())
        try:
            database = sqlite3.connect(copy)
            names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for name in names:
                for row in database.execute(f'SELECT * FROM "{name}"'):
                    for value in row:
                        if isinstance(value, str | bytes):
                            data = value.encode() if isinstance(value, str) else value
                            yield from parts(data, f"{way} > {name}", 1)
            database.close()
        except sqlite3.Error as error:
            yield Unread(way, type(error).__name__)
