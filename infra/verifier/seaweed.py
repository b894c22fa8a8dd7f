"""Objects as SeaweedFS keeps them: pieces in volumes, and lists in the filer of which pieces make one object.

Holds: the needles of a volume, the lists of a filer, and objects put together of their pieces. An object above the
filer's bound (4 MiB unless told otherwise) is several needles; none of them alone can be unpacked.
Does not hold: what an object holds (formats.py).

Read the lists after the volumes: whatever was in a volume then and belongs to something has its list by now.
Formats: needles `weed/storage/needle`, lists `filer.proto` (Entry.chunks, FileChunk, FileId) of SeaweedFS 4.
"""

from __future__ import annotations

import gzip
import mmap
import re
import struct
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from infra.verifier import leveldb

SUPERBLOCK = 8
NEEDLE_HEADER = 16
NEEDLE_ALIGN = 8
GZIP = b"\x1f\x8b"
VOLUME = re.compile(r"(?:.+_)?(\d+)\.dat")
FILERS = "filerldb*"

Place = tuple[int, int]
"""Number of a volume, key of a needle."""


@dataclass(frozen=True, slots=True)
class Needle:
    """One needle: its key and where its data lies. `cut`: it says that it goes on behind the end of its volume."""

    key: int
    at: int
    start: int
    stop: int
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an object. `offset`, `size`: bytes within the object, uncompressed."""

    place: Place
    offset: int
    size: int
    is_compressed: bool = False


@dataclass(frozen=True, slots=True)
class Joined:
    """An object put together. `volume`: the file that has its first piece."""

    volume: Path
    places: frozenset[Place]
    data: bytes


def is_volume(file: Path) -> bool:
    """Whether a file is a volume: it has its index beside it."""
    return VOLUME.fullmatch(file.name) is not None and file.with_suffix(".idx").exists()


def volume_number(file: Path) -> int:
    """The number of a volume. Raises ValueError where the file is none."""
    found = VOLUME.fullmatch(file.name)
    if found is None:
        raise ValueError(f"{file.name} is no volume")
    return int(found[1])


@contextmanager
def mapped(file: Path) -> Generator[mmap.mmap | bytes]:
    """The bytes of a file without reading them all: a volume is larger than a memory may be."""
    with file.open("rb") as opened:
        if not file.stat().st_size:
            yield b""
            return
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            yield data


def needles(data: mmap.mmap | bytes) -> Iterator[Needle]:
    """Every needle of a volume in its order, deleted ones that a vacuum has not taken among them."""
    version, at = data[0] if data else 3, SUPERBLOCK
    tail = 4 + (8 if version == 3 else 0)
    while at + NEEDLE_HEADER <= len(data):
        key, size = struct.unpack(">QI", data[at + 4 : at + NEEDLE_HEADER])
        if size > len(data) - at:
            yield Needle(key, at, at, at, cut=True)
            return
        if size >= 4:
            start = at + NEEDLE_HEADER + 4
            (length,) = struct.unpack(">I", data[start - 4 : start])
            yield Needle(key, at, start, start + length)
        whole = NEEDLE_HEADER + size + tail
        at += whole + (NEEDLE_ALIGN - whole % NEEDLE_ALIGN)


def joined_objects(folders: Iterable[Path]) -> Iterator[Joined]:
    """Every object of several pieces under the folders, the longest lists first, none twice.

    An upload in parts leaves the lists of its parts beside the list of the whole: those tell nothing more.
    """
    for filer in sorted({found for folder in folders for found in folder.rglob(FILERS) if found.is_dir()}):
        done: set[Place] = set()
        lists = {chunks for chunks in _lists(filer) if len(chunks) > 1}
        if not lists:
            continue
        with _Volumes(filer.parent) as volumes:
            for chunks in sorted(lists, key=len, reverse=True):
                places = frozenset(chunk.place for chunk in chunks)
                if places <= done or not all(place in volumes for place in places):
                    continue
                done |= places
                yield Joined(volumes.file(chunks[0]), places, volumes.join(chunks))


class _Volumes:
    """Needles of the volumes beside a filer, by their places."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open = ExitStack()
        self._files: dict[int, Path] = {}
        self._data: dict[int, mmap.mmap | bytes] = {}
        self._needles: dict[Place, Needle] = {}

    def __enter__(self) -> _Volumes:
        for file in sorted(self._folder.glob("*.dat")):
            if is_volume(file):
                number = volume_number(file)
                self._files[number] = file
                self._data[number] = self._open.enter_context(mapped(file))
                for needle in needles(self._data[number]):
                    self._needles.setdefault((number, needle.key), needle)
        return self

    def __exit__(self, *failure: object) -> None:
        self._open.close()

    def __contains__(self, place: Place) -> bool:
        return place in self._needles

    def file(self, chunk: Chunk) -> Path:
        """The volume that has a piece."""
        return self._files[chunk.place[0]]

    def join(self, chunks: tuple[Chunk, ...]) -> bytes:
        """The bytes of an object all of whose pieces are there."""
        whole = bytearray(max(chunk.offset + chunk.size for chunk in chunks))
        for chunk in chunks:
            needle = self._needles[chunk.place]
            data = self._data[chunk.place[0]][needle.start : needle.stop]
            if chunk.is_compressed and data.startswith(GZIP):
                data = gzip.decompress(data)
            whole[chunk.offset : chunk.offset + chunk.size] = data[: chunk.size]
        return bytes(whole)


def _lists(filer: Path) -> Iterator[tuple[Chunk, ...]]:
    """Lists of pieces that a filer has, and such as it had and no compaction has taken."""
    for file in sorted(filer.rglob("*")):
        if file.suffix == ".ldb":
            values = leveldb.table_values(file.read_bytes())
        elif file.suffix == ".log":
            values = leveldb.journal_values(file.read_bytes())
        else:
            continue
        try:
            for value in values:
                yield _chunks(value)
        except (IndexError, ValueError, struct.error, pa.ArrowException):
            # A table that is being written. What it would have told is missed by its pieces, which are told as halves.
            continue


def _chunks(entry: bytes) -> tuple[Chunk, ...]:
    """The pieces of an entry; none where it is not one."""
    try:
        if entry.startswith(GZIP):
            entry = gzip.decompress(entry)
        return tuple(_chunk(message) for message in _fields(entry)[1].get(3, ()))
    except (IndexError, ValueError, EOFError, OSError, KeyError):
        return ()


def _chunk(message: bytes) -> Chunk:
    numbers, messages = _fields(message)
    place, _ = _fields(messages[7][0])
    return Chunk((place[1], place[2]), numbers.get(2, 0), numbers.get(3, 0), bool(numbers.get(10, 0)))


def _fields(message: bytes) -> tuple[dict[int, int], dict[int, list[bytes]]]:
    """Integers and byte strings of a protobuf message by their fields' numbers. Raises ValueError where it is none."""
    numbers: dict[int, int] = {}
    strings: dict[int, list[bytes]] = {}
    at = 0
    while at < len(message):
        tag, at = leveldb.varint(message, at)
        kind = tag & 7
        if kind == 0:
            numbers[tag >> 3], at = leveldb.varint(message, at)
        elif kind == 2:
            length, at = leveldb.varint(message, at)
            strings.setdefault(tag >> 3, []).append(message[at : at + length])
            at += length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("no field of a message")
    return numbers, strings
