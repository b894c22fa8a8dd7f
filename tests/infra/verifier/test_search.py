"""A trace is found however it is packed; a program that finds nothing in packed bytes would call everything clean."""

from __future__ import annotations

import gzip
import io
import json
import os
import sqlite3
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from boto3.s3.transfer import TransferConfig

from infra.services.processes import Child
from infra.services.store import EmbeddedStore
from infra.verifier.search import Trace, read_traces, search, write_traces
from tests.conftest import READER, WRITER

TOKEN, NUMBER, POSITION = "k5qw2vj6y3rzb4n7t2d7xgmh2c", 83.6251937, ("Vd3kQ2mSQ0yB1x0n4f7xQg", 2, 40123)
SECRET = b"\x01\x02sealed\xff\x00bytes"
TRACES = [Trace("token", TOKEN), Trace("number", NUMBER), Trace("position", POSITION), Trace("ciphertext", SECRET)]


def parquet() -> bytes:
    rows = pa.table(
        {
            "subject_token": pa.array(["other", TOKEN]).dictionary_encode(),
            "numeric_value": [1.0, NUMBER],
            "topic_id": [POSITION[0]] * 2,
            "kafka_partition": pa.array([2, 2], pa.int32()),
            "kafka_offset": [40122, 40123],
            "sealed": pa.array([b"", SECRET], pa.binary()),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", write_statistics=False)
    return sink.getvalue().to_pybytes()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def avro(data: bytes) -> bytes:
    """An object container of one deflated block."""

    def long(value: int) -> bytes:
        value, out = value << 1, bytearray()
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        return bytes([*out, value])

    def text(value: bytes) -> bytes:
        return long(len(value)) + value

    packed = zlib.compress(data)[2:-4]
    meta = long(2) + text(b"avro.codec") + text(b"deflate") + text(b"avro.schema") + text(b'"bytes"') + long(0)
    return b"Obj\x01" + meta + b"s" * 16 + long(1) + text(packed) + b"s" * 16


def segment(data: bytes) -> bytes:
    """A Kafka batch of version 2 whose records are zstd."""
    records = zstd(data)
    header = struct.pack(">qiibIhiqqqhii", 7, 49 + len(records), 0, 2, 0, 4, 0, 0, 0, -1, -1, -1, 1)
    assert len(header) == 61
    return header + records


def volume(*bodies: bytes) -> bytes:
    """A SeaweedFS volume of version 3 with these needles."""
    out = bytearray([3, *[0] * 7])
    for number, body in enumerate(bodies, 1):
        packed = struct.pack(">I", len(body)) + body + b"\x00"
        needle = struct.pack(">IQI", 1, number, len(packed)) + packed + bytes(12)
        out += needle + bytes(8 - len(needle) % 8)
    return bytes(out)


def found(folder: Path) -> set[str]:
    return {find.kind for find in search([folder], TRACES).finds}


@pytest.mark.parametrize(
    ("name", "data", "kinds"),
    [
        ("rows.parquet", parquet, {"token", "number", "position", "ciphertext"}),
        ("rows.gz", lambda: gzip.compress(parquet()), {"token", "number", "position", "ciphertext"}),
        ("log.zst", lambda: zstd(f"a {TOKEN} b".encode()), {"token"}),
        ("manifest.avro", lambda: avro(TOKEN.encode() + b" " + SECRET), {"token", "ciphertext"}),
        ("metadata.json", lambda: json.dumps({"a": NUMBER, "b": TOKEN}).encode(), {"number", "token"}),
        ("topic-0/00000000000000000000.log", lambda: segment(TOKEN.encode()), {"token"}),
    ],
)
def test_a_trace_is_found_in(tmp_path: Path, name: str, data: Callable[[], bytes], kinds: set[str]) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data())
    assert found(tmp_path) == kinds


def test_a_deleted_needle_that_no_vacuum_took_is_found(tmp_path: Path) -> None:
    (tmp_path / "warehouse_1.dat").write_bytes(volume(b"x", gzip.compress(parquet()), zstd(b"y")))
    (tmp_path / "warehouse_1.idx").write_bytes(b"")
    assert found(tmp_path) == {"token", "number", "position", "ciphertext"}


def test_a_row_of_a_database_is_found_and_a_deleted_one_too(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / "catalog.sqlite")
    database.execute("CREATE TABLE t (a TEXT, b BLOB)")
    database.execute("INSERT INTO t VALUES (?, ?)", (TOKEN, gzip.compress(SECRET * 3)))
    database.commit()
    assert found(tmp_path) == {"token", "ciphertext"}
    database.execute("PRAGMA secure_delete = OFF")
    database.execute("DELETE FROM t")
    database.commit()
    database.close()
    assert found(tmp_path) == {"token"}


def test_what_cannot_be_unpacked_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 nothing PAR1")
    done = search([tmp_path], TRACES)
    assert [why for _, why in done.unread]
    assert done.files == 1


def test_a_position_is_found_as_one_and_not_by_its_parts(tmp_path: Path) -> None:
    rows = pa.table({"topic_id": ["other"], "kafka_partition": [2], "kafka_offset": [40123]})
    pq.write_table(rows, tmp_path / "rows.parquet")
    assert found(tmp_path) == set()


@pytest.mark.parametrize(
    "column",
    [
        pa.array([{"a": {"b": TOKEN}}]),
        pa.array([[(TOKEN, 1)]], pa.map_(pa.string(), pa.int32())),
        pa.array([[("a", [TOKEN])]], pa.map_(pa.string(), pa.list_(pa.string()))),
        pa.array([[{"a": TOKEN}]]),
        pa.array([TOKEN.encode()], pa.binary(len(TOKEN))),
        pa.array([[TOKEN]], pa.list_(pa.string(), 1)),
    ],
    ids=lambda column: str(column.type),
)
def test_a_trace_is_found_however_deep_its_column_is(tmp_path: Path, column: pa.Array) -> None:
    pq.write_table(pa.table({"column": column}), tmp_path / "rows.parquet", compression="gzip")
    assert {find.way for find in search([tmp_path], TRACES).finds} >= {"rows.parquet > parquet"}


def test_an_identifier_of_digits_is_found_among_integers_but_not_a_short_one(tmp_path: Path) -> None:
    pq.write_table(pa.table({"mrn": [40_123_456, 17]}), tmp_path / "rows.parquet", compression="gzip")
    traces = [Trace("identifier", "40123456"), Trace("identifier", "17")]
    assert [find.trace for find in search([tmp_path], traces).finds] == [0]


def test_traces_are_kept_and_read_again(tmp_path: Path) -> None:
    write_traces(tmp_path / "traces.json", TRACES)
    assert read_traces(tmp_path / "traces.json") == TRACES


def wide_parquet() -> bytes:
    """More bytes than a store keeps in one piece, which do not pack; a position in its last row shows in rows alone."""
    rows = pa.table(
        {
            "noise": pa.array([os.urandom(1 << 16) for _ in range(160)], pa.binary()),
            "topic_id": [POSITION[0]] * 160,
            "kafka_partition": pa.array([POSITION[1]] * 160, pa.int32()),
            "kafka_offset": range(POSITION[2] - 159, POSITION[2] + 1),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd", row_group_size=20, use_dictionary=False, write_statistics=False)
    return sink.getvalue().to_pybytes()


@pytest.fixture
def store_with_wide(tmp_path: Path, free_port_base: Callable[[], int]) -> Iterator[tuple[Any, Path]]:
    """A store of its own and the folder of its data."""
    embedded = EmbeddedStore(tmp_path / "store", free_port_base(), "warehouse", WRITER, READER)
    child = Child.start(embedded.program(tmp_path / "store.log"))
    try:
        child.wait_ready()
        client = boto3.client(
            "s3", endpoint_url=embedded.endpoint, aws_access_key_id=WRITER[0], aws_secret_access_key=WRITER[1],
            region_name="us-east-1",
        )  # fmt: skip
        yield client, tmp_path / "store" / "data"
    finally:
        child.kill()


@pytest.mark.parametrize("in_parts", [False, True])
def test_an_object_that_a_store_cuts_in_pieces_is_put_together(
    store_with_wide: tuple[Any, Path], in_parts: bool
) -> None:
    client, folder = store_with_wide
    config = TransferConfig(multipart_threshold=(5 << 20) if in_parts else (1 << 30), multipart_chunksize=5 << 20)
    client.upload_fileobj(io.BytesIO(wide_parquet()), "warehouse", "lake/wide.parquet", Config=config)
    done = search([folder], TRACES)
    assert done.kinds() == {"position": 1}
    assert not done.unread
    client.delete_object(Bucket="warehouse", Key="lake/wide.parquet")
    after = search([folder], TRACES)
    assert after.kinds() == {"position": 1}, "deleted, and no vacuum has taken it"
    assert not after.unread


def test_a_piece_whose_list_is_gone_is_told(tmp_path: Path) -> None:
    whole = wide_parquet()
    pieces = [whole[at : at + (4 << 20)] for at in range(0, len(whole), 4 << 20)]
    assert len(pieces) == 3
    (tmp_path / "warehouse_1.dat").write_bytes(volume(*pieces))
    (tmp_path / "warehouse_1.idx").write_bytes(b"")
    done = search([tmp_path], TRACES)
    assert not done.finds
    assert [place.rpartition(" ")[2] for place, _ in done.unread] == ["1", "2", "3"]
