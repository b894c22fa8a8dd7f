"""Processes that do a job each and tell what they see, waited for until a deadline and no longer.

Holds: starting, hearing, letting go, ending. A job is named (`module:function`), so that only its own process loads
what it needs, and gets a `Post` to tell facts through.
Does not hold: any job, or what follows from its facts.
"""

from __future__ import annotations

import importlib
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.synchronize import Barrier
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")

PRELOADED = ("warehouse.verification.catalog_jobs", "warehouse.verification.store_jobs")
EXIT_SECONDS = 5.0
DONE = "done"
LATE = "no answer in time"


class Post:
    """The job's end of the line to the process that waits for it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def tell(self, report: object) -> None:
        """One fact (reports.py)."""
        self._connection.send(report)

    def let_go(self, seconds: float) -> bool:
        """Whether the one who waits has said go on, waiting so long for it."""
        if not self._connection.poll(seconds):
            return False
        self._connection.recv()
        return True


class Worker:
    """One process: what it has told so far, and how it ended (None: not yet)."""

    def __init__(self, process: Any, connection: Connection) -> None:
        self._process, self.connection = process, connection
        self.reports: list[Any] = []
        self.ended: str | None = None

    def told(self, kind: type[T]) -> list[T]:
        """The reports of one kind, in order."""
        return [report for report in self.reports if isinstance(report, kind)]

    def wait_for(self, kind: type, deadline: float) -> bool:
        """Whether it tells a report of this kind before `deadline` (monotonic seconds) and before it ends."""
        while not self.told(kind) and self.ended is None:
            if not self.connection.poll(max(0.0, deadline - time.monotonic())):
                return False
            self.hear()
        return bool(self.told(kind))

    def hear(self) -> None:
        """Take in one report; blocks until there is one or the process is gone."""
        try:
            report = self.connection.recv()
        except (EOFError, OSError):
            self._end("died")
            return
        if isinstance(report, _Over):
            self._end(report.how)
        else:
            self.reports.append(report)

    def go_on(self) -> None:
        """Let the job pass the place where it waits to be let go."""
        with suppress(OSError):
            self.connection.send(True)

    def kill(self) -> None:
        """End it now; what it told before its death is still heard."""
        self._process.kill()
        self._process.join()
        while self.ended is None:
            self.hear()

    def give_up(self) -> None:
        """Kill it because its time is over."""
        if self.ended is None:
            self.kill()
            self.ended = LATE if self.ended == "died" else self.ended

    def _end(self, how: str) -> None:
        self.ended = how
        self._process.join(EXIT_SECONDS)
        self._process.kill()


class Crew:
    """All processes of one verification. Leaving the block ends those that are still there."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(PRELOADED))
        # The process that all others are forked from must not be ended by a Ctrl-C either, while it loads.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            forkserver.ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        self._workers: list[Worker] = []
        self._barriers: list[Barrier] = []

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.dismiss()

    def dismiss(self) -> None:
        """End those that are still at work."""
        for worker in self._workers:
            worker.give_up()

    def start(self, job: str, *arguments: Any) -> Worker:
        """A process that calls `job(post, *arguments)`."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(job, theirs, arguments), daemon=True)
        process.start()
        theirs.close()
        worker = Worker(process, ours)
        self._workers.append(worker)
        return worker

    def barrier(self, parties: int) -> Barrier:
        """Where so many jobs meet."""
        # Kept: its semaphores are gone with it, perhaps before a process that starts slowly has looked them up.
        self._barriers.append(self._context.Barrier(parties))
        return self._barriers[-1]

    def finish(self, workers: Iterable[Worker], deadline: float, heard: Callable[[], None] = lambda: None) -> None:
        """Hear all of them out; kill those that have not ended by `deadline` (monotonic seconds)."""
        busy = [worker for worker in workers if worker.ended is None]
        while busy and time.monotonic() < deadline:
            ready = wait([worker.connection for worker in busy], max(0.0, deadline - time.monotonic()))
            for worker in busy:
                if worker.connection in ready:
                    worker.hear()
                    heard()
            busy = [worker for worker in busy if worker.ended is None]
        for worker in busy:
            worker.give_up()


def named(function: str) -> Callable[..., Any]:
    """The function that `module:function` names. Raises ImportError or AttributeError if there is none."""
    module, _, name = function.partition(":")
    return getattr(importlib.import_module(module), name)


class _Over:
    """The last word of a process: its job's end, and how."""

    def __init__(self, how: str) -> None:
        self.how = how


def _work(job: str, connection: Connection, arguments: tuple[Any, ...]) -> None:
    # Ctrl-C reaches the whole group: the one who waits decides what becomes of the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    how = DONE
    try:
        named(job)(Post(connection), *arguments)
    except Exception as error:
        how = type(error).__name__
    with suppress(OSError):
        connection.send(_Over(how))
