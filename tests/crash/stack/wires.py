"""Where a request and its answer begin and end on three wires: HTTP, Kafka's, PostgreSQL's.

Holds: reading one whole request or answer from a stream, whether the request changes something at the server, and
whether an answer says that it did. Does not hold: connections or what is done to an answer (proxy.py).

Only what our clients speak: HTTP/1.1 with lengths or chunks, Kafka without acks=0, PostgreSQL's simple queries without
TLS and without a password.
"""

from __future__ import annotations

import struct
from asyncio import StreamReader
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Request:
    """`acts` is true where the server is asked to change something; `kind` names it for the counts."""

    data: bytes
    kind: str
    acts: bool
    answered: bool = True
    version: int = 0


Welcome = Callable[[], Awaitable[None]]
"""Called when a client waits for leave to send the rest of its request."""


class Wire(Protocol):
    """How one protocol parts its bytes. Both raise `asyncio.IncompleteReadError` where a peer has closed."""

    async def request(self, reader: StreamReader, first: bool, welcome: Welcome) -> Request: ...

    async def answer(self, reader: StreamReader, request: Request) -> tuple[bytes, bool]:
        """The whole answer, and whether it says that the request was carried out."""
        ...


class Http:
    """The store, or a REST catalog."""

    async def request(self, reader: StreamReader, first: bool, welcome: Welcome) -> Request:
        head = await reader.readuntil(b"\r\n\r\n")
        method = head.split(b" ", 1)[0].decode()
        if b"expect: 100-continue" in head.lower():
            await welcome()
        body = await _http_body(reader, _headers(head), until_closed=False)
        return Request(head + body, method, method in ("PUT", "POST", "DELETE"))

    async def answer(self, reader: StreamReader, request: Request) -> tuple[bytes, bool]:
        head = await reader.readuntil(b"\r\n\r\n")
        while head.split(b" ", 2)[1].startswith(b"1"):  # the request went out whole: nobody waits for "continue"
            head = await reader.readuntil(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        empty = request.kind == "HEAD" or status in (204, 304)
        body = b"" if empty else await _http_body(reader, _headers(head), until_closed=True)
        return head + body, 200 <= status < 300


def _headers(head: bytes) -> dict[bytes, bytes]:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:] if line)
    return {name.strip().lower(): value.strip() for name, _, value in lines}


async def _http_body(reader: StreamReader, headers: dict[bytes, bytes], until_closed: bool) -> bytes:
    if b"chunked" in headers.get(b"transfer-encoding", b""):
        return await _chunks(reader)
    if b"content-length" in headers:
        return await reader.readexactly(int(headers[b"content-length"]))
    return await reader.read() if until_closed and headers.get(b"connection") == b"close" else b""


async def _chunks(reader: StreamReader) -> bytes:
    whole = b""
    while True:
        size = await reader.readline()
        length = int(size.split(b";")[0], 16)
        whole += size + await reader.readexactly(length + 2)
        if not length:
            return whole


class Kafka:
    """A broker. Of what clients ask, producing records is what changes something that we look at."""

    PRODUCE = 0

    async def request(self, reader: StreamReader, first: bool, welcome: Welcome) -> Request:
        data = await _sized(reader)
        key, version = struct.unpack_from(">hh", data, 4)
        return Request(data, "produce" if key == self.PRODUCE else "other", key == self.PRODUCE, version=version)

    async def answer(self, reader: StreamReader, request: Request) -> tuple[bytes, bool]:
        data = await _sized(reader)
        if data[4:8] != request.data[8:12]:
            raise ValueError("an answer to another request")
        return data, not request.acts or _produced(data, request.version)


def _produced(data: bytes, version: int) -> bool:
    """Whether the first partition of a produce answer names no error."""
    if version >= 9:  # flexible: a tag byte, then lengths as one-byte varints (names here are short)
        at = 8 + 1 + 1
        at += data[at]  # length + 1, of which the byte itself is one
        at += 1
    else:
        at = 8 + 4
        at += 2 + struct.unpack_from(">h", data, at)[0] + 4
    return struct.unpack_from(">h", data, at + 4)[0] == 0


async def _sized(reader: StreamReader) -> bytes:
    head = await reader.readexactly(4)
    return head + await reader.readexactly(struct.unpack(">i", head)[0])


class PostgreSQL:
    """A database. Of what clients ask, COMMIT is what changes something."""

    async def request(self, reader: StreamReader, first: bool, welcome: Welcome) -> Request:
        if first:
            return Request(await self._untyped(reader), "start", False)
        kind = await reader.readexactly(1)
        body = await self._untyped(reader)
        commits = kind == b"Q" and body[4:].strip(b"\0 ;\n").upper().startswith(b"COMMIT")
        return Request(kind + body, "commit" if commits else kind.decode(), commits, answered=kind != b"X")

    async def answer(self, reader: StreamReader, request: Request) -> tuple[bytes, bool]:
        whole, done = b"", True
        while True:
            kind = await reader.readexactly(1)
            body = await self._untyped(reader)
            whole += kind + body
            done = done and kind != b"E"
            if kind == b"C" and request.acts:
                done = done and body[4:].startswith(b"COMMIT")  # a failed transaction answers ROLLBACK
            if kind == b"Z":
                return whole, done

    @staticmethod
    async def _untyped(reader: StreamReader) -> bytes:
        head = await reader.readexactly(4)
        return head + await reader.readexactly(struct.unpack(">i", head)[0] - 4)
