"""Turns: code that blocks, run so that only what was given the turn runs, on a clock of its own.

Holds: tasks, the places where they give the turn back, and stand-ins for what the product waits with (`time`,
`threading`, `queue`). Python has no coroutine that could stop inside plain calls, so each task has a thread; at any
moment one of them runs, and which one is the scheduler's word, never the machine's.
Does not hold: who is given the next turn, and what a request is answered (machine.py).
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

STUCK_S = 120.0
EPOCH_S = 1_772_366_400.0
"""2026-03-01 12:00 UTC: when each simulation begins."""
OK = "ok"


class Killed(BaseException):
    """The process that this task belongs to is no more."""


class StuckError(AssertionError):
    """A task waits for something that is not simulated."""


@dataclass(frozen=True, slots=True)
class Wait:
    """What a task gave the turn back for: `kind` names a request, or "sleep" and the like, where nobody is asked."""

    kind: str
    wake_at: float | None = None
    ready: Callable[[], bool] | None = None

    def over(self, now: float) -> bool:
        return self.wake_at is None or now >= self.wake_at or (self.ready is not None and self.ready())


class Task:
    """A thread that runs when it has the turn."""

    def __init__(self, turns: Turns, name: str, owner: Any, body: Callable[[], None]) -> None:
        self.name, self.owner, self._turns, self._body = name, owner, turns, body
        self.wait = Wait("start")
        self.answer = OK
        self.killed = self.done = False
        self.error: BaseException | None = None
        self._go = threading.Lock()
        self._go.acquire()
        self._thread = threading.Thread(target=self._run, name=f"simulated {name}", daemon=True)
        self._started = False

    def resume(self) -> None:
        """Let it run until it gives the turn back. Called by the scheduler."""
        if not self._started:
            self._started = True
            self._thread.start()
        self._go.release()

    def give_back(self, wait: Wait) -> str:
        """Called by the task: how the request was answered, when the turn comes again."""
        self.wait = wait
        if not self.killed and (answer := self._turns.keep(self)) is not None:
            return answer
        if not self.killed:
            self._turns.returned.release()
            self._go.acquire()
        if self.killed:
            raise Killed
        return self.answer

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self.killed:
                self._body()
        except Killed:
            pass
        except BaseException as error:
            self.error = error
        finally:
            self.done = True
            self._turns.returned.release()


class Turns:
    """The scheduler's side: all tasks, the one clock (seconds since the simulation began), the one turn."""

    def __init__(self) -> None:
        self.now = 0.0
        self.tasks: list[Task] = []
        self.current: Task | None = None
        self.keep: Callable[[Task], str | None] = lambda task: None
        """Whether a task that would give the turn back keeps it: the answer to its request, None if not. Giving it from
        thread to thread is what costs most."""
        self.returned = threading.Lock()
        self.returned.acquire()

    def spawn(self, name: str, owner: Any, body: Callable[[], None]) -> Task:
        """A task that begins with its first turn."""
        task = Task(self, name, owner, body)
        self.tasks.append(task)
        return task

    def give(self, task: Task, answer: str = OK) -> None:
        """One turn. Raises `StuckError` if the task does not come back."""
        task.answer, self.current = answer, task
        task.resume()
        if not self.returned.acquire(timeout=STUCK_S):
            raise StuckError(f"task {task.name} does not give the turn back after {task.wait.kind}")
        self.current = None
        if task.done:
            self.tasks.remove(task)

    def kill(self, task: Task) -> None:
        """End a task where it stands: nothing of it runs any more but the ends of its `with` and `finally`."""
        if not task.done:
            task.killed = True
            self.give(task)

    def ask(self, kind: str, wake_at: float | None = None, ready: Callable[[], bool] | None = None) -> str:
        """Called by a task: give the turn back. Outside of any task (while a world is made) all is answered well."""
        return self.current.give_back(Wait(kind, wake_at, ready)) if self.current else OK

    def sleep(self, seconds: float) -> None:
        self.ask("sleep", self.now + seconds)

    def next_wake(self) -> float | None:
        """When the first of the sleeping tasks wakes."""
        return min((t.wait.wake_at for t in self.tasks if t.wait.wake_at is not None), default=None)


class SimulatedTime:
    """Stands in for the module `time`. `skew` gives the error of the running task's wall clock in seconds."""

    def __init__(self, turns: Turns, skew: Callable[[], float]) -> None:
        self._turns, self._skew = turns, skew

    def monotonic(self) -> float:
        return self._turns.now

    def time(self) -> float:
        return EPOCH_S + self._turns.now + self._skew()

    def time_ns(self) -> int:
        return int(self.time() * 1e9)

    def sleep(self, seconds: float) -> None:
        self._turns.sleep(seconds)


class WorkingTime(SimulatedTime):
    """For code that rests as long as it worked: work that took no time at all would never let the others on."""

    def monotonic(self) -> float:
        self._turns.now += 0.05
        return self._turns.now


class SimulatedEvent:
    """Stands in for `threading.Event`."""

    def __init__(self, turns: Turns) -> None:
        self._turns, self._set = turns, False

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            wake_at = float("inf") if timeout is None else self._turns.now + timeout
            self._turns.ask("event", wake_at, self.is_set)
        return self._set


class SimulatedThread:
    """Stands in for `threading.Thread`: a task of the process that started it."""

    def __init__(self, turns: Turns, target: Callable[[], None], name: str) -> None:
        self._turns, self._target, self._name = turns, target, name

    def start(self) -> None:
        current = self._turns.current
        assert current is not None, "threads are started by tasks"
        self._turns.spawn(f"{current.owner.name} {self._name}", current.owner, self._target)


class SimulatedThreading:
    """Stands in for the module `threading`. Locks are real: they are never held across a turn."""

    Lock, RLock = staticmethod(threading.Lock), staticmethod(threading.RLock)

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def Event(self) -> SimulatedEvent:
        return SimulatedEvent(self._turns)

    def Thread(self, target: Callable[[], None], name: str, daemon: bool) -> SimulatedThread:
        return SimulatedThread(self._turns, target, name)


class SimulatedQueue:
    """Stands in for `queue.SimpleQueue`."""

    def __init__(self, turns: Turns) -> None:
        self._turns: Turns = turns
        self._items: deque[Any] = deque()

    def put(self, item: Any) -> None:
        self._items.append(item)

    def empty(self) -> bool:
        return not self._items

    def get(self, timeout: float) -> Any:
        if not self._items and timeout > 0:
            self._turns.ask("queue", self._turns.now + timeout, lambda: bool(self._items))
        with suppress(IndexError):
            return self._items.popleft()
        raise queue.Empty


class SimulatedQueues:
    """Stands in for the module `queue`."""

    Empty = queue.Empty

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def SimpleQueue(self) -> SimulatedQueue:
        return SimulatedQueue(self._turns)
