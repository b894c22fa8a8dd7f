"""Kill, pause and restart several writers of one table, and say what became of the rows.

Holds: the run and its report. A kill counts only if the writer was on the way with an interval at that instant.
Does not hold: servers (the caller brings store and catalog), the writers' loop, the judgement.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from tests.crash.committer import source
from tests.crash.committer.verdict import Verdict, judge
from tests.crash.committer.writer import CRASH_POINTS, IDLE, Orders, run
from warehouse.catalog import BUSY_SECONDS, create_table, open_catalog, table_lock
from warehouse.commit import FencedTable
from warehouse.contract import load_contracts
from warehouse.settings import Settings

OWNERSHIP = ((0, 1), (2, 3), (0, 1, 2, 3))
"""Two writers with partitions of their own, and one that owns all of them once more."""

HISTORY = "history.jsonl"
POLL_SECONDS = 0.005
FINISH_SECONDS = 120.0
NEVER = float("inf")
STRIKE_SECONDS = (0.2, 2.5)
"""How long a writer is left alone before it is paused or killed, least and most."""
BEYOND_SECONDS = (BUSY_SECONDS + 1.0, BUSY_SECONDS + 8.0)
"""A pause beyond every time limit: SQLite's patience with a lock is the longest that catalog and store have."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is to happen.

    Attributes:
        pauses_beyond: share of the pauses that outlast every time limit (`BEYOND_SECONDS`).
        seconds: give up after that; a run that was cut short says so by its counts.
    """

    kills: int
    pauses: int
    seed: int
    lost_answers: float = 0.02
    longest_pause_seconds: float = 2.0
    pauses_beyond: float = 0.0
    seconds: float = 3600.0
    without_fence: bool = False


@dataclass(slots=True)
class Report:
    """What happened and what became of it."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    idle_kills: int = 0
    pauses: Counter[str] = field(default_factory=Counter)
    pauses_beyond: int = 0
    answers_lost: int = 0
    seconds: float = 0.0
    verdict: Verdict | None = None

    def lines(self) -> list[str]:
        """The report, its last line the one to quote."""
        assert self.verdict is not None, "the run has not been judged"
        v = self.verdict
        return [
            f"seed {self.seed}, {self.seconds:.0f} s, {v.rows} rows, wrong={v.wrong} phantom={v.phantom} "
            f"forgotten={v.forgotten}, kills of idle writers (not counted) {self.idle_kills}",
            "kills by step: " + ", ".join(f"{step} {n}" for step, n in sorted(self.kills.items())),
            "pauses by step: "
            + ", ".join(f"{step} {n}" for step, n in sorted(self.pauses.items()))
            + f"; of them {self.pauses_beyond} beyond every time limit ({BUSY_SECONDS} s)",
            f"lost={v.lost} doubled={v.doubled} kills={self.kills.total()} pauses={self.pauses.total()} "
            f"answers_lost={self.answers_lost}",
        ]


class _Writer:
    """One writer and its incarnations."""

    def __init__(self, run_: _Run, name: str, partitions: tuple[int, ...]) -> None:
        self._run, self.name, self._partitions = run_, name, partitions
        self.start()

    def start(self, crash: tuple[str, int] | None = None) -> None:
        """A new incarnation; it dies by itself at a named point, or else is killed later."""
        self.orders = self._run.orders(self.name, self._partitions, crash)
        self.kill_at = NEVER if crash else time.monotonic() + self._run.chance.uniform(*STRIKE_SECONDS)
        self.resume_at = NEVER
        self.process: BaseProcess = self._run.processes.Process(target=run, args=(self.orders,), daemon=True)
        self.process.start()

    def step(self) -> str:
        """Where it is, or was when it died."""
        try:
            return self.orders.page.read_bytes().decode().strip()
        except FileNotFoundError:
            return IDLE

    def send(self, number: signal.Signals) -> None:
        pid = self.process.pid
        assert pid is not None, "a writer that was not started"
        os.kill(pid, number)


class _Run:
    """One run of the harness."""

    def __init__(self, environment: dict[str, str], folder: Path, plan: Plan) -> None:
        self._environment, self._folder, self._plan = environment, folder, plan
        self.chance = random.Random(plan.seed)
        self.processes = multiprocessing.get_context("forkserver")
        self.processes.set_forkserver_preload(["tests.crash.committer.writer"])
        self._settings = Settings.from_environment(environment)
        self._identifier = (self._settings.namespace, "vitals")
        self._history = folder / HISTORY
        self._began = time.monotonic()
        self.report = Report(plan.seed)

    def orders(self, name: str, partitions: tuple[int, ...], crash: tuple[str, int] | None) -> Orders:
        return Orders(
            name=name,
            environment=self._environment,
            identifier=self._identifier,
            partitions=partitions,
            folder=self._folder,
            seed=self.chance.getrandbits(32),
            crash=crash,
            lost_answers=self._plan.lost_answers,
            without_fence=self._plan.without_fence,
        )

    def go(self) -> Report:
        self._make_table()
        writers = [_Writer(self, f"writer-{n}", partitions) for n, partitions in enumerate(OWNERSHIP)]
        try:
            while not self._enough() and time.monotonic() < self._began + self._plan.seconds:
                for writer in writers:
                    self._look_after(writer)
                time.sleep(POLL_SECONDS)
            self._finish(writers)
        finally:
            for writer in writers:
                writer.process.kill()
        lost = self._folder / "lost_answers"
        self.report.answers_lost = lost.stat().st_size if lost.exists() else 0
        self.report.seconds = time.monotonic() - self._began
        self.report.verdict = self._judge()
        return self.report

    def _make_table(self) -> None:
        catalog = open_catalog(self._settings)
        contract = load_contracts().table("vitals")
        create_table(catalog, self._settings.namespace, contract, table_lock(self._settings))
        partitions = {partition for owned in OWNERSHIP for partition in owned}
        FencedTable(catalog, self._identifier, writer="harness").establish(source.TOPIC, dict.fromkeys(partitions, 0))

    def _enough(self) -> bool:
        return self.report.kills.total() >= self._plan.kills and self.report.pauses.total() >= self._plan.pauses

    def _look_after(self, writer: _Writer) -> None:
        now = time.monotonic()
        if not writer.process.is_alive():
            self._count_death(writer)
            writer.start(self._next_crash())
        elif now >= writer.resume_at:
            writer.send(signal.SIGCONT)
            writer.resume_at = NEVER
        elif now >= writer.kill_at and writer.resume_at == NEVER:
            self._strike(writer)

    def _strike(self, writer: _Writer) -> None:
        """Pause or kill a writer, if it is on the way with something."""
        if writer.step() == IDLE:
            return
        if self.report.pauses.total() < self._plan.pauses and self.chance.random() < 0.5:
            self._pause(writer)
        else:
            writer.send(signal.SIGKILL)
            writer.process.join()

    def _pause(self, writer: _Writer) -> None:
        beyond = self.chance.random() < self._plan.pauses_beyond
        seconds = self.chance.uniform(*(BEYOND_SECONDS if beyond else (0.1, self._plan.longest_pause_seconds)))
        writer.send(signal.SIGSTOP)
        step = writer.step()
        self.report.pauses[step] += 1
        self.report.pauses_beyond += beyond
        self._note("pause", writer, step, seconds=round(seconds, 1))
        writer.resume_at = time.monotonic() + seconds
        writer.kill_at = writer.resume_at + self.chance.uniform(*STRIKE_SECONDS)

    def _note(self, event: str, writer: _Writer, step: str, **more: float) -> None:
        """A line of the history."""
        line = {"at": round(time.monotonic() - self._began, 3), "event": event, "writer": writer.name, "step": step}
        with self._history.open("a") as history:
            history.write(json.dumps({**line, **more}) + "\n")

    def _count_death(self, writer: _Writer) -> None:
        writer.process.join()
        if writer.process.exitcode != -signal.SIGKILL:
            raise RuntimeError(f"{writer.orders.name} ended by itself with code {writer.process.exitcode}")
        step = writer.step()
        self._note("kill", writer, step)
        if step == IDLE:
            self.report.idle_kills += 1
        else:
            self.report.kills[step] += 1

    def _next_crash(self) -> tuple[str, int] | None:
        """Three of four die at a named point, the one that was hit least so far."""
        if self.chance.random() < 0.25:
            return None
        fewest = min(self.report.kills[point] for point in CRASH_POINTS)
        point = self.chance.choice([point for point in CRASH_POINTS if self.report.kills[point] == fewest])
        return point, 1 if point == "load" else self.chance.randint(1, 3)

    def _finish(self, writers: list[_Writer]) -> None:
        """Let every writer end its last commit, in an incarnation that nobody kills."""
        self._plan = Plan(0, 0, self._plan.seed, 0.0, without_fence=self._plan.without_fence)
        for writer in writers:
            if writer.process.is_alive():
                writer.send(signal.SIGCONT)
                writer.send(signal.SIGKILL)
                writer.process.join()
            writer.start()
        time.sleep(1.0)
        (self._folder / "stop").touch()
        for writer in writers:
            writer.process.join(FINISH_SECONDS)
            if writer.process.exitcode != 0:
                raise RuntimeError(f"{writer.orders.name} did not finish: code {writer.process.exitcode}")

    def _judge(self) -> Verdict:
        settings = self._settings
        store = {
            "s3.endpoint": settings.s3_endpoint,
            "s3.region": settings.s3_region,
            "s3.access-key-id": settings.s3_access_key,
            "s3.secret-access-key": settings.s3_secret_key,
        }
        return judge(settings.catalog_uri, store, self._identifier, self._folder.glob("*.acknowledged"))


def unleash(environment: dict[str, str], folder: Path, plan: Plan) -> Report:
    """Run the plan against the store and catalog of the environment; `folder` is for the writers' traces.

    Raises RuntimeError if a writer ends in a way that nobody ordered. The report and its history stay in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    report = _Run(environment, folder, plan).go()
    (folder / "report.json").write_text(json.dumps(report.lines()))
    return report
