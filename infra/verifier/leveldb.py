"""LevelDB as a filer keeps its lists: tables (.ldb) and journals (.log), unpacked.

Holds: blocks of a table, values of a table and of a journal, superseded and deleted ones that no compaction has taken
among them. Does not hold: what a value means (seaweed.py).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pyarrow as pa

MAGIC = struct.pack("<Q", 0xDB4775248B80FB57)
FOOTER = 48
JOURNAL_BLOCK, JOURNAL_HEADER = 1 << 15, 7
FULL, LAST = 1, 4
BATCH_HEADER = 12


def table_blocks(data: bytes) -> Iterator[bytes]:
    """Blocks of a table, uncompressed. Raises IndexError, struct.error or pa.ArrowException where it is none."""
    at = len(data) - FOOTER
    _, at = varint(data, at)
    _, at = varint(data, at)
    offset, at = varint(data, at)
    size, _ = varint(data, at)
    for handle in _block_values(_block(data, offset, size)):
        start, after = varint(handle, 0)
        length, _ = varint(handle, after)
        yield _block(data, start, length)


def table_values(data: bytes) -> Iterator[bytes]:
    """Values of a table, whatever their keys. Raises as `table_blocks`."""
    for block in table_blocks(data):
        yield from _block_values(block)


def journal_values(data: bytes) -> Iterator[bytes]:
    """Values that a journal puts. One that was cut off ends with the last whole record."""
    for record in _journal_records(data):
        try:
            yield from _batch_values(record)
        except IndexError:
            return


def _journal_records(data: bytes) -> Iterator[bytes]:
    at, record = 0, b""
    while at + JOURNAL_HEADER <= len(data):
        room = JOURNAL_BLOCK - at % JOURNAL_BLOCK
        if room < JOURNAL_HEADER:
            at += room
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + JOURNAL_HEADER])
        if kind == 0:
            at += room
            continue
        piece = data[at + JOURNAL_HEADER : at + JOURNAL_HEADER + length]
        record = piece if kind <= 2 else record + piece
        if kind in (FULL, LAST):
            yield record
        at += JOURNAL_HEADER + length


def _batch_values(record: bytes) -> Iterator[bytes]:
    at = BATCH_HEADER
    while at < len(record):
        puts = record[at] == 1
        length, at = varint(record, at + 1)
        at += length
        if puts:
            length, at = varint(record, at)
            yield record[at : at + length]
            at += length


def _block(data: bytes, offset: int, size: int) -> bytes:
    block, kind = data[offset : offset + size], data[offset + size]
    return snappy(block) if kind == 1 else block


def _block_values(block: bytes) -> Iterator[bytes]:
    (restarts,) = struct.unpack("<I", block[-4:])
    end, at = len(block) - 4 - 4 * restarts, 0
    while at < end:
        _, at = varint(block, at)
        unshared, at = varint(block, at)
        length, at = varint(block, at)
        yield block[at + unshared : at + unshared + length]
        at += unshared + length


def snappy(block: bytes) -> bytes:
    """A raw snappy block, uncompressed."""
    size, _ = varint(block, 0)
    return pa.Codec("snappy").decompress(block, size).to_pybytes()


def varint(data: bytes, at: int) -> tuple[int, int]:
    """An unsigned variable-length integer and the place behind it. Raises IndexError where the data ends in it."""
    shift = value = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, at
        shift += 7
