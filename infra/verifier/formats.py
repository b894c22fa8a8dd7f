"""What lies inside files, unpacked as far as it goes: a search of compressed bytes finds nothing, ever.

Holds: SeaweedFS volumes, Parquet, Avro, Kafka segments, SQLite, LevelDB tables, gzip and zstd, each by its own marks,
nested as they come.
Does not hold: any file's name or meaning; what is looked for (search.py).

Every reader yields pieces of bytes. What cannot be unpacked is yielded as it is and said (`Unread`), never passed over.
"""

from __future__ import annotations

import gzip
import io
import sqlite3
import struct
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

DEEPEST = 6
MUCH = 1 << 16
GZIP, ZSTD, PARQUET, AVRO, SQLITE = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1", b"Obj\x01", b"SQLite format 3\x00"
LEVELDB_MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
KAFKA_CODECS = {1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}
BATCH_HEADER = 61
NEEDLE_ALIGN = 8
SUPERBLOCK = 8
SNAPPY_XERIAL = b"\x82SNAPPY\x00"


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes as they are when they are unpacked, and how they were come to."""

    data: bytes
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


Part = Piece | Rows | Unread


def parts_of_file(path: Path) -> Iterator[Part]:
    """Everything in a file: its bytes as they are, and all that is packed in them."""
    data, way = path.read_bytes(), path.name
    if len(data) > MUCH and not any(data[-MUCH:]):
        # Set aside in advance, as the broker's indexes are: ten megabytes of nothing each.
        data = data.rstrip(b"\x00")
    if path.suffix == ".dat" and path.with_suffix(".idx").exists():
        yield Piece(data, way)
        yield from _volume(data, way)
    elif path.suffix == ".log" and path.parent.name.rpartition("-")[2].isdigit() and len(path.stem) == 20:
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
        elif data.startswith(AVRO):
            for block in _avro(data):
                yield from parts(block, f"{way} > avro", depth + 1)
        elif data.startswith(GZIP):
            yield from parts(gzip.decompress(data), f"{way} > gzip", depth + 1)
        elif data.startswith(ZSTD):
            yield from parts(_stream(data, "zstd"), f"{way} > zstd", depth + 1)
        elif data.endswith(LEVELDB_MAGIC):
            for block in _leveldb(data):
                yield from parts(block, f"{way} > leveldb", depth + 1)
    except (OSError, ValueError, EOFError, struct.error, zlib.error, IndexError, pa.ArrowException) as error:
        yield Unread(way, type(error).__name__)


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
            block = _snappy(block[:-4])
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


def _snappy(block: bytes) -> bytes:
    size, _ = _varint(block, 0)
    return pa.Codec("snappy").decompress(block, size).to_pybytes()


def _varint(data: bytes, at: int) -> tuple[int, int]:
    shift = value = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7


def _volume(data: bytes, way: str) -> Iterator[Part]:
    """Every needle of a SeaweedFS volume, deleted ones that a vacuum has not taken among them."""
    version, at = data[0] if data else 3, SUPERBLOCK
    tail = 4 + (8 if version == 3 else 0)
    while at + 16 <= len(data):
        needle, size = struct.unpack(">QI", data[at + 4 : at + 16])
        if size > len(data) - at:
            yield Unread(f"{way} at {at}", "a needle longer than its volume")
            return
        body = data[at + 16 : at + 16 + size]
        if size >= 4:
            (length,) = struct.unpack(">I", body[:4])
            yield from parts(body[4 : 4 + length], f"{way} needle {needle:x}", 1)
        whole = 16 + size + tail
        at += whole + (NEEDLE_ALIGN - whole % NEEDLE_ALIGN)


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
        return _snappy(records)
    found, at = b"", 16
    while at < len(records):
        (size,) = struct.unpack(">i", records[at : at + 4])
        found += _snappy(records[at + 4 : at + 4 + size])
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


def _leveldb(data: bytes) -> Iterator[bytes]:
    """Blocks of a LevelDB table."""
    at = len(data) - 48
    _, at = _varint(data, at)
    _, at = _varint(data, at)
    offset, at = _varint(data, at)
    size, _ = _varint(data, at)
    for handle in _values(_block(data, offset, size)):
        start, after = _varint(handle, 0)
        length, _ = _varint(handle, after)
        yield _block(data, start, length)


def _block(data: bytes, offset: int, size: int) -> bytes:
    block, kind = data[offset : offset + size], data[offset + size]
    return _snappy(block) if kind == 1 else block


def _values(block: bytes) -> Iterator[bytes]:
    (restarts,) = struct.unpack("<I", block[-4:])
    end, at = len(block) - 4 - 4 * restarts, 0
    while at < end:
        _, at = _varint(block, at)
        unshared, at = _varint(block, at)
        length, at = _varint(block, at)
        yield block[at + unshared : at + unshared + length]
        at += unshared + length
