"""The proxy itself: what it calls a lost answer was carried out by the server and never reached the client."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from infra.services.ports import LOOPBACK
from tests.crash.stack import proxy
from tests.crash.stack.proxy import Proxy
from tests.crash.stack.wires import Http, Kafka, PostgreSQL, Wire


class _Store(BaseHTTPRequestHandler):
    """Keeps what is PUT; refuses what is called /refused."""

    protocol_version = "HTTP/1.1"
    kept: list[bytes] = []  # noqa: RUF012

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/refused":
            self.kept.append(body)
        self._answer(403 if self.path == "/refused" else 200, b"")

    def do_GET(self) -> None:
        self._answer(200, b"x" * 10_000)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def store() -> Iterator[int]:
    _Store.kept.clear()
    server = ThreadingHTTPServer((LOOPBACK, 0), _Store)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


@contextmanager
def _before(target: int, wire: Wire) -> Iterator[Proxy]:
    between = Proxy(_free_port(), target, wire, "test")
    try:
        yield between
    finally:
        between.close()


def _put(port: int, path: str, seconds: float = 5.0) -> int:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=seconds)
    try:
        connection.request("PUT", path, b"kept")
        return connection.getresponse().status
    finally:
        connection.close()


def test_what_passes_is_whole(store):
    with _before(store, Http()) as between:
        assert _put(between.port, "/a") == 200
        connection = http.client.HTTPConnection(LOOPBACK, between.port, timeout=5)
        for _ in range(2):  # on one connection
            connection.request("GET", "/")
            assert len(connection.getresponse().read()) == 10_000
        assert between.answers_lost == 0


def test_a_lost_answer_was_carried_out_and_is_counted(store):
    with _before(store, Http()) as between:
        between.set(proxy.LOSE, only_acts=True)
        with pytest.raises((http.client.HTTPException, OSError)):
            _put(between.port, "/a")
        assert _Store.kept == [b"kept"]
        assert between.answers_lost == 1


def test_a_refusal_that_is_lost_does_not_count(store):
    with _before(store, Http()) as between:
        between.set(proxy.LOSE)
        with pytest.raises((http.client.HTTPException, OSError)):
            _put(between.port, "/refused")
        assert between.answers_lost == 0


def test_an_error_of_the_proxy_reaches_the_client_and_the_server_hears_nothing(store):
    with _before(store, Http()) as between:
        between.set(proxy.ERROR_503)
        assert _put(between.port, "/a") == 503
        assert _Store.kept == []
        between.set(proxy.PASS)
        assert _put(between.port, "/a") == 200


@pytest.mark.parametrize("mode", [proxy.REFUSE, proxy.FREEZE])
def test_what_is_refused_or_frozen_does_not_come_through_until_it_is_healed(store, mode):
    with _before(store, Http()) as between:
        between.set(mode)
        with pytest.raises(OSError, match=r"refused|timed out"):
            _put(between.port, "/a", seconds=0.3)
        between.set(proxy.PASS)
        assert _put(between.port, "/a") == 200


def test_half_an_answer_is_half(store):
    with _before(store, Http()) as between:
        between.set(proxy.HALF)
        connection = http.client.HTTPConnection(LOOPBACK, between.port, timeout=5)
        connection.request("GET", "/")
        with pytest.raises((http.client.HTTPException, OSError)):
            connection.getresponse().read()


@contextmanager
def _scripted(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """A server that gives one answer to each piece it reads."""
    with socket.create_server((LOOPBACK, 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                while asked := peer.recv(65_536):
                    peer.sendall(answer(asked))

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]


def _ask(port: int, request: bytes) -> bytes:
    with socket.create_connection((LOOPBACK, port), 5) as client:
        client.sendall(request)
        try:
            return client.recv(65_536)
        except ConnectionResetError:
            return b""


def _sized(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def _kafka_request(key: int, version: int) -> bytes:
    return _sized(struct.pack(">hhi", key, version, 77) + b"rest")


def _produced(error: int, version: int) -> bytes:
    where = struct.pack(">ih", 0, error) + bytes(30)
    if version >= 9:
        return _sized(struct.pack(">i", 77) + b"\x00" + b"\x02" + b"\x06topic" + b"\x02" + where)
    return _sized(struct.pack(">iih", 77, 1, 5) + b"topic" + struct.pack(">i", 1) + where)


@pytest.mark.parametrize("version", [7, 9])
@pytest.mark.parametrize(("error", "lost"), [(0, 1), (6, 0)])
def test_of_a_brokers_answers_only_appended_records_count_as_lost(version, error, lost):
    with _scripted(lambda _: _produced(error, version)) as broker, _before(broker, Kafka()) as between:
        between.set(proxy.LOSE, only_acts=True)
        assert _ask(between.port, _kafka_request(Kafka.PRODUCE, version)) == b""
        assert between.answers_lost == lost


def test_a_brokers_other_answers_are_left_alone():
    answer = _sized(struct.pack(">i", 77) + b"fetched")
    with _scripted(lambda _: answer) as broker, _before(broker, Kafka()) as between:
        between.set(proxy.LOSE, only_acts=True)
        assert _ask(between.port, _kafka_request(1, 12)) == answer


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack(">i", len(body) + 4) + body


@pytest.mark.parametrize(("tag", "lost"), [(b"COMMIT\0", 1), (b"ROLLBACK\0", 0)])
def test_a_lost_commit_counts_and_one_that_rolled_back_does_not(tag, lost):
    ready = _message(b"Z", b"I")

    def answer(asked: bytes) -> bytes:
        return _message(b"C", tag) + ready if asked[:1] == b"Q" else _message(b"R", bytes(4)) + ready

    with _scripted(answer) as database, _before(database, PostgreSQL()) as between:
        between.set(proxy.LOSE, only_acts=True)
        with socket.create_connection((LOOPBACK, between.port), 5) as client:
            client.sendall(_sized_start())
            assert client.recv(65_536).endswith(ready)
            client.sendall(_message(b"Q", b"COMMIT\0"))
            assert _last(client) == b""
        assert between.answers_lost == lost


def _sized_start() -> bytes:
    body = struct.pack(">i", 196_608) + b"user\0ward\0\0"
    return struct.pack(">i", len(body) + 4) + body


def _last(client: socket.socket) -> bytes:
    try:
        return client.recv(65_536)
    except ConnectionResetError:
        return b""
