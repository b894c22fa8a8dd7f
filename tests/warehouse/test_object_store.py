"""Whether the store answers at all, asked before anything is read."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.warehouse.conftest import lake_settings
from warehouse import object_store
from warehouse.object_store import StoreUnavailableError, require_answer
from warehouse.settings import Settings


class _Refuses(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(403)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def refusing() -> Iterator[str]:
    """A store that knows nobody."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refuses)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def _at(endpoint: str, folder: Path) -> Settings:
    return replace(lake_settings(folder, "s3://warehouse/lake"), s3_endpoint=endpoint)


def test_a_store_that_refuses_answers(refusing: str, tmp_path: Path) -> None:
    require_answer(_at(refusing, tmp_path))


def test_a_store_that_takes_the_call_and_says_nothing_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "ANSWER_SECONDS", 0.2)
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(StoreUnavailableError, match=f"the store at {endpoint} does not answer"):
            require_answer(_at(endpoint, tmp_path))


def test_a_closed_port_is_away(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as gone:
        port = gone.getsockname()[1]
    with pytest.raises(StoreUnavailableError):
        require_answer(_at(f"http://127.0.0.1:{port}", tmp_path))


def test_a_folder_is_asked_nothing(tmp_path: Path) -> None:
    require_answer(lake_settings(tmp_path, f"file://{tmp_path}"))
