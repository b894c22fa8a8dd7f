"""The one resident process that starts, watches, restarts and ends all others: `python -m infra.services.supervisor`.

Holds: the state of each part and its transitions, the order of a stop, what `run/supervisor.json` says.
Everything happens in `tick`, from the main thread (children end with the thread that started them), so that a
foreground command can run the same supervisor between its own doings.
Does not hold: what the parts are (parts), what healthy means for the stream (stream_health).
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from infra.services.home import AlreadyUpError, PidFile, report_path, state_path, write_state
from infra.services.jars import JarError
from infra.services.java import JavaMissingError
from infra.services.parts import PARTS, Part, plan_parts
from infra.services.ports import PortTakenError
from infra.services.prism import PrismError
from infra.services.processes import Child, ChildError
from infra.services.store import StoreVersionError
from infra.services.stream_health import (
    DEATHS_IN_PLACE,
    STREAM_DEATHS_IN_PLACE,
    DeathCount,
    ProgressWatch,
    StreamReport,
    read_report,
)
from warehouse.settings import SettingError, Settings

_LOG = logging.getLogger(__name__)

TICK_SECONDS = 0.1
WRITE_SECONDS = 0.5
STABLE_SECONDS = 60.0
"""A part other than the stream that lived this long has got on; its next death is the first again."""

LONGEST_PAUSE_SECONDS = 30.0
EXIT_STREAM_SETTINGS, EXIT_STREAM_POSITIONS = 2, 3
SETTLED = ("up", "done")
STOP_ORDER = (("stream",), ("dagster-daemon", "dagster-web", "dagster-code", "contracts", "prism"), ("store", "kafka"))

EXIT_ENDED, EXIT_FAILED, EXIT_SETTINGS, EXIT_ALREADY_UP = 0, 1, 2, 4

_REFUSALS = (ChildError, PortTakenError, JarError, JavaMissingError, PrismError, StoreVersionError, OSError)


class SupervisorError(RuntimeError):
    """A part could not be brought up. The message names it and says why."""


@dataclass(slots=True)
class Watched:
    """A part and how it fares. `state` is one of queued, starting, up, waiting, restarting, done, drained, stopped.

    `since` and `restart_at` are UTC epoch seconds. A stopped part was given up; `reason` says why.
    """

    part: Part
    state: str = "queued"
    reason: str = ""
    since: float = 0.0
    started_at: float = 0.0
    restart_at: float = 0.0
    restarts: int = 0
    launched: Child | None = None
    deaths: DeathCount = field(default_factory=DeathCount)
    progress: ProgressWatch = field(default_factory=lambda: ProgressWatch(0.0))

    @property
    def child(self) -> Child:
        """The process, of a part that has been launched."""
        if self.launched is None:
            raise SupervisorError(f"{self.part.name} has not been started")
        return self.launched

    @property
    def alive(self) -> bool:
        return self.launched is not None and self.launched.alive

    def said(self) -> dict[str, object]:
        """For the state file."""
        return {
            "name": self.part.name,
            "state": self.state,
            "reason": self.reason,
            "pid": self.child.pid if self.alive else None,
            "since": self.since,
            "restarts": self.restarts,
            "url": self.part.url,
        }


class Supervisor:
    """Runs the parts (see `plan_parts`) of one home.

    A context: entering takes the home, leaving ends everything.
    `tell` gets a line for each change; `clock` gives UTC epoch seconds.
    """

    def __init__(
        self,
        settings: Settings,
        parts: tuple[Part, ...],
        tell: Callable[[str], None] = _LOG.info,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.was_up = False
        self._tell = tell
        self._clock = clock
        self._pid_file = PidFile(settings)
        self._watched = {part.name: Watched(part) for part in parts}
        self._stop_requests = 0
        self._written_at = 0.0

    def __enter__(self) -> Supervisor:
        """Take the home. Raises `AlreadyUpError`."""
        self._pid_file.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def request_stop(self) -> None:
        """For signal handlers: the first asks for an orderly stop, the second for an immediate one."""
        self._stop_requests += 1

    @property
    def stop_requested(self) -> bool:
        return self._stop_requests > 0

    @property
    def state(self) -> str:
        """`starting`, `up`, `degraded`, `failed` (a part was given up) or `stopping`."""
        states = {watched.state for watched in self._watched.values()}
        if self.stop_requested:
            return "stopping"
        if "stopped" in states:
            return "failed"
        if states <= set(SETTLED):
            return "up"
        return "degraded" if self.was_up else "starting"

    @property
    def reason(self) -> str:
        """Why it is not up, part by part; empty when nothing is wrong."""
        return "; ".join(f"{w.part.name}: {w.reason}" for w in self._watched.values() if w.reason)

    def said(self) -> dict[str, dict[str, object]]:
        """Each part by name: state, reason, pid, since, restarts, url."""
        return {name: watched.said() for name, watched in self._watched.items()}

    def start(self) -> None:
        """Tick until every part is up (the stream may be waiting for the lake and say so).

        Returns early when a stop is requested. Raises `SupervisorError` when a part is given up.
        """
        while not self.was_up and not self.stop_requested:
            self.tick()
            if self.state == "failed":
                raise SupervisorError(self.reason)
            time.sleep(TICK_SECONDS)

    def run(self) -> int:
        """Start, then tick until a stop is requested. The exit code; 1 when the start failed."""
        try:
            self.start()
        except SupervisorError as error:
            _LOG.error("%s", error)
            return EXIT_FAILED
        while not self.stop_requested:
            self.tick()
            time.sleep(TICK_SECONDS)
        return EXIT_ENDED

    def tick(self) -> None:
        """Look at every part once, do what is due, write the state file. Does not wait for anything."""
        for watched in self._watched.values():
            _TRANSITIONS[watched.state](self, watched)
        if all(watched.state in (*SETTLED, "waiting") for watched in self._watched.values()):
            self.was_up = True
        if self._clock() - self._written_at >= WRITE_SECONDS:
            self._write(self.state)
            for watched in self._watched.values():
                if watched.alive:
                    watched.child.bound_log()

    def stop(self) -> None:
        """End every part, the stream first so that it drains into a store that still runs. Idempotent."""
        final = "failed" if self.state == "failed" else "stopped"
        self._stop_requests = max(1, self._stop_requests)
        for names in STOP_ORDER:
            self._stop_together([self._watched[name] for name in names if name in self._watched])
        self._write(final)
        self._pid_file.release()

    def _stop_together(self, group: list[Watched]) -> None:
        living = [watched for watched in group if watched.alive]
        for watched in living:
            watched.child.ask_to_stop()
            self._move(watched, "stopping", watched.reason)
        deadline = self._clock() + max((w.child.program.stop_seconds for w in living), default=0)
        while any(watched.alive for watched in living):
            if self._stop_requests > 1 or self._clock() > deadline:
                break
            self._write("stopping")
            time.sleep(TICK_SECONDS)
        for watched in living:
            forced = watched.alive
            watched.child.kill()
            self._move(watched, "ended", "did not end when asked" if forced else watched.reason)

    def _queued(self, watched: Watched) -> None:
        if all(self._watched[name].state in (*SETTLED, "waiting") for name in watched.part.needs):
            self._launch(watched)

    def _launch(self, watched: Watched) -> None:
        watched.started_at = self._clock()
        if watched.part.name == "stream":
            # The last words of the run before must not be taken for this one's.
            report_path(self.settings).unlink(missing_ok=True)
            watched.progress = ProgressWatch(watched.started_at)
        try:
            watched.launched = Child.start(watched.part.program())
        except _REFUSALS as error:
            self._move(watched, "stopped", str(error))
            return
        self._move(watched, "starting")

    def _starting(self, watched: Watched) -> None:
        child = watched.child
        if watched.part.finishes:
            self._finishing(watched)
        elif not watched.alive:
            self._died(watched)
        elif child.is_ready():
            self._move(watched, "up")
        elif self._clock() - watched.started_at > child.program.ready_seconds:
            child.kill()
            self._died(watched, f"not ready within {child.program.ready_seconds:.0f} s")
        elif watched.part.name == "stream" and (report := self._report()) is not None:
            watched.reason = report.reason

    def _finishing(self, watched: Watched) -> None:
        code = watched.child.exit_code
        if code == 0:
            self._move(watched, "done")
        elif code is not None:
            self._died(watched, f"{_last_line(watched.child)} ({_ending(code)})")
        elif self._clock() - watched.started_at > watched.child.program.ready_seconds:
            watched.child.kill()
            self._died(watched, "took too long")

    def _up(self, watched: Watched) -> None:
        if not watched.alive:
            self._died(watched)
        elif watched.part.name == "stream":
            self._judge(watched)

    def _judge(self, watched: Watched) -> None:
        verdict = watched.progress.judge(self._report(), self._clock())
        if verdict.state == "stalled":
            watched.child.kill()
            self._died(watched, verdict.reason)
        elif verdict.state == "waiting":
            self._move(watched, "waiting", verdict.reason)
        else:
            self._move(watched, "up")

    def _died(self, watched: Watched, reason: str = "") -> None:
        code = watched.child.exit_code
        why = reason or f"{_ending(code)}; see {watched.child.program.log}"
        if watched.part.name == "stream" and code == 0:
            self._move(watched, "drained", "drained because it was asked to by somebody else")
            return
        deaths = self._count_death(watched)
        is_stream = watched.part.name == "stream"
        most = STREAM_DEATHS_IN_PLACE if is_stream and code != EXIT_STREAM_POSITIONS else DEATHS_IN_PLACE
        if deaths >= most or (is_stream and code == EXIT_STREAM_SETTINGS):
            words = self._last_words(watched)
            last = f"{words} ({_ending(code)})" if words else why
            self._move(watched, "stopped", f"{last} ({deaths} deaths without progress)")
            return
        watched.restarts += 1
        watched.restart_at = self._clock() + min(LONGEST_PAUSE_SECONDS, 2.0 ** (deaths - 1))
        self._move(watched, "restarting", why)

    def _last_words(self, watched: Watched) -> str:
        """Why the stream ended, where it came to say so itself."""
        report = self._report() if watched.part.name == "stream" else None
        return report.reason if report is not None and report.state == "failed" else ""

    def _count_death(self, watched: Watched) -> int:
        if watched.part.name == "stream":
            return watched.deaths.died(self._report())
        if self._clock() - watched.started_at > STABLE_SECONDS:
            watched.deaths = DeathCount()
        return watched.deaths.died(None)

    def _restarting(self, watched: Watched) -> None:
        if self._clock() >= watched.restart_at:
            self._queued(watched)

    def _rest(self, watched: Watched) -> None:
        """A part that is done, drained or given up stays so."""

    def _report(self) -> StreamReport | None:
        return read_report(report_path(self.settings))

    def _move(self, watched: Watched, state: str, reason: str = "") -> None:
        if state == watched.state:
            watched.reason = reason
            return
        now = self._clock()
        took = f" in {now - watched.started_at:.1f} s" if state in SETTLED and watched.state == "starting" else ""
        watched.state, watched.reason, watched.since = state, reason, now
        about = reason or (watched.part.url if state == "up" else "")
        self._tell(f"{watched.part.name}: {state}{took}{f' ({about})' if about else ''}")
        self._write(self.state)

    def _write(self, state: str) -> None:
        now = self._clock()
        self._written_at = now
        write_state(
            state_path(self.settings),
            {
                "pid": os.getpid(),
                "at": now,
                "state": state,
                "reason": self.reason,
                "was_up": self.was_up,
                "parts": [watched.said() for watched in self._watched.values()],
            },
        )


_TRANSITIONS: dict[str, Callable[[Supervisor, Watched], None]] = {
    "queued": Supervisor._queued,
    "starting": Supervisor._starting,
    "up": Supervisor._up,
    "waiting": Supervisor._up,
    "restarting": Supervisor._restarting,
    "done": Supervisor._rest,
    "drained": Supervisor._rest,
    "stopped": Supervisor._rest,
}


def _last_line(child: Child) -> str:
    lines = child.logged().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "said nothing"


def _ending(code: int | None) -> str:
    """An exit code in words: of a signal its name too."""
    number = -code if code is not None and code < 0 else (code or 0) - 128
    with contextlib.suppress(ValueError):
        return f"ended with code {code}, {signal.Signals(number).name}"
    return f"ended with code {code}"


def wanted_parts(text: str) -> tuple[str, ...]:
    """`kafka,store` as names. Raises `SettingError` for a name that is no part."""
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := [name for name in names if name not in PARTS]:
        raise SettingError(f"no such part: {', '.join(unknown)}; parts are {', '.join(PARTS)}")
    return names


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the resident process; its output is its log."""
    parser = argparse.ArgumentParser(prog="python -m infra.services.supervisor", description="Run all parts.")
    parser.add_argument("--parts", default=",".join(PARTS), help="which parts, parted by commas")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    try:
        settings = Settings.from_environment()
        names = wanted_parts(parser.parse_args(arguments).parts)
        supervisor = Supervisor(settings, plan_parts(settings, names, _LOG.info))
    except SettingError as error:
        _LOG.error("%s", error)
        return EXIT_SETTINGS
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.request_stop())
    try:
        with supervisor:
            return supervisor.run()
    except AlreadyUpError as error:
        _LOG.error("%s", error)
        return EXIT_ALREADY_UP


if __name__ == "__main__":
    sys.exit(main())
