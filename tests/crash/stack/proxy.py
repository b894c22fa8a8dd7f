"""A proxy before store, catalog or broker that does to answers what networks do, and counts what it did.

Holds: connections, the modes, the counts. Does not hold: where a request ends (wires.py) or when a mode is set.
One thread with an event loop of its own serves any number of proxies' connections; modes are set from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from asyncio import StreamReader, StreamWriter
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from infra.services.ports import LOOPBACK
from tests.crash.stack.wires import Request, Wire

PASS, REFUSE, FREEZE, SLOW, HALF, LOSE, ERROR_500, ERROR_503 = (
    "pass", "refuse", "freeze", "slow", "half", "lose", "error 500", "error 503",
)  # fmt: skip
LARGEST = 1 << 26
_LOOK_AGAIN_S = 0.02
_SLOWEST_S = 4.0


@dataclass(frozen=True, slots=True)
class Mode:
    """What is done to exchanges from now on.

    Attributes:
        share: of the exchanges that could be hit, how many are; drawn from the proxy's own seed.
        only_acts: leave alone what changes nothing at the server.
    """

    name: str = PASS
    share: float = 1.0
    only_acts: bool = False


class Proxy:
    """Listens on one loopback port and speaks for a server on another. Starts with `PASS`."""

    def __init__(self, port: int, target: int, wire: Wire, seed: str) -> None:
        self.port = port
        self.counts: Counter[str] = Counter()
        self._target, self._wire = target, wire
        self._chance = random.Random(f"proxy/{seed}")
        self._mode = Mode()
        self._open: set[StreamWriter] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy {port}", daemon=True)
        self._thread.start()
        self._run(self._listen())

    @property
    def answers_lost(self) -> int:
        """Answers that the server gave to a request it had carried out, and that the client never got whole."""
        return self.counts["answers lost"]

    def set(self, name: str, share: float = 1.0, only_acts: bool = False) -> None:
        """Change the mode. `REFUSE` also ends all connections; `PASS` heals everything."""
        self._run(self._change(Mode(name, share, only_acts)))

    def cut(self) -> None:
        """End all connections, once."""
        self._run(self._abort_all())

    def close(self) -> None:
        """Listen no longer, end all connections and the thread."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self, action: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(action, self._loop).result(30)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(
                self._serve, LOOPBACK, self.port, limit=LARGEST, reuse_address=True
            )

    async def _change(self, mode: Mode) -> None:
        self._mode = mode
        if mode.name == REFUSE:
            await self._close()
        else:
            await self._listen()

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._abort_all()

    async def _end(self) -> None:
        await self._close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _abort_all(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, client: StreamReader, to_client: StreamWriter) -> None:
        self._open.add(to_client)
        if task := asyncio.current_task():
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)
        to_server = None
        try:
            await self._thawed()
            server, to_server = await asyncio.open_connection(LOOPBACK, self._target, limit=LARGEST)
            waiting: asyncio.Queue[Request] = asyncio.Queue()
            ways = (
                asyncio.create_task(self._forward(client, to_client, to_server, waiting)),
                asyncio.create_task(self._give_back(server, to_client, waiting)),
            )
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            self.counts["server not reached"] += 1
        except asyncio.CancelledError:
            self.counts["ended with the proxy"] += 1  # asyncio's streams make a fuss of a cancelled one
        finally:
            self._open.discard(to_client)
            for writer in (to_client, to_server):
                if writer is not None:
                    writer.transport.abort()

    async def _forward(
        self, client: StreamReader, to_client: StreamWriter, to_server: StreamWriter, waiting: asyncio.Queue[Request]
    ) -> None:
        async def welcome() -> None:
            to_client.write(b"HTTP/1.1 100 Continue\r\n\r\n")

        first = True
        while True:
            request = await self._wire.request(client, first, welcome)
            first = False
            await self._thawed()
            if self._mode.name in (ERROR_500, ERROR_503) and self._strikes(request):
                self.counts[self._mode.name] += 1
                to_client.write(_failure(self._mode.name))
                await to_client.drain()
                continue
            to_server.write(request.data)
            await to_server.drain()
            if request.answered:
                waiting.put_nowait(request)

    async def _give_back(self, server: StreamReader, to_client: StreamWriter, waiting: asyncio.Queue[Request]) -> None:
        while True:
            request = await waiting.get()
            answer, carried_out = await self._wire.answer(server, request)
            await self._thawed()
            handle = _HANDLERS.get(self._mode.name) if self._strikes(request) else None
            if handle is None:
                to_client.write(answer)
                await to_client.drain()
            elif not await handle(self, to_client, answer, request.acts and carried_out):
                return

    def _strikes(self, request: Request) -> bool:
        mode = self._mode
        return (request.acts or not mode.only_acts) and self._chance.random() < mode.share

    async def _thawed(self) -> None:
        while self._mode.name == FREEZE:
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _lose(self, to_client: StreamWriter, answer: bytes, acted: bool) -> bool:
        self.counts["answers lost" if acted else "other answers lost"] += 1
        return False

    async def _halve(self, to_client: StreamWriter, answer: bytes, acted: bool) -> bool:
        self.counts["halves"] += 1
        self.counts["answers lost"] += acted
        to_client.write(answer[: len(answer) // 2])
        with contextlib.suppress(OSError):
            await to_client.drain()
        await asyncio.sleep(_LOOK_AGAIN_S)
        return False

    async def _drip(self, to_client: StreamWriter, answer: bytes, acted: bool) -> bool:
        self.counts["slow answers"] += 1
        await asyncio.sleep(self._chance.uniform(0.0, _SLOWEST_S) / 2)
        to_client.write(answer[: len(answer) // 2])
        await to_client.drain()
        await asyncio.sleep(self._chance.uniform(0.0, _SLOWEST_S) / 2)
        to_client.write(answer[len(answer) // 2 :])
        await to_client.drain()
        return True


_HANDLERS: dict[str, Callable[[Proxy, StreamWriter, bytes, bool], Coroutine[Any, Any, bool]]] = {
    LOSE: Proxy._lose,
    HALF: Proxy._halve,
    SLOW: Proxy._drip,
}


def _failure(name: str) -> bytes:
    status, code = {
        ERROR_500: (b"500 Internal Server Error", b"InternalError"),
        ERROR_503: (b"503 Service Unavailable", b"SlowDown"),
    }[name]
    body = b"<?xml version='1.0'?><Error><Code>" + code + b"</Code><Message>as the test wants</Message></Error>"
    head = b"HTTP/1.1 " + status + b"\r\nContent-Type: application/xml\r\n"
    return head + b"Content-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
